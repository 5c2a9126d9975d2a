import { schedule } from './agenda.ts'
import { referenceIn } from './stripe-balance.ts'
import type { Invoice, Subscription } from './stripe-billing-objects.ts'
import {
  cardFor,
  DAY_SECONDS,
  finalizeInvoice,
  intentOf,
  paymentOf,
  subscriptionOf,
} from './stripe-billing.ts'
import { emit, sendEvents } from './stripe-events.ts'
import type { PaymentIntent, PaymentMethod } from './stripe-objects.ts'
import { attemptPayment, cancelPayment } from './stripe-payments.ts'
import { startWork } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const RETRY_AFTER_DAYS = [3, 5, 7]

type Collecting = {
  /** Absent: of the subscription, or of its customer. */
  method?: PaymentMethod | null
  /** The customer is there and could authenticate. */
  onSession?: boolean
  returnUrl?: string | null
  /** Somebody asks for it: only the schedule’s own attempts bring the next one closer. */
  isManual?: boolean
}

/** Makes an invoice final; its subscription follows what becomes of its payment. */
export function issueInvoice(work: Work, invoice: Invoice): PaymentIntent | null {
  const intent = finalizeInvoice(work, invoice, {
    reference: referenceIn(subscriptionOf(work.account, invoice).metadata),
    changed: (later, changed) => followIntent(later, invoice, changed),
  })
  if (!intent) settlePaid(work, invoice)
  return intent
}

/** Charges what is open, and plans the next attempt in case it fails; answers whether it is paid now. */
export function collectInvoice(work: Work, invoice: Invoice, collecting: Collecting = {}): boolean {
  const subscription = subscriptionOf(work.account, invoice)
  const intent = intentOf(work.account, invoice)
  if (!intent || !['open', 'uncollectible'].includes(invoice.status)) return invoice.status === 'paid'
  const method = collecting.method ?? cardFor(work, subscription)
  if (invoice.attempt_count === 0 || !collecting.isManual) planRetry(work, invoice)
  if (!method) {
    settleFailed(work, invoice)
    return false
  }
  const { onSession = false, returnUrl = null } = collecting
  attemptPayment(work, intent, method, { offSession: !onSession, returnUrl })
  return intent.status === 'succeeded'
}

function planRetry(work: Work, invoice: Invoice): void {
  const { stripe, account, at } = work
  const days = RETRY_AFTER_DAYS[invoice.attempt_count]
  invoice.attempted = true
  invoice.attempt_count += 1
  const isFirst = invoice.billing_reason === 'subscription_create'
  if (isFirst || days === undefined) {
    invoice.next_payment_attempt = null
    return
  }
  const nextAttempt = at + days * DAY_SECONDS
  invoice.next_payment_attempt = nextAttempt
  schedule(stripe.agenda, new Date(nextAttempt * 1_000), (due) => {
    if (invoice.status !== 'open' || invoice.next_payment_attempt !== nextAttempt) return
    const later = startWork(stripe, account, due)
    collectInvoice(later, invoice)
    void sendEvents(later)
  })
}

function followIntent(work: Work, invoice: Invoice, intent: PaymentIntent): void {
  if (intent.status === 'succeeded') settlePaid(work, invoice, intent)
  else if (intent.status === 'requires_action') emit(work, 'invoice.payment_action_required', invoice)
  else if (intent.status === 'requires_payment_method' && intent.last_payment_error)
    settleFailed(work, invoice)
}

function settlePaid(work: Work, invoice: Invoice, intent?: PaymentIntent): void {
  if (invoice.status === 'paid') return
  const payment = paymentOf(work.account, invoice)
  if (payment) Object.assign(payment, { status: 'paid', amount_paid: invoice.amount_due })
  invoice.status = 'paid'
  invoice.attempted = true
  invoice.amount_paid = invoice.amount_due
  invoice.amount_remaining = 0
  invoice.next_payment_attempt = null
  invoice.status_transitions.paid_at = work.at
  const subscription = subscriptionOf(work.account, invoice)
  if (intent && subscription.payment_settings.save_default_payment_method === 'on_subscription')
    subscription.default_payment_method = intent.payment_method
  if (['incomplete', 'past_due', 'unpaid'].includes(subscription.status))
    setSubscriptionStatus(work, subscription, 'active')
  emit(work, 'invoice.paid', invoice)
  emit(work, 'invoice.payment_succeeded', invoice)
}

function settleFailed(work: Work, invoice: Invoice): void {
  emit(work, 'invoice.payment_failed', invoice)
  const subscription = subscriptionOf(work.account, invoice)
  const isFirst = invoice.billing_reason === 'subscription_create'
  if (isFirst || !['active', 'past_due', 'trialing'].includes(subscription.status)) return
  if (subscription.status !== 'past_due') setSubscriptionStatus(work, subscription, 'past_due')
  if (invoice.next_payment_attempt !== null) return
  const { afterRetries } = work.account.options
  if (afterRetries === 'cancel') endSubscription(work, subscription, 'payment_failed')
  else if (afterRetries === 'unpaid') setSubscriptionStatus(work, subscription, 'unpaid')
}

export function setSubscriptionStatus(
  work: Work,
  subscription: Subscription,
  status: Subscription['status'],
): void {
  const previous = { status: subscription.status }
  subscription.status = status
  emit(work, 'customer.subscription.updated', subscription, previous)
}

/** For good; what is still open is not collected any more. */
export function endSubscription(work: Work, subscription: Subscription, reason: string): void {
  subscription.status = 'canceled'
  subscription.canceled_at ??= work.at
  subscription.ended_at = work.at
  subscription.cancellation_details = { reason }
  const latest = work.account.objects.get(subscription.latest_invoice ?? '') as Invoice | undefined
  if (latest?.status === 'open') Object.assign(latest, { auto_advance: false, next_payment_attempt: null })
  emit(work, 'customer.subscription.deleted', subscription)
}

/** Nobody owes it any more. */
export function voidInvoice(work: Work, invoice: Invoice): void {
  invoice.status = 'void'
  invoice.auto_advance = false
  invoice.next_payment_attempt = null
  invoice.status_transitions.voided_at = work.at
  const intent = intentOf(work.account, invoice)
  if (intent && !['succeeded', 'canceled'].includes(intent.status))
    cancelPayment(work, intent, 'void_invoice')
  emit(work, 'invoice.voided', invoice)
}
