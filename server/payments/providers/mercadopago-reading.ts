import { z } from 'zod'
import { optionalNumber, optionalObject, readEach } from '#connections'
import type { Outcome } from '#connections'
import { callMercadopago, type Context, isMissing, waitForMore } from './mercadopago-account.ts'
import { describePage, describePayment, type PaymentAnswer, paymentAnswer } from './mercadopago-mapping.ts'
import { preferenceAnswer, readPaymentId, readRefunded, readTime } from './mercadopago-mapping.ts'
import { refundAnswer, writeTime } from './mercadopago-mapping.ts'
import type { PaymentRef, PaymentSnapshot } from './provider.ts'

const searchAnswer = z.looseObject({ results: z.array(paymentAnswer) })
const listAnswer = z.looseObject({
  paging: optionalObject({ total: optionalNumber }),
  results: z.array(z.unknown()),
})

/** For how long a search may not show what was just made. */
const searchLagMs = 2 * 60_000
const pageSize = 50

export async function read(
  ref: PaymentRef,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot | undefined }>> {
  const found = await findPayment(ref, context)
  if (found.outcome !== 'done') return found
  const { payment, paidTwice } = found
  if (ref.providerCheckoutId !== undefined && (payment === undefined || isDead(payment))) {
    return readCheckout(ref, ref.providerCheckoutId, payment, context)
  }
  if (payment === undefined) return reportNothing(ref.createdAt, context)
  const snapshot = describePayment(payment, ref)
  return {
    outcome: 'done',
    snapshot: paidTwice ? { ...snapshot, details: { paid_twice: paidTwice } } : snapshot,
  }
}

/** A checkout may be tried, and even paid, several times: its payments are found by our reference, not by one id. */
export async function findPayment(
  ref: PaymentRef,
  context: Context,
): Promise<Outcome<{ payment: PaymentAnswer | undefined; paidTwice?: string }>> {
  const { providerPaymentId: knownId } = ref
  if (ref.flow === 'direct' && knownId !== undefined) return fetchPayment(knownId, context)
  const search = await callMercadopago(context, {
    path: ['v1', 'payments', 'search'],
    query: {
      external_reference: ref.paymentId,
      sort: 'date_created',
      criteria: 'desc',
      limit: String(pageSize),
    },
    answer: searchAnswer,
  })
  if (search.outcome !== 'done') return search
  const attempts = search.answer.results
    .filter((one) => one.external_reference === ref.paymentId)
    .toReversed()
  if (knownId !== undefined && !attempts.some(({ id }) => id === knownId)) {
    const known = await fetchPayment(knownId, context)
    if (known.outcome !== 'done') return known
    if (known.payment) attempts.unshift(known.payment)
  }
  const chosen = chooseAttempt(attempts, knownId)
  if (chosen === undefined) return { outcome: 'done', payment: undefined }
  const others = attempts.filter((one) => one.id !== chosen.id && isPaid(one)).map(({ id }) => id)
  // The search may be behind: what is reported is read by its id.
  const full = await fetchPayment(chosen.id, context)
  if (full.outcome !== 'done' || others.length === 0) return full
  return { ...full, paidTwice: others.join(',') }
}

/** The payment that is known as long as money was taken with it, else the first that is paid, else the furthest. */
function chooseAttempt(attempts: readonly PaymentAnswer[], knownId?: string): PaymentAnswer | undefined {
  const known = attempts.find(({ id }) => id === knownId)
  if (known && hasTaken(known)) return known
  const [first] = attempts.filter(isPaid).toSorted((a, b) => timeOf(a) - timeOf(b))
  if (first) return first
  return attempts.reduce<PaymentAnswer | undefined>(
    (best, one) => (best && rankOf(best) > rankOf(one) ? best : one),
    undefined,
  )
}

function timeOf({ date_approved: approved, date_created: created }: PaymentAnswer): number {
  return Date.parse(approved ?? created ?? '') || 0
}

function rankOf(payment: PaymentAnswer): number {
  const order = ['pending', 'in_process', 'authorized', 'charged_back', 'refunded']
  return isDead(payment) ? -2 : order.indexOf(payment.status)
}

function isPaid({ status }: PaymentAnswer): boolean {
  return status === 'approved' || status === 'in_mediation'
}

function hasTaken(payment: PaymentAnswer): boolean {
  return isPaid(payment) || payment.status === 'refunded' || payment.status === 'charged_back'
}

export function isDead({ status }: PaymentAnswer): boolean {
  return status === 'rejected' || status === 'cancelled'
}

export async function fetchPayment(
  id: string,
  context: Context,
): Promise<Outcome<{ payment: PaymentAnswer | undefined }>> {
  const outcome = await callMercadopago(context, { path: ['v1', 'payments', id], answer: paymentAnswer })
  if (isMissing(outcome)) return { outcome: 'done', payment: undefined }
  if (outcome.outcome !== 'done') return outcome
  const payment = outcome.answer
  if (!isShortOfRefunds(payment)) return { outcome: 'done', payment }
  const list = await callMercadopago(context, {
    path: ['v1', 'payments', id, 'refunds'],
    trailingSlash: true,
    answer: z.array(z.unknown()),
  })
  if (list.outcome !== 'done') return list
  return { outcome: 'done', payment: { ...payment, refunds: list.answer } }
}

/** The list in the payment may leave out what its sum counts; then the list of its own is asked for. */
function isShortOfRefunds(payment: PaymentAnswer): boolean {
  const listed = readEach(refundAnswer, payment.refunds).filter(({ status }) => status === 'approved')
  return listed.reduce((sum, { amount }) => sum + amount, 0) + 0.001 < readRefunded(payment)
}

/** A rejected attempt ends nothing while the page is open: the customer tries another card there. */
async function readCheckout(
  ref: PaymentRef,
  preferenceId: string,
  dead: PaymentAnswer | undefined,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot | undefined }>> {
  const path = ['checkout', 'preferences', preferenceId]
  const outcome = await callMercadopago(context, { path, answer: preferenceAnswer })
  if (outcome.outcome !== 'done' && !isMissing(outcome)) return outcome
  const preference = outcome.outcome === 'done' ? outcome.answer : undefined
  const end = preference?.expires ? readTime(preference.expiration_date_to) : undefined
  const attempt = dead && describePayment(dead, ref)
  if (preference && (end === undefined || end > context.now())) {
    const failure = attempt?.failure
    return { outcome: 'done', snapshot: { ...describePage(preference), ...(failure && { failure }) } }
  }
  if (attempt) return { outcome: 'done', snapshot: attempt }
  if (end === undefined) return reportNothing(ref.createdAt, context)
  const rest = reportNothing(end, context)
  if (rest.outcome !== 'done') return rest
  const snapshot = { providerCheckoutId: preferenceId, status: 'expired' as const, captured: 0, refunded: 0 }
  return { outcome: 'done', snapshot }
}

function reportNothing(since: Date, context: Context): Outcome<{ snapshot: undefined }> {
  const restMs = since.getTime() + searchLagMs - context.now().getTime()
  if (restMs <= 0) return { outcome: 'done', snapshot: undefined }
  return waitForMore('MercadoPago’s search shows no payment yet; it may be behind by some minutes.', restMs)
}

/**
 * Pages by the time of the last payment rather than by number alone: a payment that changes meanwhile moves to the
 * end, and counted pages would skip another for it.
 */
export async function list(since: Date, cursor: string | undefined, context: Context) {
  const [begin = '', skipped = '0'] = (cursor ?? writeTime(since)).split('|')
  const outcome = await callMercadopago(context, {
    path: ['v1', 'payments', 'search'],
    query: {
      sort: 'date_last_updated',
      criteria: 'asc',
      range: 'date_last_updated',
      begin_date: begin,
      end_date: writeTime(context.now()),
      limit: String(pageSize),
      offset: skipped,
    },
    answer: listAnswer,
  })
  if (outcome.outcome !== 'done') return outcome
  const { results, paging } = outcome.answer
  const payments = readEach(paymentAnswer, results)
  const seen = Number(skipped) + results.length
  const hasMore = results.length > 0 && seen < (paging?.total ?? seen + 1)
  const last = payments.at(-1)?.date_last_updated ?? begin
  const next = Date.parse(last) === Date.parse(begin) ? `${begin}|${seen}` : `${last}|0`
  return { outcome: 'done' as const, payments: payments.flatMap(describeListed), ...(hasMore && { next }) }
}

function describeListed(payment: PaymentAnswer) {
  if (!payment.currency_id) return []
  const paymentId = readPaymentId(payment.external_reference)
  const snapshot = describePayment(payment, { currency: payment.currency_id, captured: 0 })
  return [{ ...(paymentId && { paymentId }), snapshot }]
}
