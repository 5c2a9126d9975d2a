import { randomBytes } from 'node:crypto'
import { readJsonObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { changeToken } from '../providers/key-accounts.ts'
import { createAccount } from './mercadopago-account.ts'
import type { Mercadopago, MercadopagoAccount } from './mercadopago-account.ts'
import { seedFrom } from '../signatures.ts'
import { refuse } from './mercadopago-replies.ts'

/** What a code or a refresh token was given for. */
export type Grant = { account: MercadopagoAccount; clientId: string }

const TOKEN_LIVES_SECONDS = 180 * 24 * 60 * 60

/**
 * POST /oauth/token. Any code that begins with `TG-` links a seller of its own, once; one secret signs for all
 * sellers of a client.
 */
export function answerOauth(mercadopago: Mercadopago, call: Call): Reply {
  const body = readJsonObject(call) ?? Object.fromEntries(new URLSearchParams(call.body.toString('utf8')))
  const text = (name: string) => textOf(body[name])
  if (text('client_id') === '' || text('client_secret') === '')
    return refuse(400, 'client_id and client_secret are required', 'invalid_client')
  if (text('grant_type') === 'authorization_code')
    return exchangeCode(mercadopago, text('code'), text('client_id'))
  if (text('grant_type') === 'refresh_token')
    return refresh(mercadopago, text('refresh_token'), text('client_id'))
  return refuse(400, 'grant_type must be authorization_code or refresh_token', 'unsupported_grant_type')
}

function exchangeCode(mercadopago: Mercadopago, code: string, clientId: string): Reply {
  const isUsed = mercadopago.grants.has(code)
  if (!code.startsWith('TG-') || isUsed) return refuseGrant('the code is invalid, expired or used')
  const account = createAccount(mercadopago, createToken(), code)
  account.webhookSecret = seedFrom('mercadopago application', clientId).toString('hex')
  mercadopago.grants.set(code, { account, clientId })
  return replyGrant(mercadopago, account, clientId)
}

function refresh(mercadopago: Mercadopago, refreshToken: string, clientId: string): Reply {
  const grant = mercadopago.grants.get(refreshToken)
  if (grant?.clientId !== clientId || !refreshToken.startsWith('TG-refresh-'))
    return refuseGrant('the refresh token is invalid')
  mercadopago.grants.delete(refreshToken)
  changeToken(mercadopago.accounts, grant.account, createToken())
  return replyGrant(mercadopago, grant.account, clientId)
}

function refuseGrant(message: string): Reply {
  return refuse(400, message, 'invalid_grant')
}

function createToken(): string {
  return `APP_USR-${randomBytes(20).toString('hex')}`
}

function replyGrant(mercadopago: Mercadopago, account: MercadopagoAccount, clientId: string): Reply {
  const refreshToken = `TG-refresh-${randomBytes(16).toString('hex')}`
  mercadopago.grants.set(refreshToken, { account, clientId })
  return replyJson(200, {
    access_token: account.token,
    token_type: 'Bearer',
    expires_in: TOKEN_LIVES_SECONDS,
    scope: 'offline_access payments read write',
    user_id: account.userId,
    refresh_token: refreshToken,
    public_key: account.publicKey,
    live_mode: true,
  })
}
