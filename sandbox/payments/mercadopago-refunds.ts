import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { toMajor } from './amounts.ts'
import { nextId } from './mercadopago-account.ts'
import { bookMoney, changePayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { refuseCause } from './mercadopago-replies.ts'
import { readAmount, writeTime } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

export type Refund = {
  id: number
  amount: number
  status: 'approved' | 'in_process' | 'rejected' | 'cancelled'
  createdAt: Date
  /** Who gave it back: the seller, or MercadoPago's own staff. */
  by: 'collector' | 'admin'
}

const DAY_MS = 24 * 60 * 60 * 1_000

/** POST /v1/payments/{id}/refunds: all that is left, or `amount`. */
export function createRefund(turn: Turn, payment: Payment, body: Record<string, unknown>): Reply {
  const left = leftOf(payment)
  const isPartial = body['amount'] !== undefined && body['amount'] !== null
  const amount = isPartial ? readAmount(body['amount'], payment.currency) : left
  if (typeof amount === 'string') return refuseCause(4040, `amount ${amount}`)
  const refused = refuseRefund(turn, payment, amount, isPartial)
  if (refused) return refused
  return replyJson(201, viewRefund(payment, refundPayment(turn, payment, amount)))
}

/** What MercadoPago has against it, or null. */
export function refuseRefund(turn: Turn, payment: Payment, amount: number, isPartial: boolean): Reply | null {
  const ageMs = turn.mercadopago.world.now().getTime() - (payment.approvedAt ?? payment.createdAt).getTime()
  const left = leftOf(payment)
  if (isPartial && payment.isCaptured && amount > left)
    return refuseCause(2017, 'Invalid transaction_amount for update')
  if (left === 0 || !['approved', 'in_mediation'].includes(payment.status))
    return refuseCause(2063, 'The action requested is not valid for the current payment state')
  if (ageMs > payment.account.options.refund_days * DAY_MS)
    return refuseCause(2024, 'Payment too old to be refunded')
  if (amount < left && payment.method.type === 'bank_transfer' && payment.method.id !== 'pix')
    return refuseCause(3024, 'Partial refund unsupported for this transaction')
  return null
}

export function refundPayment(
  turn: Turn,
  payment: Payment,
  amount: number,
  by: Refund['by'] = 'collector',
): Refund {
  const status = payment.account.options.refund_status
  const refund: Refund = {
    id: nextId(turn.mercadopago),
    amount,
    status,
    createdAt: turn.mercadopago.world.now(),
    by,
  }
  payment.refunds.push(refund)
  if (status === 'approved') giveBack(turn, payment, refund)
  return refund
}

/** A refund that waited gets its end. */
export function settleRefund(
  turn: Turn,
  payment: Payment,
  refund: Refund,
  status: 'approved' | 'rejected' | 'cancelled',
): void {
  refund.status = status
  if (status === 'approved') giveBack(turn, payment, refund)
  else changePayment(turn, payment, payment)
}

function giveBack(turn: Turn, payment: Payment, refund: Refund): void {
  payment.refunded += refund.amount
  bookMoney(turn, payment, 'refund', refund.amount)
  const isAll = payment.refunded === payment.amount
  changePayment(turn, payment, {
    status: isAll ? 'refunded' : payment.status,
    detail: isAll ? (refund.by === 'admin' ? 'by_admin' : 'refunded') : 'partially_refunded',
  })
}

/** What refunds may still take: also those under way count. */
function leftOf(payment: Payment): number {
  if (!payment.isCaptured) return 0
  const underWay = payment.refunds.filter(({ status }) => status === 'in_process')
  return payment.amount - payment.refunded - underWay.reduce((sum, { amount }) => sum + amount, 0)
}

export function listRefunds(payment: Payment): Reply {
  return replyJson(
    200,
    payment.refunds.map((refund) => viewRefund(payment, refund)),
  )
}

export function readRefund(payment: Payment, id: string): Reply {
  const refund = payment.refunds.find((one) => String(one.id) === id)
  return refund ? replyJson(200, viewRefund(payment, refund)) : refuseCause(2032, 'Refund not found', 404)
}

export function viewRefund(payment: Payment, refund: Refund): Record<string, unknown> {
  return {
    id: refund.id,
    payment_id: payment.id,
    amount: toMajor(refund.amount, payment.currency),
    metadata: {},
    source: { id: String(payment.account.userId), name: payment.account.name, type: refund.by },
    date_created: writeTime(refund.createdAt),
    unique_sequence_number: null,
    refund_mode: 'standard',
    adjustment_amount: 0,
    status: refund.status,
    reason: null,
  }
}
