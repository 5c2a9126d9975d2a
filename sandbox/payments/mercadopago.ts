import { createHash } from 'node:crypto'
import { isObject, readJsonObject, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { findKeyAccount } from '../providers/key-accounts.ts'
import type { World } from '../world.ts'
import { playDue } from './agenda.ts'
import {
  clearMercadopago,
  clearMercadopagoAccounts,
  createMercadopagoState,
  openAccount,
  putAccount,
  viewAccount,
} from './mercadopago-account.ts'
import type { Mercadopago, MercadopagoAccount } from './mercadopago-account.ts'
import { playAct } from './mercadopago-acts.ts'
import { payMercadopago } from './mercadopago-choices.ts'
import { answerOauth } from './mercadopago-oauth.ts'
import { answerPage, listOpenPages } from './mercadopago-pages.ts'
import {
  isReply,
  refuse,
  refuseCause,
  refuseFault,
  refuseInvalidToken,
  refuseWithoutToken,
} from './mercadopago-replies.ts'
import { findRoute } from './mercadopago-routes.ts'
import type { Route } from './mercadopago-routes.ts'
import { endTurn, startTurn } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'
import { pickPaymentFault, playAfterEffect, playBeforeEffect } from './payment-faults.ts'
import type { PaymentFault } from './payment-faults.ts'
import type { PaymentSimulator } from './simulator.ts'

export function createMercadopago(world: World): PaymentSimulator {
  const mercadopago = createMercadopagoState(world)
  return {
    id: 'mercadopago',
    title: 'MercadoPago',
    answer: (call) => answer(mercadopago, call),
    putAccount: async (name, input) => putAccount(mercadopago, name, input),
    listAccounts: () => [...mercadopago.accounts.byName.values()].map(viewAccount),
    pay: async (input) => payMercadopago(mercadopago, input),
    act: (action, input) => playAct(mercadopago, action, input),
    listOpenPages: (limit) => listOpenPages(mercadopago, limit),
    clear: () => clearMercadopago(mercadopago),
    clearAccounts: () => clearMercadopagoAccounts(mercadopago),
  }
}

async function answer(mercadopago: Mercadopago, call: Call): Promise<Reply> {
  playDue(mercadopago.agenda)
  const page = answerPage(mercadopago, call)
  if (page) return page
  if (call.method === 'POST' && call.path === '/oauth/token') return answerOauth(mercadopago, call)
  const account = findCaller(mercadopago, call)
  if (isReply(account)) return account
  const route = findRoute(call)
  if (!route) return refuse(404, `Resource ${call.path} not found.`)
  const body = call.body.length === 0 ? {} : readJsonObject(call)
  if (!body) return refuse(400, 'The body is not a JSON object')
  return answerCall(startTurn(mercadopago, account), { ...route, call, body })
}

/** Browsers make card tokens with the public key instead of a token. */
function findCaller(mercadopago: Mercadopago, call: Call): MercadopagoAccount | Reply {
  const publicKey = call.query.get('public_key')
  if (publicKey !== null && call.path.startsWith('/v1/card_tokens')) {
    const owner = [...mercadopago.accounts.byName.values()].find((account) => account.publicKey === publicKey)
    return owner ?? refuse(404, 'public_key not found')
  }
  const [, token = ''] = /^Bearer (.+)$/i.exec(call.headers['authorization'] ?? '') ?? []
  if (token === '') return refuseWithoutToken()
  if (!/^(TEST|APP_USR)-./.test(token) || /invalid/i.test(token)) return refuseInvalidToken()
  const isGone = findKeyAccount(mercadopago.accounts, token)?.isRevoked
  return isGone ? refuseWithoutToken() : openAccount(mercadopago, token)
}

type Asked = { route: Route; ids: string[]; call: Call; body: Record<string, unknown> }

async function answerCall(turn: Turn, asked: Asked): Promise<Reply> {
  const { route, body } = asked
  const operation = typeof route.operation === 'string' ? route.operation : route.operation(body)
  const reference = referenceOf(turn.mercadopago, asked)
  const fault = pickPaymentFault(turn.mercadopago.world, { provider: 'mercadopago', operation, reference })
  const early = await playBeforeEffect(fault, refuseFault)
  if (early) return early
  const reply = route.isKeyed ? answerOnce(turn, asked) : answerRoute(turn, asked)
  await endTurn(turn, fault)
  return playAfterEffect(fault, distort(fault, reply))
}

/** The caller's own id of what the call is about. */
function referenceOf(mercadopago: Mercadopago, { route, ids: [id = ''], call, body }: Asked): string | null {
  const given = textOf(body['external_reference']) || call.query.get('external_reference')
  return given || route.nameOf(mercadopago, id)
}

/** Only where MercadoPago requires a key does it honour one: the first answer that had an effect is kept. */
function answerOnce(turn: Turn, asked: Asked): Reply {
  const { call } = asked
  const { answers, options } = turn.account
  const key = call.headers['x-idempotency-key'] ?? ''
  if (key === '') return refuseCause(4292, "Header X-Idempotency-Key can't be null")
  const place = `${call.path.replace(/\/$/, '')} ${key}`
  const request = createHash('sha256').update(call.body).digest('base64')
  const known = answers.get(place)
  if (known && known.request !== request)
    return refuse(options.conflict_status, 'The X-Idempotency-Key was used with another body')
  if (known) {
    const isEmpty = options.refund_replay === 'empty' && call.path.includes('/refunds')
    return isEmpty ? { status: 200, headers: {}, body: '' } : known.reply
  }
  const reply = answerRoute(turn, asked)
  if (reply.status < 300) answers.set(place, { request, reply })
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value!)
  return reply
}

const KEPT_ANSWERS = 100_000

function answerRoute(turn: Turn, { route, ids, call, body }: Asked): Reply {
  return route.answer({ turn, ids, call, body })
}

/** A status word that nobody has heard of, in the answer only. */
function distort(fault: PaymentFault | null, reply: Reply): Reply {
  if (fault?.name !== 'odd_status' || reply.status >= 300) return reply
  const body: unknown = JSON.parse(String(reply.body || '{}'))
  return isObject(body) && typeof body['status'] === 'string'
    ? { ...reply, body: JSON.stringify({ ...body, status: 'under_observation' }) }
    : reply
}
