import { z } from 'zod'
import { optional, optionalNumber, optionalObject, optionalText, readEach } from '#connections'
import type { FailureCode } from '../failures.ts'
import { fromWireNumber } from '../money.ts'
import { idText } from './mercadopago-account.ts'
import type { Failure, MethodSummary, MethodType, NextAction, PaymentRef } from './provider.ts'
import type { PaymentSnapshot, PaymentStatus, RefundSnapshot, RefundStatus } from './provider.ts'

export const paymentAnswer = z.looseObject({
  id: idText,
  status: z.string(),
  status_detail: optionalText,
  transaction_amount: z.number(),
  transaction_amount_refunded: optionalNumber,
  currency_id: optionalText,
  external_reference: optionalText,
  payment_method_id: optionalText,
  payment_type_id: optionalText,
  installments: optionalNumber,
  card: optionalObject({ last_four_digits: optionalText }),
  refunds: optional(z.array(z.unknown())),
  three_ds_info: optionalObject({ external_resource_url: optionalText, creq: optionalText }),
  point_of_interaction: optionalObject({
    transaction_data: optionalObject({ subscription_id: optionalText }),
  }),
  date_created: optionalText,
  date_approved: optionalText,
  date_last_updated: optionalText,
  date_of_expiration: optionalText,
})
export type PaymentAnswer = z.output<typeof paymentAnswer>

export const refundAnswer = z.looseObject({
  id: idText,
  amount: z.number(),
  status: optionalText,
  reason: optionalText,
})

export const preferenceAnswer = z.looseObject({
  id: z.string().min(1),
  init_point: z.string().regex(/^https?:\/\//),
  expires: optional(z.boolean()),
  expiration_date_to: optionalText,
})
type Preference = z.output<typeof preferenceAnswer>

type Known = Pick<PaymentRef, 'captured' | 'currency' | 'providerCheckoutId'>

/** The page as its customer finds it; a preference itself moves no money. */
export function describePage(preference: Preference): PaymentSnapshot {
  const expiresAt = preference.expires ? readTime(preference.expiration_date_to) : undefined
  return {
    providerCheckoutId: preference.id,
    status: 'requires_action',
    captured: 0,
    refunded: 0,
    action: { kind: 'redirect', method: 'GET', url: preference.init_point, fields: {} },
    ...(expiresAt && { expiresAt }),
  }
}

export function describePayment(payment: PaymentAnswer, known: Known): PaymentSnapshot {
  const currency = payment.currency_id ?? known.currency
  const amount = fromWireNumber(payment.transaction_amount, currency)
  const status = readStatus(payment)
  const action = status === 'requires_action' ? readChallenge(payment) : undefined
  const expiresAt = isOpen.has(status) ? readTime(payment.date_of_expiration) : undefined
  const dispute = readDispute(payment)
  return {
    providerPaymentId: payment.id,
    ...(known.providerCheckoutId !== undefined && { providerCheckoutId: known.providerCheckoutId }),
    status,
    amount,
    currency,
    captured: status === 'confirmed' ? amount : status === 'unknown' ? known.captured : 0,
    refunded: fromWireNumber(readRefunded(payment), currency),
    ...(payment.refunds && {
      refunds: readEach(refundAnswer, payment.refunds).map((refund) => describeRefund(refund, currency)),
    }),
    ...(action && { action }),
    ...(status === 'failed' && { failure: describeFailure(payment.status_detail ?? '') }),
    ...(dispute && { dispute }),
    method: describeMethod(payment),
    ...(expiresAt && { expiresAt }),
  }
}

const isOpen: ReadonlySet<PaymentStatus> = new Set(['requires_action', 'pending', 'processing', 'authorized'])

function readStatus({ status, status_detail: detail }: PaymentAnswer): PaymentStatus {
  if (status === 'pending' && detail === 'pending_challenge') return 'requires_action'
  if (status === 'cancelled' && detail === 'expired') return 'expired'
  return statuses.get(status) ?? 'unknown'
}

const statuses: ReadonlyMap<string, PaymentStatus> = new Map([
  ['pending', 'pending'],
  ['in_process', 'processing'],
  ['authorized', 'authorized'],
  ['approved', 'confirmed'],
  ['in_mediation', 'confirmed'],
  ['refunded', 'confirmed'],
  ['charged_back', 'confirmed'],
  ['rejected', 'failed'],
  ['cancelled', 'canceled'],
])

/** The bank's page for 3-D Secure takes one field by POST. */
function readChallenge({ three_ds_info: info }: PaymentAnswer): NextAction | undefined {
  const url = info?.external_resource_url
  if (!url || !/^https?:\/\//.test(url)) return undefined
  return { kind: 'redirect', method: 'POST', url, fields: info?.creq ? { creq: info.creq } : {} }
}

function readDispute({ status, status_detail: detail }: PaymentAnswer): PaymentSnapshot['dispute'] {
  if (status === 'in_mediation') return { status: 'open' }
  if (status !== 'charged_back') return undefined
  return { status: detail === 'settled' ? 'lost' : detail === 'reimbursed' ? 'won' : 'open' }
}

export function describeMethod(
  payment: Pick<PaymentAnswer, 'payment_method_id' | 'payment_type_id' | 'card' | 'installments'>,
): MethodSummary {
  const { payment_method_id: brand, payment_type_id: type, card, installments } = payment
  return {
    type: methodTypes.get(type ?? '') ?? 'other',
    ...(brand && { brand: brands.get(brand) ?? brand.toLowerCase() }),
    ...(card?.last_four_digits && { last4: card.last_four_digits }),
    ...(installments && { installments }),
  }
}

const brands: ReadonlyMap<string, string> = new Map([
  ['master', 'mastercard'],
  ['debmaster', 'mastercard'],
  ['debvisa', 'visa'],
])

const methodTypes: ReadonlyMap<string, MethodType> = new Map([
  ['credit_card', 'card'],
  ['debit_card', 'debit'],
  ['prepaid_card', 'prepaid'],
  ['bank_transfer', 'bank'],
  ['ticket', 'cash'],
  ['atm', 'cash'],
  ['account_money', 'wallet'],
])

export function describeRefund(refund: z.output<typeof refundAnswer>, currency: string): RefundSnapshot {
  const status = refundStatuses.get(refund.status ?? '') ?? 'unknown'
  return {
    providerRefundId: refund.id,
    amount: fromWireNumber(refund.amount, currency),
    status,
    ...(status === 'failed' && {
      failure: { code: 'provider_refused', providerCode: refund.reason ?? 'rejected', retry: 'never' },
    }),
  }
}

const refundStatuses: ReadonlyMap<string, RefundStatus> = new Map([
  ['approved', 'succeeded'],
  ['in_process', 'pending'],
  ['authorized', 'pending'],
  ['rejected', 'failed'],
  ['cancelled', 'canceled'],
])

export function describeFailure(detail: string): Failure {
  const other = detail.startsWith('cc_rejected_') ? 'card_declined' : 'unknown_reason'
  const [code, retry] = failures.get(detail) ?? ([other, 'other_method'] as const)
  return { code, providerCode: detail || 'rejected', retry }
}

const failures: ReadonlyMap<string, readonly [FailureCode, Failure['retry']]> = new Map([
  ['cc_rejected_insufficient_amount', ['insufficient_funds', 'same']],
  ['cc_rejected_bad_filled_security_code', ['invalid_security_code', 'same']],
  ['cc_rejected_bad_filled_date', ['invalid_expiry', 'same']],
  ['cc_rejected_bad_filled_card_number', ['invalid_card', 'same']],
  ['cc_rejected_bad_filled_other', ['invalid_data', 'same']],
  ['cc_rejected_call_for_authorize', ['call_issuer', 'same']],
  ['cc_rejected_card_disabled', ['card_disabled', 'other_method']],
  ['cc_rejected_blacklist', ['fraud_suspected', 'other_method']],
  ['cc_rejected_high_risk', ['fraud_suspected', 'other_method']],
  ['cc_rejected_max_attempts', ['too_many_attempts', 'other_method']],
  ['cc_rejected_duplicated_payment', ['duplicate', 'never']],
  ['cc_rejected_invalid_installments', ['installments_invalid', 'same']],
  ['cc_rejected_3ds_challenge', ['authentication_failed', 'same']],
  ['cc_rejected_3ds_mandatory', ['authentication_required', 'same']],
  ['cc_rejected_time_out', ['processing_error', 'same']],
  ['cc_rejected_other_reason', ['card_declined', 'other_method']],
  ['bank_error', ['processing_error', 'same']],
  ['bank_rejected', ['card_declined', 'other_method']],
  ['rejected_by_regulations', ['provider_refused', 'other_method']],
  ['collector_unavailable', ['provider_refused', 'other_method']],
  ['payer_unavailable', ['method_unavailable', 'other_method']],
])

export function readRefunded({
  status,
  transaction_amount: amount,
  transaction_amount_refunded: sum,
}: PaymentAnswer) {
  return sum ?? (status === 'refunded' ? amount : 0)
}

export function readPaymentId(reference: string | null | undefined): string | undefined {
  return reference && /^pay_\w+$/.test(reference) ? reference : undefined
}

export function readTime(text: string | null | undefined): Date | undefined {
  const time = new Date(text ?? '')
  return Number.isNaN(time.getTime()) ? undefined : time
}

/** ISO 8601 with an offset, as MercadoPago writes it. */
export function writeTime(time: Date): string {
  return time.toISOString().replace('Z', '+00:00')
}
