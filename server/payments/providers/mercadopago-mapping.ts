import { z } from 'zod'
import { fieldsOf, figure, idText, mapped, optional, optionalFigure, optionalId } from '#connections'
import { optionalNumber, optionalObject, optionalText, optionalTime, readEach } from '#connections'
import { fromWireNumber } from '../money.ts'
import type { Customer, Failure, MethodSummary, MethodType, PaymentRef, PaymentSnapshot } from './provider.ts'
import type { MethodSnapshot, NextAction, PaymentStatus, RefundSnapshot, RefundStatus } from './provider.ts'
import type { SubscriptionCharge, SubscriptionSnapshot, SubscriptionStatus } from './provider.ts'
import { followLink, postForm, webUrl } from './redirect.ts'
import { filled, noMoney, present } from './snapshot.ts'
import { readWireNumber } from './wire-amount.ts'
import { createWireTable } from './wire-table.ts'
import { createDeclineTable, createWordTable } from './word-table.ts'

export const title = 'MercadoPago'

/** Whole units where a fraction makes the call fail; Colombian pesos have cents in ISO 4217 and none here. */
export const wire = createWireTable('ARS BOB BRL CLP CRC DOP GTQ MXN PAB PEN PYG USD UYU VES', {
  COP: 0,
  HNL: 0,
  NIO: 0,
})

/** By the country of an account. */
export const siteCurrencies: Readonly<Record<string, string>> = Object.fromEntries(
  'MLA:ARS MLB:BRL MLC:CLP MLM:MXN MLU:UYU MCO:COP MEC:USD MHN:HNL MNI:NIO MPE:PEN'
    .split(' ')
    .map((pair) => pair.split(':')),
)

const refundAnswer = z.looseObject({
  id: idText,
  amount: z.number(),
  ...fieldsOf(optionalText, 'status', 'reason'),
})

export const paymentAnswer = z.looseObject({
  id: idText,
  status: z.string(),
  transaction_amount: z.number(),
  ...fieldsOf(optionalText, 'status_detail', 'currency_id', 'external_reference', 'date_last_updated'),
  ...fieldsOf(optionalText, 'payment_method_id', 'payment_type_id'),
  ...fieldsOf(optionalNumber, 'transaction_amount_refunded', 'installments'),
  ...fieldsOf(optionalTime, 'date_created', 'date_approved', 'date_of_expiration'),
  card: optionalObject({ last_four_digits: optionalText }),
  refunds: optional(z.array(z.unknown())),
  three_ds_info: optionalObject({ external_resource_url: optional(webUrl), creq: optionalText }),
  point_of_interaction: optionalObject({
    transaction_data: optionalObject({ subscription_id: optionalText }),
  }),
})
export type PaymentAnswer = z.output<typeof paymentAnswer>

/** A preference: the page that a customer pays at. It moves no money itself. */
export const preferenceAnswer = z
  .looseObject({
    id: z.string().min(1),
    init_point: webUrl,
    expires: optional(z.boolean()),
    expiration_date_to: optionalTime,
  })
  .transform(({ id, init_point: url, expires, expiration_date_to: end }) =>
    present<PaymentSnapshot>({
      ...noMoney,
      providerCheckoutId: id,
      status: 'requires_action',
      action: followLink(url),
      expiresAt: expires ? end : undefined,
    }),
  )

/** What we know of a payment before it is read. */
type Known = Pick<PaymentRef, 'captured' | 'currency' | 'providerCheckoutId'>

export function readPayment(payment: PaymentAnswer, known: Known): PaymentSnapshot {
  const { id: providerPaymentId, status_detail: detail, refunds, date_of_expiration: end } = payment
  const currency = payment.currency_id ?? known.currency
  const amount = fromWireNumber(payment.transaction_amount, currency)
  const status = readWord(statuses, payment) ?? 'unknown'
  const dispute = readWord(disputes, payment)
  return present<PaymentSnapshot>({
    providerPaymentId,
    providerCheckoutId: known.providerCheckoutId,
    status,
    amount,
    currency,
    captured: status === 'confirmed' ? amount : status === 'unknown' ? known.captured : 0,
    refunded: fromWireNumber(sumRefunded(payment), currency),
    refunds: refunds && readEach(refundAnswer, refunds).map((refund) => readRefund(refund, currency)),
    action: status === 'requires_action' ? readChallenge(payment) : undefined,
    failure: status === 'failed' ? readFailure(detail) : undefined,
    dispute: dispute && { status: dispute },
    method: readMethod(payment),
    expiresAt: openStatuses.includes(status) ? end : undefined,
  })
}

/** The payment that a call answers with. */
export function paymentIn(known: Known) {
  return mapped(paymentAnswer, (payment) => ({ snapshot: readPayment(payment, known) }))
}

const openStatuses: readonly PaymentStatus[] = ['requires_action', 'pending', 'processing', 'authorized']

/** What a status means, with its detail where that makes it another. */
function readWord<Meaning>(
  table: ReadonlyMap<string, Meaning>,
  { status, status_detail: detail }: Pick<PaymentAnswer, 'status' | 'status_detail'>,
): Meaning | undefined {
  return table.get(`${status}/${detail}`) ?? table.get(status)
}

const statuses = createWordTable<PaymentStatus>(
  [
    ['requires_action', 'pending/pending_challenge'],
    ['processing', 'in_process'],
    ['confirmed', 'approved in_mediation refunded charged_back'],
    ['failed', 'rejected'],
    ['canceled', 'cancelled'],
    ['expired', 'cancelled/expired'],
  ],
  ['pending', 'authorized'],
)

const disputes = createWordTable<NonNullable<PaymentSnapshot['dispute']>['status']>([
  ['open', 'in_mediation charged_back'],
  ['lost', 'charged_back/settled'],
  ['won', 'charged_back/reimbursed'],
])

/** The customer's money is, or was, taken. */
export function hasTaken(status: string): boolean {
  return statuses.get(status) === 'confirmed'
}

export function isDead(status: string): boolean {
  return status === 'rejected' || status === 'cancelled'
}

/** The bank's page for 3-D Secure takes one field by POST. */
function readChallenge({ three_ds_info: info }: PaymentAnswer): NextAction | undefined {
  const { external_resource_url: url, creq } = info ?? {}
  return url ? postForm(url, creq ? { creq } : {}) : undefined
}

type PaidWith = Pick<PaymentAnswer, 'payment_method_id' | 'payment_type_id' | 'card' | 'installments'>

function readMethod({ payment_method_id: brand, payment_type_id: type, card, installments }: PaidWith) {
  return present<MethodSummary>({
    type: methodTypes.get(type ?? '') ?? 'other',
    brand: brands.get(brand ?? '') ?? brand?.toLowerCase(),
    last4: card?.last_four_digits,
    installments: installments || undefined,
  })
}

const brands = createWordTable([
  ['mastercard', 'master debmaster'],
  ['visa', 'debvisa'],
])

const methodTypes = createWordTable<MethodType>([
  ['card', 'credit_card'],
  ['debit', 'debit_card'],
  ['prepaid', 'prepaid_card'],
  ['bank', 'bank_transfer'],
  ['cash', 'ticket atm'],
  ['wallet', 'account_money'],
])

export const cardAnswer = z.looseObject({
  id: idText,
  last_four_digits: optionalText,
  payment_method: optionalObject(fieldsOf(optionalText, 'id', 'payment_type_id')),
  issuer: optionalObject({ id: optionalId }),
})

/** A card that was saved for its owner, a customer of MercadoPago. */
export function readCard(
  { id: card, payment_method: method, issuer, last_four_digits }: z.output<typeof cardAnswer>,
  customer: string,
): MethodSnapshot {
  const { id: brand, payment_type_id } = method ?? {}
  return {
    status: 'active',
    token: filled({ customer, card, brand, issuer: issuer?.id }),
    summary: readMethod({ payment_method_id: brand, payment_type_id, card: { last_four_digits } }),
  }
}

function readRefund(refund: z.output<typeof refundAnswer>, currency: string): RefundSnapshot {
  const { id: providerRefundId, amount, reason } = refund
  const status = refundStatuses.get(refund.status ?? '') ?? 'unknown'
  const failure = { code: 'provider_refused', providerCode: reason ?? 'rejected', retry: 'never' } as const
  return present<RefundSnapshot>({
    providerRefundId,
    amount: fromWireNumber(amount, currency),
    status,
    failure: status === 'failed' ? failure : undefined,
  })
}

const refundStatuses = createWordTable<RefundStatus>([
  ['succeeded', 'approved'],
  ['pending', 'in_process authorized'],
  ['failed', 'rejected'],
  ['canceled', 'cancelled'],
])

/** The refund that a call answers with. */
export function refundIn(currency: string) {
  return mapped(refundAnswer, (refund) => ({ refund: readRefund(refund, currency) }))
}

function sumRefunded(payment: PaymentAnswer): number {
  const { transaction_amount_refunded: sum, transaction_amount: amount } = payment
  return sum ?? (payment.status === 'refunded' ? amount : 0)
}

/** The list in the payment may leave out what its sum counts; then the list of its own is asked for. */
export function isShortOfRefunds(payment: PaymentAnswer): boolean {
  const listed = readEach(refundAnswer, payment.refunds).filter(({ status }) => status === 'approved')
  return listed.reduce((sum, { amount }) => sum + amount, 0) + 0.001 < sumRefunded(payment)
}

function readFailure(detail: string | null | undefined): Failure {
  const providerCode = detail || 'rejected'
  const code = providerCode.startsWith('cc_rejected_') ? 'card_declined' : 'unknown_reason'
  return { code, retry: 'other_method', ...declines.get(providerCode), providerCode }
}

const declines = createDeclineTable([
  ['insufficient_funds', 'same', 'cc_rejected_insufficient_amount'],
  ['invalid_security_code', 'same', 'cc_rejected_bad_filled_security_code'],
  ['invalid_expiry', 'same', 'cc_rejected_bad_filled_date'],
  ['invalid_card', 'same', 'cc_rejected_bad_filled_card_number'],
  ['invalid_data', 'same', 'cc_rejected_bad_filled_other'],
  ['call_issuer', 'same', 'cc_rejected_call_for_authorize'],
  ['card_disabled', 'other_method', 'cc_rejected_card_disabled'],
  ['fraud_suspected', 'other_method', 'cc_rejected_blacklist cc_rejected_high_risk'],
  ['too_many_attempts', 'other_method', 'cc_rejected_max_attempts'],
  ['duplicate', 'never', 'cc_rejected_duplicated_payment'],
  ['installments_invalid', 'same', 'cc_rejected_invalid_installments'],
  ['authentication_failed', 'same', 'cc_rejected_3ds_challenge'],
  ['authentication_required', 'same', 'cc_rejected_3ds_mandatory'],
  ['processing_error', 'same', 'cc_rejected_time_out bank_error'],
  ['card_declined', 'other_method', 'cc_rejected_other_reason bank_rejected'],
  ['provider_refused', 'other_method', 'rejected_by_regulations collector_unavailable'],
  ['method_unavailable', 'other_method', 'payer_unavailable'],
])

export const preapprovalAnswer = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  external_reference: optionalText,
  init_point: optional(webUrl),
  ...fieldsOf(optionalTime, 'date_created', 'next_payment_date'),
  auto_recurring: optionalObject({
    transaction_amount: optionalFigure,
    currency_id: optionalText,
    start_date: optionalTime,
  }),
})
export type Preapproval = z.output<typeof preapprovalAnswer>

/** An authorized payment: what one period is charged with. */
export const periodAnswer = z.looseObject({
  id: idText,
  status: z.string(),
  transaction_amount: figure,
  ...fieldsOf(optionalText, 'preapproval_id', 'external_reference', 'currency_id'),
  ...fieldsOf(optionalTime, 'debit_date', 'date_created'),
  /** 0 for the first attempt. */
  retry_attempt: optionalNumber,
  payment: optionalObject({ id: optionalId, ...fieldsOf(optionalText, 'status', 'status_detail') }),
})
export type Period = z.output<typeof periodAnswer>

export function readSubscription(
  preapproval: Preapproval,
  periods: readonly Period[],
  knownCurrency: string,
  now: Date,
): SubscriptionSnapshot {
  const { auto_recurring: recurring, init_point: url, next_payment_date: currentPeriodEnd } = preapproval
  const charges = readCharges(periods, knownCurrency)
  const currency = recurring?.currency_id ?? knownCurrency
  const trialEnd = readTrialEnd(preapproval, now)
  const latest = charges.findLast((charge) => charge.status !== 'scheduled')
  const isUnpaid = latest?.status === 'retrying' || latest?.status === 'failed'
  const status = subscriptionStatuses.get(preapproval.status) ?? 'unknown'
  return present<SubscriptionSnapshot>({
    providerSubscriptionId: preapproval.id,
    status: status !== 'active' ? status : isUnpaid ? 'past_due' : trialEnd ? 'trialing' : 'active',
    amount: readWireNumber(recurring?.transaction_amount, currency),
    currency,
    currentPeriodStart: charges.findLast((charge) => charge.status === 'paid')?.periodStart,
    currentPeriodEnd,
    trialEnd,
    action: status === 'pending' ? followLink(url) : undefined,
    failure: isUnpaid ? latest.failure : undefined,
    charges,
  })
}

const hourMs = 3600_000

/** What begins later than it was made begins with a time that is not charged. */
function readTrialEnd({ auto_recurring, date_created: made }: Preapproval, now: Date): Date | undefined {
  const start = auto_recurring?.start_date
  const isTrial = start && made && start > now && start.getTime() - made.getTime() > hourMs
  return isTrial ? start : undefined
}

/** Authorized is not charged: what was paid stands in the charges alone. */
const subscriptionStatuses = createWordTable<SubscriptionStatus>(
  [
    ['active', 'authorized'],
    ['canceled', 'cancelled'],
  ],
  ['pending', 'paused'],
)

function readCharges(periods: readonly Period[], currency: string): SubscriptionCharge[] {
  const startOf = ({ debit_date: due, date_created: made }: Period) => due ?? made
  return [...new Map(periods.map((period) => [period.id, period])).values()]
    .toSorted((a, b) => (startOf(a)?.getTime() ?? 0) - (startOf(b)?.getTime() ?? 0))
    .map((period, index) => readCharge(period, currency, startOf(period), index === 0))
}

function readCharge(
  period: Period,
  knownCurrency: string,
  periodStart: Date | undefined,
  isFirst: boolean,
): SubscriptionCharge {
  const { id: providerChargeId, payment, currency_id, retry_attempt: repetitions } = period
  const currency = currency_id ?? knownCurrency
  const status = readChargeStatus(period)
  const isFailed = status === 'retrying' || status === 'failed'
  return present<SubscriptionCharge>({
    providerChargeId,
    status,
    amount: fromWireNumber(period.transaction_amount, currency),
    currency,
    periodStart,
    providerPaymentId: payment?.id,
    attempt: (repetitions ?? 0) + 1,
    isFirst,
    failure: isFailed ? readFailure(payment?.status_detail) : undefined,
  })
}

/** A word that we do not know has taken no money until its payment says so. */
function readChargeStatus({ status, payment }: Period): SubscriptionCharge['status'] {
  const paid = payment?.status ?? ''
  if (hasTaken(paid)) return 'paid'
  if (status === 'recycling') return 'retrying'
  return status === 'processed' && isDead(paid) ? 'failed' : 'scheduled'
}

export function readPaymentId(reference: string | null | undefined): string | undefined {
  return /^pay_\w+$/.exec(reference ?? '')?.[0]
}

/** ISO 8601 with an offset, as MercadoPago writes it. */
export function writeTime(time: Date): string {
  return time.toISOString().replace('Z', '+00:00')
}

/** Names go by other fields on a page than in a payment. */
export function writePerson({ email, name, document }: Customer, first: string, last: string) {
  const [given, ...family] = name?.trim().split(/\s+/) ?? []
  const identification = document && { type: document.type, number: document.number }
  return filled<unknown>({ email, [first]: given, [last]: family.join(' '), identification })
}
