import { isObject, replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { seedFrom } from '../signatures.ts'
import { authorize } from './mercadopago-calendar.ts'
import type { Card } from './mercadopago-cards.ts'
import { createPreapprovalId, tellPreapproval, touch, viewPreapproval } from './mercadopago-preapproval.ts'
import type { Plan, Preapproval, Terms } from './mercadopago-preapproval.ts'
import { isReply, refuseSubscription } from './mercadopago-replies.ts'
import { indexed, replyFound } from './mercadopago-search.ts'
import { readAmount } from './mercadopago-sites.ts'
import { readCardOf, readTerms, refusePayerOf } from './mercadopago-subscription-rules.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

/** POST /preapproval. An idempotency key has no effect here, and a card that would be declined makes none. */
export function answerCreatePreapproval(turn: Turn, body: Body): Reply {
  const plan = findPlan(turn, textOf(body['preapproval_plan_id']))
  if (isReply(plan)) return plan
  const terms = plan
    ? readPlanTerms(plan, body['auto_recurring'])
    : readTerms(turn, body['auto_recurring'], 'preapproval')
  if (isReply(terms)) return terms
  const hasToken = textOf(body['card_token_id']) !== ''
  const status = body['status'] ?? (hasToken ? 'authorized' : 'pending')
  const refused = refusePayerOf(turn, body) ?? refuseStatus(status, hasToken, plan)
  if (refused) return refused
  if (!plan && textOf(body['reason']) === '') return refuseSubscription('reason is required')
  const card = status === 'authorized' ? readCardOf(turn, body['card_token_id']) : null
  if (isReply(card)) return card
  const preapproval = createPreapproval(turn, { plan, terms, body })
  if (card) authorize(turn, preapproval, card)
  tellPreapproval(turn, preapproval, 'created')
  return replyPreapproval(turn, preapproval, 201)
}

function findPlan({ mercadopago, account }: Turn, id: string): Plan | Reply | null {
  if (id === '') return null
  const plan = mercadopago.plans.get(id)
  const isOurs = plan?.account === account && plan.status === 'active'
  return isOurs ? plan : refuseSubscription(`The template with id ${id} does not exist`, 404)
}

/** A plan rules: another amount is refused, another frequency quietly dropped. */
function readPlanTerms(plan: Plan, given: unknown): Terms | Reply {
  const asked = isObject(given) ? given['transaction_amount'] : undefined
  if (asked !== undefined && readAmount(asked, plan.terms.currency) !== plan.terms.amount)
    return refuseSubscription('The transaction_amount must be the same as preapproval_plan')
  return { ...plan.terms }
}

function refuseStatus(status: unknown, hasToken: boolean, plan: Plan | null): Reply | null {
  if (status !== 'pending' && status !== 'authorized') return refuseSubscription('Invalid value for status')
  if (status === 'authorized') return hasToken ? null : refuseSubscription('card_token_id is required')
  return plan ? refuseSubscription('card_token_id is required') : null
}

type NewPreapproval = { plan: Plan | null; terms: Terms; body: Body }

/** Still waiting for a card. */
export function createPreapproval(
  { mercadopago, account }: Turn,
  { plan, terms, body }: NewPreapproval,
): Preapproval {
  const now = mercadopago.world.now()
  const email = textOf(body['payer_email'])
  const preapproval: Preapproval = {
    id: createPreapprovalId(),
    account,
    plan,
    status: 'pending',
    reason: plan?.reason ?? textOf(body['reason']),
    externalReference: textOf(body['external_reference']) || null,
    backUrl: textOf(body['back_url']) || (plan?.backUrl ?? ''),
    notificationUrl: textOf(body['notification_url']) || null,
    payerEmail: email,
    payerId: seedFrom('mercadopago payer', email).readUInt32BE(0),
    card: null,
    terms,
    version: 0,
    firstAt: null,
    datesPassed: 0,
    nextAt: null,
    charges: 0,
    charged: 0,
    lastChargeAt: null,
    unpaidInARow: 0,
    invoices: [],
    createdAt: now,
    updatedAt: now,
  }
  mercadopago.preapprovals.set(preapproval.id, preapproval)
  account.preapprovals.push(preapproval)
  mercadopago.openPages.add(preapproval)
  return preapproval
}

/** PUT /preapproval/{id}: what can't be changed is answered 200 and dropped. */
export function answerUpdatePreapproval(turn: Turn, preapproval: Preapproval, body: Body): Reply {
  const status = textOf(body['status'], preapproval.status)
  const refused = refuseChange(preapproval, body, status)
  if (refused) return refused
  const amount = readNewAmount(preapproval, body['auto_recurring'])
  if (typeof amount === 'string') return refuseSubscription(`auto_recurring.transaction_amount ${amount}`)
  const card = body['card_token_id'] === undefined ? null : readCardOf(turn, body['card_token_id'])
  if (isReply(card)) return card
  preapproval.terms.amount = amount
  preapproval.reason = textOf(body['reason']) || preapproval.reason
  preapproval.externalReference = textOf(body['external_reference']) || preapproval.externalReference
  preapproval.backUrl = textOf(body['back_url']) || preapproval.backUrl
  moveTo(turn, preapproval, status as Preapproval['status'], card)
  return replyPreapproval(turn, preapproval)
}

function refuseChange(preapproval: Preapproval, body: Body, status: string): Reply | null {
  const { status: current } = preapproval
  if (current === 'cancelled') return refuseSubscription('You can not modify a cancelled preapproval.')
  const isMove = status !== current && ['authorized', 'paused', 'cancelled'].includes(status)
  if (current === 'paused' && (!isMove || Object.keys(body).length > 1))
    return refuseSubscription('You can not modify a paused preapproval.')
  const isOpen = current !== 'pending' || status === 'cancelled' || body['card_token_id'] !== undefined
  return status === current || (isMove && isOpen)
    ? null
    : refuseSubscription(`Invalid transition from ${current} to ${status}`)
}

function readNewAmount({ terms }: Preapproval, given: unknown): number | string {
  const asked = isObject(given) ? given['transaction_amount'] : undefined
  return asked === undefined ? terms.amount : readAmount(asked, terms.currency)
}

/** Only a change of status is told by webhook. */
function moveTo(
  turn: Turn,
  preapproval: Preapproval,
  status: Preapproval['status'],
  card: Card | null,
): void {
  const before = preapproval.status
  touch(turn, preapproval)
  if (before === 'pending' && status === 'authorized' && card) authorize(turn, preapproval, card)
  else {
    preapproval.card = card ?? preapproval.card
    preapproval.status = status
  }
  if (preapproval.status !== before) tellPreapproval(turn, preapproval, 'updated')
}

export function answerReadPreapproval(turn: Turn, preapproval: Preapproval): Reply {
  return replyPreapproval(turn, preapproval)
}

/** GET /preapproval/search: ignores `external_reference`, and its results lack dates and sums. */
export function searchPreapprovals(turn: Turn, query: URLSearchParams): Reply {
  const asks = (name: string, value: string) => !query.has(name) || query.get(name) === value
  const text = query.get('q')?.toLowerCase() ?? ''
  const found = indexed(turn, turn.account.preapprovals).filter(
    (one) =>
      asks('payer_email', one.payerEmail) &&
      asks('payer_id', String(one.payerId)) &&
      asks('status', one.status) &&
      asks('preapproval_plan_id', one.plan?.id ?? '') &&
      one.reason.toLowerCase().includes(text),
  )
  return replyFound(query, found.toReversed(), (one) => ({
    ...viewPreapproval(one, turn.mercadopago.world.url),
    next_payment_date: null,
    summarized: {},
  }))
}

function replyPreapproval({ mercadopago }: Turn, preapproval: Preapproval, status = 200): Reply {
  return replyJson(status, viewPreapproval(preapproval, mercadopago.world.url))
}
