import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { cancelPayment, capturePayment, createPayment, isWaiting } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { readMetadata, readPaymentDraft } from './mercadopago-payment-rules.ts'
import { viewPayment } from './mercadopago-payment-view.ts'
import { isReply, refuseCause } from './mercadopago-replies.ts'
import { readAmount } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

/** POST /v1/payments: a rejected card is 201 as well. */
export function answerCreatePayment(turn: Turn, body: Body): Reply {
  const draft = readPaymentDraft(turn, body)
  if (isReply(draft)) return draft
  return replyPayment(turn, createPayment(turn, draft), 201)
}

export function answerReadPayment(turn: Turn, payment: Payment): Reply {
  return replyPayment(turn, payment)
}

/** PUT /v1/payments/{id}: captures, cancels or notes. */
export function answerUpdatePayment(turn: Turn, payment: Payment, body: Body): Reply {
  const refused = body['capture'] === true ? capture(turn, payment, body) : update(turn, payment, body)
  return refused ?? replyPayment(turn, payment)
}

function capture(turn: Turn, payment: Payment, body: Body): Reply | null {
  if (payment.status !== 'authorized') return refuseState()
  const asked = body['transaction_amount'] ?? null
  const amount = asked === null ? payment.amount : readAmount(asked, payment.currency)
  if (typeof amount === 'string') return refuseCause(2072, `Invalid transaction_amount: ${amount}`)
  if (amount > payment.amount) return refuseCause(2017, 'Invalid transaction_amount for update')
  capturePayment(turn, payment, amount)
  return null
}

function update(turn: Turn, payment: Payment, body: Body): Reply | null {
  if (body['metadata'] !== undefined) payment.metadata = readMetadata(body['metadata'])
  if (body['status'] === undefined) return null
  if (body['status'] !== 'cancelled') return refuseCause(2016, 'Invalid status for update')
  if (!isWaiting(payment) && payment.status !== 'authorized') return refuseState()
  cancelPayment(turn, payment, 'by_collector')
  return null
}

function refuseState(): Reply {
  const description =
    'Invalid action, the resource is in a state that does not allow this operation. For more information see the state that has the resource.'
  return refuseCause(3005, description)
}

function replyPayment({ mercadopago }: Turn, payment: Payment, status = 200): Reply {
  return replyJson(status, viewPayment(payment, mercadopago.world.url))
}
