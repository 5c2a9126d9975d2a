import { schedule } from './agenda.ts'
import type { Invoice, Subscription } from './stripe-billing-objects.ts'
import { cardFor, createInvoice, DAY_SECONDS, findPeriodEnd } from './stripe-billing.ts'
import { collectInvoice, endSubscription, issueInvoice, voidInvoice } from './stripe-collection.ts'
import { emit, sendEvents } from './stripe-events.ts'
import { findObject, startWork } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const INCOMPLETE_FOR_SECONDS = 23 * 60 * 60
const TELLS_TRIAL_END_BEFORE_SECONDS = 3 * DAY_SECONDS

const living = ['trialing', 'active', 'past_due', 'unpaid']

/** Moves every item to the period that begins now, and waits for its end. */
export function startPeriod(work: Work, subscription: Subscription, start: number): void {
  for (const item of subscription.items.data) {
    const recurring = item.price.recurring ?? { interval: 'month', interval_count: 1 }
    item.current_period_start = start
    item.current_period_end = findPeriodEnd(subscription.billing_cycle_anchor, start, recurring)
  }
  watchPeriod(work, subscription)
}

/** Its end is acted on once the sandbox's clock has passed it, unless the period was changed meanwhile. */
export function watchPeriod(work: Work, subscription: Subscription): void {
  const end = periodEndOf(subscription)
  at(work, end, (later) => {
    if (periodEndOf(subscription) === end && living.includes(subscription.status))
      endPeriod(later, subscription)
  })
}

/** What happens by itself on the way to the end of a trial. */
export function watchTrial(work: Work, subscription: Subscription, end: number): void {
  const due = Math.max(work.at, end - TELLS_TRIAL_END_BEFORE_SECONDS)
  at(work, due, (later) => {
    if (subscription.status === 'trialing' && subscription.trial_end === end)
      emit(later, 'customer.subscription.trial_will_end', subscription)
  })
}

export function watchIncomplete(work: Work, subscription: Subscription): void {
  at(work, work.at + INCOMPLETE_FOR_SECONDS, (later) => {
    if (subscription.status !== 'incomplete') return
    const invoice = findObject<Invoice>(later.account, 'invoice', subscription.latest_invoice)
    if (invoice?.status === 'open') voidInvoice(later, invoice)
    subscription.status = 'incomplete_expired'
    subscription.ended_at = later.at
    emit(later, 'customer.subscription.updated', subscription, { status: 'incomplete' })
  })
}

export function watchCancelAt(work: Work, subscription: Subscription, due: number): void {
  at(work, due, (later) => {
    if (subscription.cancel_at === due && living.includes(subscription.status))
      endSubscription(later, subscription, 'cancellation_requested')
  })
}

export function watchResume(work: Work, subscription: Subscription, due: number): void {
  at(work, due, (later) => {
    if (subscription.pause_collection?.resumes_at !== due) return
    subscription.pause_collection = null
    emit(later, 'customer.subscription.updated', subscription)
  })
}

export function periodEndOf(subscription: Subscription): number {
  return Math.min(...subscription.items.data.map(({ current_period_end: end }) => end))
}

/** The period is over: the next one begins with an invoice, or the subscription ends. */
export function endPeriod(work: Work, subscription: Subscription): void {
  if (subscription.cancel_at_period_end) return endSubscription(work, subscription, 'cancellation_requested')
  const previous = { status: subscription.status, latest_invoice: subscription.latest_invoice }
  const start = periodEndOf(subscription)
  if (subscription.status === 'trialing') {
    const { missing_payment_method: without } = subscription.trial_settings.end_behavior
    const hasCard = cardFor(work, subscription) !== null
    if (!hasCard && without === 'cancel') return endSubscription(work, subscription, 'payment_failed')
    if (!hasCard && without === 'pause') return pauseSubscription(work, subscription)
    subscription.status = 'active'
    subscription.billing_cycle_anchor = start
  }
  startPeriod(work, subscription, start)
  bill(work, subscription, 'subscription_cycle', previous)
}

export function pauseSubscription(work: Work, subscription: Subscription): void {
  subscription.status = 'paused'
  emit(work, 'customer.subscription.paused', subscription)
}

/** An invoice for the running period, collected unless collection is paused or was given up. */
export function bill(
  work: Work,
  subscription: Subscription,
  reason: Invoice['billing_reason'],
  previous: Record<string, unknown>,
): void {
  const invoice = createInvoice(work, subscription, { reason })
  emit(work, 'customer.subscription.updated', subscription, previous)
  const paused = subscription.pause_collection?.behavior
  if (paused === 'keep_as_draft' || subscription.status === 'unpaid') {
    invoice.auto_advance = false
    return
  }
  issueInvoice(work, invoice)
  if (paused === 'void') voidInvoice(work, invoice)
  else if (paused === 'mark_uncollectible') writeOff(work, invoice)
  else if (invoice.collection_method === 'charge_automatically') collectInvoice(work, invoice)
}

export function writeOff(work: Work, invoice: Invoice): void {
  invoice.status = 'uncollectible'
  invoice.next_payment_attempt = null
  invoice.status_transitions.marked_uncollectible_at = work.at
  emit(work, 'invoice.marked_uncollectible', invoice)
}

function at({ stripe, account }: Work, seconds: number, run: (work: Work) => void): void {
  schedule(stripe.agenda, new Date(seconds * 1_000), (due) => {
    const work = startWork(stripe, account, due)
    run(work)
    void sendEvents(work)
  })
}
