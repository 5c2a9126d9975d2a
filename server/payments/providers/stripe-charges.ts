import { z } from 'zod'
import { optional, optionalNumber, optionalObject, optionalText, readJson } from '#connections'
import type { Outcome } from '#connections'
import type { SubscriptionCharge, SubscriptionSnapshot, SubscriptionStatus } from './provider.ts'
import { callStripe, listOf, readFailure, readListPage, type StripeContext } from './stripe-call.ts'
import { expandable, type Intent, intentAnswer, readMoney, readTime, redirectTo } from './stripe-mapping.ts'

const subscriptionItem = z.looseObject({
  id: z.string(),
  quantity: optionalNumber,
  current_period_start: optionalNumber,
  current_period_end: optionalNumber,
  price: optionalObject({
    product: optionalText,
    unit_amount: optionalNumber,
    recurring: optionalObject({ interval: optionalText, interval_count: optionalNumber }),
  }),
})

export const subscriptionAnswer = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  customer: optionalText,
  currency: optionalText,
  cancel_at_period_end: optional(z.boolean()),
  trial_end: optionalNumber,
  pause_collection: optional(z.looseObject({})),
  items: optional(listOf(subscriptionItem)),
  metadata: optional(z.record(z.string(), z.string())),
})
export type Subscription = z.output<typeof subscriptionAnswer>

const line = z.looseObject({ period: z.looseObject({ start: z.number(), end: z.number() }) })
const invoicePayment = z.looseObject({
  status: optionalText,
  payment: optionalObject({ payment_intent: expandable(z.looseObject({ id: z.string() })) }),
})

const invoiceAnswer = z.looseObject({
  id: z.string(),
  status: optionalText,
  billing_reason: optionalText,
  amount_due: z.number().int(),
  amount_paid: z.number().int(),
  currency: z.string(),
  attempt_count: optionalNumber,
  next_payment_attempt: optionalNumber,
  hosted_invoice_url: optionalText,
  lines: optional(listOf(line)),
  payments: optional(listOf(invoicePayment)),
})
type Invoice = z.output<typeof invoiceAnswer>

type Snapshot = Promise<Outcome<{ snapshot: SubscriptionSnapshot }>>

/** With its charges. What was just done stays done when the look at those fails. */
export async function describeSubscription(
  subscription: Subscription,
  context: StripeContext,
  isDone = false,
): Snapshot {
  const form = { subscription: subscription.id, expand: ['data.payments'] }
  const listed = await readListPage(context, { path: ['invoices'], form, item: invoiceAnswer })
  if (listed.outcome !== 'done') {
    return isDone ? { outcome: 'done', snapshot: writeSnapshot(subscription, []) } : listed
  }
  const tried = listed.items.find(({ status, attempt_count: attempts }) => status === 'open' && attempts)
  const intent = await readIntentOf(tried, context)
  if (intent.outcome !== 'done' && !isDone) return intent
  const answer = intent.outcome === 'done' ? intent.answer : undefined
  return { outcome: 'done', snapshot: writeSnapshot(subscription, listed.items, answer) }
}

async function readIntentOf(
  invoice: Invoice | undefined,
  context: StripeContext,
): Promise<Outcome<{ answer: Intent | undefined }>> {
  const id = invoice && intentIdOf(invoice)
  if (id === undefined) return { outcome: 'done', answer: undefined }
  return callStripe(context, { path: ['payment_intents', id], read: readJson(intentAnswer) })
}

function intentIdOf({ payments }: Invoice): string | undefined {
  const made = payments?.data.find(({ status }) => status === 'paid') ?? payments?.data[0]
  const intent = made?.payment?.payment_intent
  return typeof intent === 'string' ? intent : intent?.id
}

/** `intent` is that of the newest invoice that is not paid. */
function writeSnapshot(
  subscription: Subscription,
  invoices: readonly Invoice[],
  intent?: Intent,
): SubscriptionSnapshot {
  const { currency, trial_end: trialEnd, cancel_at_period_end: ends } = subscription
  const status = readSubscriptionStatus(subscription)
  const item = subscription.items?.data[0]
  const { current_period_start: start, current_period_end: end, quantity, price } = item ?? {}
  const unitAmount = currency ? readMoney(price?.unit_amount, currency) : undefined
  const link = invoices.find((invoice) => invoice.status === 'open')?.hosted_invoice_url
  const isOwed = status === 'pending' || status === 'past_due'
  return {
    providerSubscriptionId: subscription.id,
    status,
    ...(currency && { currency: currency.toUpperCase() }),
    ...(unitAmount !== undefined && { amount: unitAmount * (quantity ?? 1) }),
    ...(start && { currentPeriodStart: readTime(start) }),
    ...(end && { currentPeriodEnd: readTime(end) }),
    ...(typeof ends === 'boolean' && { cancelAtPeriodEnd: ends }),
    ...(trialEnd && { trialEnd: readTime(trialEnd) }),
    ...(isOwed && link && { action: redirectTo(link) }),
    ...(isOwed && intent?.last_payment_error && { failure: readFailure(intent.last_payment_error) }),
    charges: invoices.toReversed().flatMap((invoice) => readCharge(invoice, intent)),
  }
}

export function readSubscriptionStatus({
  status,
  pause_collection: pause,
}: Subscription): SubscriptionStatus {
  const known = statuses.get(status) ?? 'unknown'
  return pause && ['active', 'trialing', 'past_due'].includes(known) ? 'paused' : known
}

const statuses = new Map<string, SubscriptionStatus>([
  ['incomplete', 'pending'],
  ['incomplete_expired', 'expired'],
  ['trialing', 'trialing'],
  ['active', 'active'],
  ['past_due', 'past_due'],
  ['unpaid', 'past_due'],
  ['paused', 'paused'],
  ['canceled', 'canceled'],
])

/** What is no period's charge (a change in between, nothing to pay) is left out. */
function readCharge(invoice: Invoice, intent: Intent | undefined): SubscriptionCharge[] {
  const { id, currency, billing_reason: reason, amount_paid: paid, amount_due: due, lines } = invoice
  const { attempt_count: attempt } = invoice
  const paymentId = intentIdOf(invoice)
  const own = intent?.id === paymentId ? intent : undefined
  const status = readChargeStatus(invoice, own)
  const amount = readMoney(status === 'paid' ? paid : due, currency)
  const isPeriod = reason === 'subscription_create' || reason === 'subscription_cycle'
  if (!isPeriod || !status || !amount) return []
  // The period of an invoice itself is the one before; that of its lines is what is paid for.
  const [period] = (lines?.data ?? []).map((one) => one.period).toSorted((a, b) => b.end - a.end)
  const isUnpaid = status === 'retrying' || status === 'failed'
  return [
    {
      providerChargeId: id,
      status,
      amount,
      currency: currency.toUpperCase(),
      ...(period && { periodStart: readTime(period.start), periodEnd: readTime(period.end) }),
      ...(paymentId && { providerPaymentId: paymentId }),
      isFirst: reason === 'subscription_create',
      ...(attempt && { attempt }),
      ...(isUnpaid && own?.last_payment_error && { failure: readFailure(own.last_payment_error) }),
    },
  ]
}

/** Undefined: nothing was charged and nothing will be. */
function readChargeStatus(
  invoice: Invoice,
  intent: Intent | undefined,
): SubscriptionCharge['status'] | undefined {
  const { status, attempt_count: attempts, next_payment_attempt: next } = invoice
  if (status === 'paid') return 'paid'
  if (status === 'draft') return 'scheduled'
  if (status === 'uncollectible') return 'failed'
  if (status === 'void') return attempts ? 'failed' : undefined
  if (status !== 'open') return undefined
  if (!attempts || intent?.status === 'requires_action' || intent?.status === 'processing') return 'scheduled'
  return next ? 'retrying' : 'failed'
}
