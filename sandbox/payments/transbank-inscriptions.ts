import { randomUUID } from 'node:crypto'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { writeLedger } from './ledger.ts'
import { createAuthorizationCode, createToken } from './transbank-account.ts'
import type { TransbankAccount } from './transbank-account.ts'
import { kindNames } from './transbank-cards.ts'
import type { TestCard } from './transbank-cards.ts'
import { findFieldFault, refuseTransbank, textIn, transbankError } from './transbank-rules.ts'
import type { Action, ApiCall, FieldRules } from './transbank-rules.ts'

/** A customer on the way to save a card. */
export type Inscription = {
  token: string
  account: TransbankAccount
  username: string
  email: string
  responseUrl: string
  phase: 'open' | 'enrolled' | 'declined' | 'aborted' | 'timed_out' | 'finished'
  createdAtMs: number
  /** When the customer was sent back. */
  endedAtMs: number
  card: TestCard | null
}

/** A saved card. */
export type Enrolment = {
  tbkUser: string
  username: string
  account: TransbankAccount
  card: TestCard
  /** How coming charges end; set by hand. */
  decline: { responseCode: number; timesLeft: number | null; shop: string | null } | null
}

const FINISH_WINDOW_MS = 60_000
const ENROLMENT_CLP = 50

export const userRule = { kind: 'text', longest: 40 } as const
const startRules: FieldRules = {
  username: userRule,
  email: { kind: 'text', longest: 100 },
  response_url: { kind: 'url', longest: 255 },
}

export function startInscription({ transbank, account, body }: ApiCall): Action | Reply {
  const fault = findFieldFault(body, startRules, account)
  if (fault) return fault
  const username = textIn(body, 'username')
  const run = () => {
    const token = createToken()
    transbank.inscriptions.set(token, {
      token,
      account,
      username,
      email: textIn(body, 'email'),
      responseUrl: textIn(body, 'response_url'),
      phase: 'open',
      createdAtMs: transbank.world.now().getTime(),
      endedAtMs: 0,
      card: null,
    })
    transbank.openTokens.add(token)
    const url = `${transbank.world.url}/transbank/webpayserver/bp_inscription.cgi`
    return replyJson(200, { token, url_webpay: url })
  }
  return { operation: 'method', reference: username, run }
}

/** Within a minute of the customer’s return; later the inscription is gone. */
export function finishInscription({ transbank, account, id }: ApiCall): Action | Reply {
  const found = transbank.inscriptions.get(id.toLowerCase())
  if (found?.account !== account) return refuseTransbank('Inscription not found')
  const run = () => {
    const isLate = transbank.world.now().getTime() - found.endedAtMs > FINISH_WINDOW_MS
    if (found.phase === 'open') return refuseTransbank('Inscription is unfinished')
    if (found.phase === 'finished' || (found.phase === 'enrolled' && isLate)) {
      return refuseTransbank('Inscription not found')
    }
    if (found.phase !== 'enrolled') return replyJson(200, { response_code: -1 })
    found.phase = 'finished'
    const { tbkUser, card } = enrol({ transbank, account, username: found.username, card: found.card! })
    return replyJson(200, {
      response_code: 0,
      tbk_user: tbkUser,
      authorization_code: createAuthorizationCode(),
      card_type: card.brand,
      card_number: card.number.slice(-4).padStart(card.number.length, 'X'),
    })
  }
  return { operation: 'method', reference: found.username, run }
}

type NewEnrolment = Pick<ApiCall, 'transbank' | 'account'> & { username: string; card: TestCard }

/** One card per user: the one before stops working. CLP 50 are held and let go. */
function enrol({ transbank, account, username, card }: NewEnrolment): Enrolment {
  const { enrolments, enrolmentsByUser, world } = transbank
  const userKey = `${account.code} ${username}`
  enrolments.delete(enrolmentsByUser.get(userKey) ?? '')
  const enrolment: Enrolment = { tbkUser: randomUUID(), username, account, card, decline: null }
  enrolments.set(enrolment.tbkUser, enrolment)
  enrolmentsByUser.set(userKey, enrolment.tbkUser)
  for (const kind of ['authorization', 'void'] as const) {
    writeLedger(world, {
      provider: 'transbank',
      account: account.code,
      kind,
      payment: enrolment.tbkUser,
      reference: null,
      amount: ENROLMENT_CLP,
      currency: 'CLP',
    })
  }
  return enrolment
}

export function findEnrolment(
  { transbank, account }: ApiCall,
  tbkUser: string,
  username: string,
): Enrolment | null {
  const enrolment = transbank.enrolments.get(tbkUser)
  return enrolment?.account === account && enrolment.username === username ? enrolment : null
}

export function deleteInscription(call: ApiCall): Action | Reply {
  const { transbank, account, body } = call
  const fault = findFieldFault(body, { tbk_user: userRule, username: userRule }, account)
  if (fault) return fault
  const username = textIn(body, 'username')
  const run = () => {
    const enrolment = findEnrolment(call, textIn(body, 'tbk_user'), username)
    if (!enrolment) return transbankError(404, 'Inscription not found')
    transbank.enrolments.delete(enrolment.tbkUser)
    transbank.enrolmentsByUser.delete(`${account.code} ${username}`)
    return { status: 204 }
  }
  return { operation: 'method', reference: username, run }
}

export function readBin({ transbank, account, body }: ApiCall): Action | Reply {
  const fault = findFieldFault(body, { tbk_user: userRule }, account)
  if (fault) return fault
  const enrolment = transbank.enrolments.get(textIn(body, 'tbk_user'))
  const run = () => {
    if (enrolment?.account !== account) return refuseTransbank('Invalid value for parameter: tbk_user')
    const { card } = enrolment
    return replyJson(200, {
      bin_issuer: 'TEST COMMERCE BANK',
      bin_payment_type: kindNames[card.kind].replace('é', 'e'),
      bin_brand: card.brand,
    })
  }
  return { operation: 'read', reference: enrolment?.username ?? null, run }
}
