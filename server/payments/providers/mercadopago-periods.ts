import { z } from 'zod'
import { optional, optionalNumber, optionalObject, optionalText } from '#connections'
import { fromWireNumber } from '../money.ts'
import { idText } from './mercadopago-account.ts'
import { describeFailure, readTime } from './mercadopago-mapping.ts'
import type { SubscriptionCharge, SubscriptionSnapshot, SubscriptionStatus } from './provider.ts'

const amountField = z.union([
  z.number(),
  z
    .string()
    .regex(/^\d+(\.\d+)?$/)
    .transform(Number),
])

export const preapprovalAnswer = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  external_reference: optionalText,
  init_point: optionalText,
  date_created: optionalText,
  next_payment_date: optionalText,
  auto_recurring: optionalObject({
    transaction_amount: optional(amountField),
    currency_id: optionalText,
    start_date: optionalText,
  }),
})
export type Preapproval = z.output<typeof preapprovalAnswer>

/** An authorized payment: what one period is charged with. */
export const periodAnswer = z.looseObject({
  id: idText,
  preapproval_id: optionalText,
  external_reference: optionalText,
  status: z.string(),
  transaction_amount: amountField,
  currency_id: optionalText,
  debit_date: optionalText,
  date_created: optionalText,
  /** 0 for the first attempt. */
  retry_attempt: optionalNumber,
  payment: optionalObject({
    id: optional(idText),
    status: optionalText,
    status_detail: optionalText,
  }),
})
export type Period = z.output<typeof periodAnswer>

export function describeSubscription(
  preapproval: Preapproval,
  charges: readonly SubscriptionCharge[],
  knownCurrency: string,
  now: Date,
): SubscriptionSnapshot {
  const { auto_recurring: recurring, init_point: url } = preapproval
  const currency = recurring?.currency_id ?? knownCurrency
  const trialEnd = readTrialEnd(preapproval, now)
  const latest = charges.findLast((charge) => charge.status !== 'scheduled')
  const isUnpaid = latest?.status === 'retrying' || latest?.status === 'failed'
  const status = statuses.get(preapproval.status) ?? 'unknown'
  const paidSince = charges.findLast((charge) => charge.status === 'paid')?.periodStart
  const paidUntil = readTime(preapproval.next_payment_date)
  return {
    providerSubscriptionId: preapproval.id,
    status: status !== 'active' ? status : isUnpaid ? 'past_due' : trialEnd ? 'trialing' : 'active',
    ...(typeof recurring?.transaction_amount === 'number' && {
      amount: fromWireNumber(recurring.transaction_amount, currency),
    }),
    currency,
    ...(paidSince && { currentPeriodStart: paidSince }),
    ...(paidUntil && { currentPeriodEnd: paidUntil }),
    ...(trialEnd && { trialEnd }),
    ...(status === 'pending' && url && { action: { kind: 'redirect', method: 'GET', url, fields: {} } }),
    ...(isUnpaid && latest.failure && { failure: latest.failure }),
    charges,
  }
}

const hourMs = 3600_000

/** What begins later than it was made begins with a time that is not charged. */
function readTrialEnd(preapproval: Preapproval, now: Date): Date | undefined {
  const start = readTime(preapproval.auto_recurring?.start_date)
  const created = readTime(preapproval.date_created)
  if (!start || !created || start <= now) return undefined
  return start.getTime() - created.getTime() > hourMs ? start : undefined
}

/** Authorized is not charged: what was paid stands in the charges alone. */
const statuses: ReadonlyMap<string, SubscriptionStatus> = new Map([
  ['pending', 'pending'],
  ['authorized', 'active'],
  ['paused', 'paused'],
  ['cancelled', 'canceled'],
])

export function describeCharges(periods: readonly Period[], currency: string): SubscriptionCharge[] {
  const unique = [...new Map(periods.map((period) => [period.id, period])).values()]
  return unique
    .toSorted((a, b) => (startOf(a)?.getTime() ?? 0) - (startOf(b)?.getTime() ?? 0))
    .map((period, index) => describeCharge(period, currency, index === 0))
}

function startOf({ debit_date: due, date_created: created }: Period): Date | undefined {
  return readTime(due) ?? readTime(created)
}

function describeCharge(period: Period, knownCurrency: string, isFirst: boolean): SubscriptionCharge {
  const { payment } = period
  const currency = period.currency_id ?? knownCurrency
  const status = readChargeStatus(period)
  const start = startOf(period)
  const isFailed = status === 'retrying' || status === 'failed'
  return {
    providerChargeId: period.id,
    status,
    amount: fromWireNumber(period.transaction_amount, currency),
    currency,
    ...(start && { periodStart: start }),
    ...(payment?.id && { providerPaymentId: payment.id }),
    attempt: (period.retry_attempt ?? 0) + 1,
    isFirst,
    ...(isFailed && { failure: describeFailure(payment?.status_detail ?? '') }),
  }
}

/** A word that we do not know has taken no money until its payment says so. */
function readChargeStatus({ status, payment }: Period): SubscriptionCharge['status'] {
  const paid = payment?.status ?? ''
  if (['approved', 'in_mediation', 'refunded', 'charged_back'].includes(paid)) return 'paid'
  if (status === 'recycling') return 'retrying'
  if (status === 'processed' && (paid === 'rejected' || paid === 'cancelled')) return 'failed'
  return 'scheduled'
}
