import { z } from 'zod'
import { optional, optionalNumber, optionalObject, optionalText, readJson } from '#connections'
import type { NotDone } from '#connections'
import type { FailureCode } from '../failures.ts'
import { fromWireInteger, toWireInteger, wireProblem, type WireTable, writeAmount } from '../money.ts'
import type { Failure, MethodSummary, MethodType, NextAction, PaymentSnapshot } from './provider.ts'
import type { PaymentStatus, RefundSnapshot, RefundStatus } from './provider.ts'
import { listOf, readFailure, reasonAnswer, refuse, type StripeError, title } from './stripe-call.ts'

/** Under these names our ids travel in the metadata of Stripe's objects. */
export const references = {
  payment: 'pipecore_payment_id',
  refund: 'pipecore_refund_id',
  method: 'pipecore_method_id',
  subscription: 'pipecore_subscription_id',
  customer: 'pipecore_customer',
} as const

/** On the way back from a page that the customer gave up. */
export const canceledParameter = 'pipecore_canceled'

export function addParameter(url: string, parameter: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}${parameter}`
}

const decimals: ReadonlyArray<readonly [decimals: number, currencies: string]> = [
  [0, 'BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF'],
  [3, 'BHD JOD KWD OMR TND'],
  // These have none, but two at Stripe.
  [2, 'ISK UGX'],
  [2, 'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD'],
  [2, 'CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD'],
  [2, 'HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK'],
  [2, 'MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON'],
  [2, 'RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH USD'],
  [2, 'UYU UZS WST XCD YER ZAR ZMW'],
]

export const wire: WireTable = Object.fromEntries(
  decimals.flatMap(([count, currencies]) => currencies.split(' ').map((currency) => [currency, count])),
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

export function readMoney(value: number | null | undefined, currency: string): number | undefined {
  return value === null || value === undefined
    ? undefined
    : fromWireInteger(value, currency.toUpperCase(), wire)
}

const metadata = optional(z.record(z.string(), z.string()))

export function expandable<Schema extends z.ZodType>(schema: Schema) {
  return optional(z.union([schema, z.string()]))
}

/** What was asked for as a whole; undefined where only its id came. */
export function expanded<Item extends object>(value: Item | string | null | undefined): Item | undefined {
  return typeof value === 'object' && value !== null ? value : undefined
}

const nextAction = optional(z.looseObject({ type: optionalText }))

export const refundAnswer = z
  .looseObject({
    id: z.string(),
    amount: z.number().int(),
    currency: z.string(),
    status: optionalText,
    failure_reason: optionalText,
    destination_details: optionalObject({ card: optionalObject({ type: optionalText }) }),
    metadata,
  })
  .refine(({ amount, currency }) => readMoney(amount, currency) !== undefined)

const cardDetails = optionalObject({
  brand: optionalText,
  last4: optionalText,
  funding: optionalText,
  capture_before: optionalNumber,
})

export const methodAnswer = z.looseObject({ id: z.string(), type: optionalText, card: cardDetails })

const failed = optional(reasonAnswer.extend({ payment_method: optional(methodAnswer) }))

const charge = z.looseObject({
  disputed: optional(z.boolean()),
  refunds: optional(listOf(refundAnswer)),
  payment_method_details: optionalObject({ type: optionalText, card: cardDetails }),
})

export const intentAnswer = z
  .looseObject({
    id: z.string().min(1),
    status: z.string(),
    amount: z.number().int(),
    amount_received: z.number().int(),
    currency: z.string(),
    cancellation_reason: optionalText,
    next_action: nextAction,
    last_payment_error: failed,
    latest_charge: expandable(charge),
    metadata,
  })
  .refine(({ amount, amount_received: received, currency }) =>
    [amount, received].every((value) => readMoney(value, currency) !== undefined),
  )
export type Intent = z.output<typeof intentAnswer>

export const sessionAnswer = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  url: optionalText,
  amount_total: optionalNumber,
  currency: optionalText,
  expires_at: optionalNumber,
  payment_intent: expandable(intentAnswer),
  metadata,
})
export type Session = z.output<typeof sessionAnswer>

export const setupAnswer = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  customer: optionalText,
  payment_method: expandable(methodAnswer),
  next_action: nextAction,
  last_setup_error: failed,
  metadata,
})
export type Setup = z.output<typeof setupAnswer>

/** A declined card makes a 402 that holds the payment it was for. */
export const intentCall = {
  read: readJson(intentAnswer),
  readDeclined: ({ payment_intent: intent }: StripeError) => intentAnswer.safeParse(intent).data,
}

export const setupCall = {
  read: readJson(setupAnswer),
  readDeclined: ({ setup_intent: intent }: StripeError) => setupAnswer.safeParse(intent).data,
}

/** What a payment is by itself; refunds and disputes have to be asked for. */
export function readIntent(intent: Intent): PaymentSnapshot {
  const details = expanded(intent.latest_charge)?.payment_method_details
  const method = readMethod(details ?? intent.last_payment_error?.payment_method)
  const status = readStatus(intent)
  const action = status === 'requires_action' ? readAction(intent.next_action) : undefined
  const captureBefore = status === 'authorized' ? details?.card?.capture_before : undefined
  return {
    providerPaymentId: intent.id,
    status,
    amount: readMoney(intent.amount, intent.currency),
    currency: intent.currency.toUpperCase(),
    captured: readMoney(intent.amount_received, intent.currency) ?? 0,
    refunded: 0,
    ...(action && { action }),
    ...(status === 'failed' && { failure: readFailure(intent.last_payment_error) }),
    ...(method && { method }),
    ...(captureBefore && { expiresAt: readTime(captureBefore) }),
  }
}

function readStatus({ status, last_payment_error: reason, cancellation_reason: end }: Intent): PaymentStatus {
  if (status === 'requires_payment_method' && reason) return 'failed'
  if (status === 'canceled' && (end === 'expired' || end === 'automatic')) return 'expired'
  return statuses.get(status) ?? 'unknown'
}

const statuses = new Map<string, PaymentStatus>([
  ['requires_payment_method', 'pending'],
  ['requires_confirmation', 'pending'],
  ['requires_action', 'requires_action'],
  ['processing', 'processing'],
  ['requires_capture', 'authorized'],
  ['succeeded', 'confirmed'],
  ['canceled', 'canceled'],
])

/** Money moved, or may be moving: then it does not matter that the page is still open. */
const takenStatuses: readonly PaymentStatus[] = ['confirmed', 'authorized', 'processing']

/** At an open page a declined card is no end: the customer may use another. */
export function readSession(session: Session): PaymentSnapshot {
  const intent = expanded(session.payment_intent)
  const paid = intent && { ...readIntent(intent), providerCheckoutId: session.id }
  if (paid && (session.status === 'complete' || takenStatuses.includes(paid.status))) return paid
  const { url, currency, expires_at: expiresAt } = session
  const amount = currency ? readMoney(session.amount_total, currency) : undefined
  const isOpen = session.status === 'open'
  return {
    providerCheckoutId: session.id,
    ...(intent && { providerPaymentId: intent.id }),
    status: sessionStatuses.get(session.status) ?? 'unknown',
    ...(amount !== undefined && currency && { amount, currency: currency.toUpperCase() }),
    captured: 0,
    refunded: 0,
    ...(isOpen && url && { action: redirectTo(url) }),
    ...(isOpen && expiresAt && { expiresAt: readTime(expiresAt) }),
  }
}

/** A page that is complete without a payment to look at: its payment is on its way. */
const sessionStatuses = new Map<string, PaymentStatus>([
  ['open', 'requires_action'],
  ['complete', 'processing'],
  ['expired', 'expired'],
])

export function redirectTo(url: string): NextAction {
  return { kind: 'redirect', method: 'GET', url, fields: {} }
}

/** 3-D Secure, a voucher or a QR code; undefined for what only Stripe's browser library can do. */
export function readAction(next: z.output<typeof nextAction>): NextAction | undefined {
  const what = links.safeParse(next?.type ? next[next.type] : undefined).data
  const link = what?.url ?? what?.hosted_voucher_url ?? what?.hosted_instructions_url
  return link ? redirectTo(link) : undefined
}

const webUrl = optional(z.url({ protocol: /^https?$/ }))
const links = z.looseObject({ url: webUrl, hosted_voucher_url: webUrl, hosted_instructions_url: webUrl })

export function readMethod(
  method: Pick<z.output<typeof methodAnswer>, 'type' | 'card'> | null | undefined,
): MethodSummary | undefined {
  const { type, card } = method ?? {}
  if (!type) return undefined
  if (type !== 'card') return { type: methodTypes.get(type) ?? 'other', brand: type }
  return {
    type: card?.funding === 'debit' || card?.funding === 'prepaid' ? card.funding : 'card',
    ...(card?.brand && { brand: card.brand.toLowerCase() }),
    ...(card?.last4 && { last4: card.last4 }),
  }
}

const methodTypes = new Map<string, MethodType>([
  ...['us_bank_account', 'sepa_debit', 'customer_balance', 'pix'].map((type) => [type, 'bank'] as const),
  ...['oxxo', 'boleto', 'konbini', 'multibanco'].map((type) => [type, 'cash'] as const),
  ...['link', 'paypal', 'cashapp', 'alipay', 'wechat_pay'].map((type) => [type, 'wallet'] as const),
])

export function readRefund(refund: z.output<typeof refundAnswer>): RefundSnapshot {
  const refundId = refund.metadata?.[references.refund]
  const kind = refund.destination_details?.card?.type
  return {
    providerRefundId: refund.id,
    ...(refundId && { refundId }),
    amount: readMoney(refund.amount, refund.currency) ?? 0,
    status: refundStatuses.get(refund.status ?? '') ?? 'unknown',
    ...((kind === 'refund' || kind === 'reversal') && { kind }),
    ...(refund.failure_reason && { failure: readRefundFailure(refund.failure_reason) }),
  }
}

const refundStatuses = new Map<string, RefundStatus>([
  ['pending', 'pending'],
  ['requires_action', 'pending'],
  ['succeeded', 'succeeded'],
  ['failed', 'failed'],
  ['canceled', 'canceled'],
])

function readRefundFailure(reason: string): Failure {
  return { code: refundFailures.get(reason) ?? 'provider_refused', providerCode: reason, retry: 'never' }
}

const refundFailures = new Map<string, FailureCode>([
  ['expired_or_canceled_card', 'expired_card'],
  ['lost_or_stolen_card', 'lost_or_stolen'],
  ['declined', 'card_declined'],
])

export function readTime(seconds: number): Date {
  return new Date(seconds * 1000)
}
