import { z } from 'zod'
import { fieldsOf, type NotDone, optional, optionalNumber, optionalObject } from '#connections'
import { optionalText, refuse } from '#connections'
import type { FailureCode } from '../failures.ts'
import { fromWireInteger, toWireInteger, wireProblem, writeAmount } from '../money.ts'
import type { Failure, MethodSnapshot, MethodSummary, MethodType, NextAction } from './provider.ts'
import type { PaymentSnapshot, PaymentStatus, RefundSnapshot, RefundStatus } from './provider.ts'
import { followLink, webUrl } from './redirect.ts'
import { noMoney, present } from './snapshot.ts'
import { createWireTable } from './wire-table.ts'
import { createDeclineTable, createWordTable } from './word-table.ts'

export const title = 'Stripe'

/** Under these names our ids travel in the metadata of Stripe's objects. */
export const references = {
  payment: 'pipecore_payment_id',
  refund: 'pipecore_refund_id',
  method: 'pipecore_method_id',
  subscription: 'pipecore_subscription_id',
  customer: 'pipecore_customer',
} as const

/** ISK and UGX have no decimals, but two at Stripe; MGA has two, but none at Stripe. */
export const wire = createWireTable(
  [
    'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF',
    'CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG',
    'HUF IDR ILS INR JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP',
    'MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR',
    'SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TND TOP TRY TTD TWD TZS UAH USD UYU UZS VND VUV WST XAF',
    'XCD XOF XPF YER ZAR ZMW',
  ].join(' '),
  { ISK: 2, UGX: 2, MGA: 0 },
)

/** Why an amount can't be sent; undefined when it can. */
export function moneyProblem(minor: number, currency: string): string | undefined {
  const problem = wireProblem(minor, currency, { title, wire })
  if (problem !== undefined || wire[currency] !== 3 || minor % 10 === 0) return problem
  return `${currency} ${writeAmount(minor, currency)} can't be sent to ${title}: its last decimal must be 0.`
}

/** Money as Stripe's calls have it. */
export function writeMoney(minor: number, currency: string): { amount: number; currency: string } | NotDone {
  const problem = moneyProblem(minor, currency)
  if (problem !== undefined) return refuse('content', problem)
  return { amount: toWireInteger(minor, currency, wire), currency: currency.toLowerCase() }
}

export function readMoney(value: number | null | undefined, currency: string | null | undefined) {
  return typeof value === 'number' && currency
    ? fromWireInteger(value, currency.toUpperCase(), wire)
    : undefined
}

export function toSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}

export function readTime(seconds: number | null | undefined): Date | undefined {
  return seconds ? new Date(seconds * 1000) : undefined
}

const id = z.string().min(1)
const integer = z.number().int()
const optionalFlag = optional(z.boolean())
export const metadata = optional(z.record(z.string(), z.string()))
export const namedAnswer = z.looseObject({ id, metadata })

export function listOf<Item>(item: z.ZodType<Item>) {
  return z.looseObject({ data: z.array(item), has_more: optionalFlag })
}

export function expandable<Schema extends z.ZodType>(schema: Schema) {
  return optional(z.union([schema, z.string()]))
}

export function idOf(value: { id: string } | string | null | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.id
}

/** What was asked for as a whole; undefined where only its id came. */
export function expanded<Item extends object>(value: Item | string | null | undefined): Item | undefined {
  return typeof value === 'object' && value !== null ? value : undefined
}

/** Of an error, and of what a payment keeps of its last one. */
export const reasonAnswer = z.looseObject(
  fieldsOf(optionalText, 'type', 'code', 'decline_code', 'advice_code'),
)

const card = optionalObject({
  ...fieldsOf(optionalText, 'brand', 'last4', 'funding'),
  capture_before: optionalNumber,
})
const methodAnswer = z.looseObject({ id: z.string(), type: optionalText, card })
const failed = optional(reasonAnswer.extend({ payment_method: optional(methodAnswer) }))
const nextAction = optional(z.looseObject({ type: optionalText }))

export const refundAnswer = z
  .looseObject({
    ...fieldsOf(z.string(), 'id', 'currency'),
    amount: integer,
    ...fieldsOf(optionalText, 'status', 'failure_reason'),
    destination_details: optionalObject({ card: optionalObject({ type: optionalText }) }),
    metadata,
  })
  .refine(({ amount, currency }) => readMoney(amount, currency) !== undefined)

const chargeAnswer = z.looseObject({
  disputed: optionalFlag,
  refunds: optional(listOf(refundAnswer)),
  payment_method_details: optionalObject({ type: optionalText, card }),
})

export const intentAnswer = z
  .looseObject({
    id,
    ...fieldsOf(z.string(), 'status', 'currency'),
    ...fieldsOf(integer, 'amount', 'amount_received'),
    cancellation_reason: optionalText,
    next_action: nextAction,
    last_payment_error: failed,
    latest_charge: expandable(chargeAnswer),
    metadata,
  })
  .refine(({ amount, currency }) => readMoney(amount, currency) !== undefined)
  .refine(({ amount_received: amount, currency }) => readMoney(amount, currency) !== undefined)
export type Intent = z.output<typeof intentAnswer>

const setupAnswer = z.looseObject({
  id,
  status: z.string(),
  customer: optionalText,
  payment_method: expandable(methodAnswer),
  next_action: nextAction,
  last_setup_error: failed,
  metadata,
})

const priceAnswer = z.looseObject({
  product: optionalText,
  unit_amount: optionalNumber,
  recurring: optionalObject({ interval: optionalText, interval_count: optionalNumber }),
})
const itemAnswer = z.looseObject({
  id: z.string(),
  ...fieldsOf(optionalNumber, 'quantity', 'current_period_start', 'current_period_end'),
  price: optional(priceAnswer),
})

export const subscriptionAnswer = z.looseObject({
  id,
  status: z.string(),
  ...fieldsOf(optionalText, 'customer', 'currency'),
  cancel_at_period_end: optionalFlag,
  trial_end: optionalNumber,
  pause_collection: optional(z.looseObject({})),
  items: optional(listOf(itemAnswer)),
  metadata,
})
export type Subscription = z.output<typeof subscriptionAnswer>

/** A page of Stripe, and what it is for: a payment, a method or a subscription. */
export const pageAnswer = z.looseObject({
  id,
  status: z.string(),
  ...fieldsOf(optionalText, 'url', 'currency'),
  ...fieldsOf(optionalNumber, 'amount_total', 'expires_at'),
  payment_intent: expandable(intentAnswer),
  setup_intent: expandable(setupAnswer),
  subscription: expandable(subscriptionAnswer),
  metadata,
})
export type Page = z.output<typeof pageAnswer>

const lineAnswer = z.looseObject({ period: z.looseObject({ start: z.number(), end: z.number() }) })
const invoicePaymentAnswer = z.looseObject({
  status: optionalText,
  payment: optionalObject({ payment_intent: expandable(z.looseObject({ id: z.string() })) }),
})

export const invoiceAnswer = z.looseObject({
  ...fieldsOf(z.string(), 'id', 'currency'),
  ...fieldsOf(integer, 'amount_due', 'amount_paid'),
  ...fieldsOf(optionalText, 'status', 'billing_reason', 'hosted_invoice_url'),
  ...fieldsOf(optionalNumber, 'attempt_count', 'next_payment_attempt'),
  lines: optional(listOf(lineAnswer)),
  payments: optional(listOf(invoicePaymentAnswer)),
})
export type Invoice = z.output<typeof invoiceAnswer>

/** The payment that a call answers with; the 402 of a declined card holds it as well. */
export const paymentAnswer = {
  answer: intentAnswer.transform((intent) => ({ snapshot: readIntent(intent) })),
  declined: 'payment_intent',
} as const

/** The method that is being saved, likewise. */
export const inscriptionAnswer = {
  answer: setupAnswer.transform((setup) => ({ ownerId: ownerOf(setup), snapshot: readSetup(setup) })),
  declined: 'setup_intent',
} as const

export const setupPageAnswer = pageAnswer.transform((page) => {
  return { ownerId: ownerOf(page), snapshot: readSetupPage(page) }
})

function ownerOf(inscription: z.output<typeof namedAnswer>): string | undefined {
  return inscription.metadata?.[references.method]
}

/** What a payment is by itself; refunds and disputes have to be asked for. */
export function readIntent(intent: Intent): PaymentSnapshot {
  const { id, amount, amount_received: received, currency, last_payment_error: error } = intent
  const details = expanded(intent.latest_charge)?.payment_method_details
  const status = readStatus(intent)
  return present<PaymentSnapshot>({
    providerPaymentId: id,
    status,
    amount: readMoney(amount, currency),
    currency: currency.toUpperCase(),
    captured: readMoney(received, currency) ?? 0,
    refunded: 0,
    action: status === 'requires_action' ? readAction(intent.next_action) : undefined,
    failure: status === 'failed' ? readFailure(error) : undefined,
    method: readMethod(details ?? error?.payment_method),
    expiresAt: status === 'authorized' ? readTime(details?.card?.capture_before) : undefined,
  })
}

function readStatus({ status, last_payment_error: error, cancellation_reason: end }: Intent): PaymentStatus {
  if (status === 'requires_payment_method' && error) return 'failed'
  if (status === 'canceled' && (end === 'expired' || end === 'automatic')) return 'expired'
  return statuses.get(status) ?? 'unknown'
}

const statuses = createWordTable<PaymentStatus>(
  [
    ['pending', 'requires_payment_method requires_confirmation'],
    ['authorized', 'requires_capture'],
    ['confirmed', 'succeeded'],
  ],
  ['requires_action', 'processing', 'canceled'],
)

/** Money moved, or may be moving: then it does not matter that the page is still open. */
const takenStatuses: readonly PaymentStatus[] = ['confirmed', 'authorized', 'processing']

/** At an open page a declined card is no end: the customer may use another. */
export function readPage(page: Page): PaymentSnapshot {
  const intent = expanded(page.payment_intent)
  const paid = intent && { ...readIntent(intent), providerCheckoutId: page.id }
  if (paid && (page.status === 'complete' || takenStatuses.includes(paid.status))) return paid
  const amount = readMoney(page.amount_total, page.currency)
  const isOpen = page.status === 'open'
  return present<PaymentSnapshot>({
    providerCheckoutId: page.id,
    providerPaymentId: intent?.id,
    status: pageStatuses.get(page.status) ?? 'unknown',
    amount,
    currency: amount === undefined ? undefined : page.currency?.toUpperCase(),
    ...noMoney,
    action: isOpen ? followLink(page.url) : undefined,
    expiresAt: isOpen ? readTime(page.expires_at) : undefined,
  })
}

/** A page that is complete without a payment to look at: its payment is on its way. */
const pageStatuses = createWordTable<PaymentStatus>([
  ['requires_action', 'open'],
  ['processing', 'complete'],
  ['expired', 'expired'],
])

/** 3-D Secure, a voucher or a QR code; undefined for what only Stripe's browser library can do. */
function readAction(next: Intent['next_action']): NextAction | undefined {
  const what = links.safeParse(next?.type ? next[next.type] : undefined).data
  return followLink(what?.url ?? what?.hosted_voucher_url ?? what?.hosted_instructions_url)
}

const link = optional(webUrl)
const links = z.looseObject({ url: link, hosted_voucher_url: link, hosted_instructions_url: link })

function readMethod(
  method: NonNullable<z.output<typeof chargeAnswer>['payment_method_details']> | null | undefined,
): MethodSummary | undefined {
  const { type, card } = method ?? {}
  if (!type) return undefined
  if (type !== 'card') return { type: methodTypes.get(type) ?? 'other', brand: type }
  const { funding, brand, last4 } = card ?? {}
  return present<MethodSummary>({
    type: funding === 'debit' || funding === 'prepaid' ? funding : 'card',
    brand: brand?.toLowerCase(),
    last4,
  })
}

const methodTypes = createWordTable<MethodType>([
  ['bank', 'us_bank_account sepa_debit customer_balance pix'],
  ['cash', 'oxxo boleto konbini multibanco'],
  ['wallet', 'link paypal cashapp alipay wechat_pay'],
])

export function readRefund(refund: z.output<typeof refundAnswer>): RefundSnapshot {
  const kind = refund.destination_details?.card?.type
  const { failure_reason: word } = refund
  return present<RefundSnapshot>({
    providerRefundId: refund.id,
    refundId: refund.metadata?.[references.refund],
    amount: readMoney(refund.amount, refund.currency) ?? 0,
    status: refundStatuses.get(refund.status ?? '') ?? 'unknown',
    kind: kind === 'refund' || kind === 'reversal' ? kind : undefined,
    failure: word
      ? { code: refundFailures.get(word) ?? 'provider_refused', providerCode: word, retry: 'never' }
      : undefined,
  })
}

const refundStatuses = createWordTable<RefundStatus>(
  [['pending', 'requires_action']],
  ['pending', 'succeeded', 'failed', 'canceled'],
)

const refundFailures = createWordTable<FailureCode>([
  ['expired_card', 'expired_or_canceled_card'],
  ['lost_or_stolen', 'lost_or_stolen_card'],
  ['card_declined', 'declined'],
])

export const disputeStatuses = createWordTable<NonNullable<PaymentSnapshot['dispute']>['status']>([
  ['open', 'needs_response warning_needs_response appeal_needs_response'],
  ['under_review', 'under_review warning_under_review appeal_under_review'],
  ['won', 'won warning_closed prevented'],
  ['lost', 'lost'],
])

function readSetup(setup: z.output<typeof setupAnswer>): MethodSnapshot {
  const { id: providerInscriptionId, status, customer, payment_method: method } = setup
  const methodId = idOf(method)
  if (status === 'succeeded' && customer && methodId) {
    const token = { customer, payment_method: methodId }
    const summary = readMethod(expanded(method))
    return present<MethodSnapshot>({ providerInscriptionId, status: 'active', token, summary })
  }
  if (status === 'requires_payment_method' && setup.last_setup_error) {
    return { providerInscriptionId, status: 'failed', failure: readFailure(setup.last_setup_error) }
  }
  if (status === 'canceled') return { providerInscriptionId, status }
  const action = readAction(setup.next_action)
  return present<MethodSnapshot>({ providerInscriptionId, status: 'pending', action })
}

export function readSetupPage({ id, status, url, ...page }: Page): MethodSnapshot {
  const setup = expanded(page.setup_intent)
  if (setup && status === 'complete') return { ...readSetup(setup), providerInscriptionId: id }
  return present<MethodSnapshot>({
    status: status === 'expired' ? 'canceled' : 'pending',
    providerInscriptionId: id,
    action: followLink(url),
  })
}

/** Why a card or another method was not charged. */
export function readFailure(reason: z.output<typeof reasonAnswer> | null | undefined): Failure {
  const { type, code, decline_code: declineCode, advice_code: advice } = reason ?? {}
  const usual = type === 'card_error' ? 'card_declined' : 'unknown_reason'
  const known = declines.get(declineCode ?? '') ?? declines.get(code ?? '')
  const failure = known ?? { code: usual, retry: 'other_method' }
  const retry = advices.get(advice ?? '') ?? failure.retry
  return { ...failure, providerCode: declineCode ?? code ?? type ?? 'unknown', retry }
}

/** What the card's network advises is newer than any table. */
const advices = createWordTable<Failure['retry']>([
  ['other_method', 'do_not_try_again'],
  ['same', 'try_again_later'],
])

/** `decline_code` first, else the `code` of the error. */
const declines = createDeclineTable([
  ['insufficient_funds', 'same', 'insufficient_funds'],
  ['card_declined', 'other_method', 'card_declined generic_decline do_not_honor do_not_try_again'],
  ['card_declined', 'other_method', 'no_action_taken security_violation stop_payment_order'],
  ['card_declined', 'other_method', 'revocation_of_authorization revocation_of_all_authorizations'],
  ['card_declined', 'other_method', 'testmode_decline'],
  ['card_declined', 'same', 'try_again_later'],
  ['call_issuer', 'same', 'call_issuer approve_with_id'],
  ['expired_card', 'other_method', 'expired_card'],
  ['invalid_card', 'other_method', 'incorrect_number invalid_number'],
  ['invalid_expiry', 'other_method', 'invalid_expiry_month invalid_expiry_year'],
  ['invalid_security_code', 'other_method', 'incorrect_cvc invalid_cvc'],
  ['invalid_data', 'other_method', 'incorrect_zip incorrect_address incorrect_pin invalid_pin'],
  ['card_disabled', 'other_method', 'card_not_supported currency_not_supported invalid_account'],
  ['card_disabled', 'other_method', 'new_account_information_available service_not_allowed'],
  ['card_disabled', 'other_method', 'transaction_not_allowed not_permitted'],
  ['lost_or_stolen', 'other_method', 'lost_card stolen_card pickup_card restricted_card'],
  ['authentication_failed', 'same', 'payment_intent_authentication_failure'],
  ['authentication_failed', 'same', 'setup_intent_authentication_failure'],
  ['authentication_required', 'same', 'authentication_required authentication_not_handled'],
  ['authentication_required', 'same', 'mobile_device_authentication_required offline_pin_required'],
  ['authentication_required', 'same', 'online_or_offline_pin_required payment_intent_action_required'],
  ['fraud_suspected', 'other_method', 'fraudulent merchant_blacklist'],
  ['limit_exceeded', 'other_method', 'card_velocity_exceeded withdrawal_count_limit_exceeded invalid_amount'],
  ['too_many_attempts', 'other_method', 'pin_try_exceeded card_decline_rate_limit_exceeded'],
  ['duplicate', 'never', 'duplicate_transaction'],
  ['method_unavailable', 'other_method', 'payment_method_unactivated payment_method_not_available'],
  ['method_unavailable', 'other_method', 'payment_intent_mandate_invalid expired_payment_method'],
  ['canceled_by_customer', 'same', 'payment_method_customer_decline'],
  ['timed_out', 'same', 'payment_intent_payment_attempt_expired setup_intent_setup_attempt_expired'],
  ['processing_error', 'same', 'processing_error issuer_not_available reenter_transaction'],
  ['processing_error', 'same', 'payment_method_provider_timeout'],
  ['processing_error', 'same', 'three_d_secure_authentication_upstream_error'],
])
