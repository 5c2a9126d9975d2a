import type {
  Interval,
  Invoice,
  InvoiceLine,
  InvoicePayment,
  Subscription,
} from './stripe-billing-objects.ts'
import { emit } from './stripe-events.ts'
import { listOf } from './stripe-lists.ts'
import type { Customer, PaymentIntent, PaymentMethod } from './stripe-objects.ts'
import { createIntent, pageUrl } from './stripe-payments.ts'
import { addObject, addPage, createId, findObject, getObject, objectsOf } from './stripe-state.ts'
import type { Follower, StripeAccount, Work } from './stripe-state.ts'

export const DAY_SECONDS = 24 * 60 * 60

type NewInvoice = {
  reason: Invoice['billing_reason']
  /** A trial costs nothing. */
  isFree?: boolean
}

/** A draft for the subscription's running period. */
export function createInvoice(
  work: Work,
  subscription: Subscription,
  { reason, isFree }: NewInvoice,
): Invoice {
  const { account } = work
  const [item] = subscription.items.data
  const lines = describeLines(subscription, isFree ?? false)
  const total = lines.reduce((sum, { amount }) => sum + amount, 0)
  const id = createId('in')
  const invoice: Invoice = {
    id,
    object: 'invoice',
    amount_due: total,
    amount_paid: 0,
    amount_remaining: total,
    attempt_count: 0,
    attempted: false,
    auto_advance: true,
    billing_reason: reason,
    collection_method: subscription.collection_method,
    created: work.at,
    currency: subscription.currency,
    customer: subscription.customer,
    hosted_invoice_url: null,
    lines: listOf(`/v1/invoices/${id}/lines`, lines),
    livemode: account.livemode,
    metadata: {},
    next_payment_attempt: null,
    number: null,
    parent: {
      type: 'subscription_details',
      subscription_details: { subscription: subscription.id, metadata: subscription.metadata },
    },
    period_end: work.at,
    period_start: item?.current_period_start ?? work.at,
    status: 'draft',
    status_transitions: {
      finalized_at: null,
      paid_at: null,
      voided_at: null,
      marked_uncollectible_at: null,
    },
    subtotal: total,
    total,
  }
  addObject(work, invoice, [subscription.id, subscription.customer])
  subscription.latest_invoice = id
  emit(work, 'invoice.created', invoice)
  return invoice
}

function describeLines(subscription: Subscription, isFree: boolean): InvoiceLine[] {
  return subscription.items.data.map((item) => ({
    id: createId('il'),
    object: 'line_item',
    amount: isFree ? 0 : item.price.unit_amount * item.quantity,
    currency: subscription.currency,
    description: isFree ? 'Trial period' : `${item.quantity} × ${item.price.nickname ?? item.price.product}`,
    period: { start: item.current_period_start, end: item.current_period_end },
    quantity: item.quantity,
    pricing: { type: 'price_details', price_details: { price: item.price.id, product: item.price.product } },
  }))
}

/** From now on it is owed: it gets its number and, if it costs anything, a payment intent. */
export function finalizeInvoice(work: Work, invoice: Invoice, follower: Follower): PaymentIntent | null {
  const { account } = work
  const place = objectsOf(account, 'invoice', invoice.customer).length
  invoice.status = 'open'
  invoice.number = `${invoice.customer.slice(-8).toUpperCase()}-${String(place).padStart(4, '0')}`
  invoice.hosted_invoice_url = pageUrl(work, invoice.id)
  invoice.status_transitions.finalized_at = work.at
  addPage(work, invoice.id)
  const intent = invoice.amount_due === 0 ? null : addIntent(work, invoice, follower)
  emit(work, 'invoice.finalized', invoice)
  return intent
}

function addIntent(work: Work, invoice: Invoice, follower: Follower): PaymentIntent {
  const isFirst = invoice.billing_reason === 'subscription_create'
  const intent = createIntent(work, {
    amount: invoice.amount_due,
    currency: invoice.currency,
    customer: invoice.customer,
    description: isFirst ? 'Subscription creation' : 'Subscription update',
    follower,
    setup_future_usage: isFirst ? 'off_session' : null,
  })
  const payment: InvoicePayment = {
    id: createId('inpay'),
    object: 'invoice_payment',
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: work.at,
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: work.account.livemode,
    payment: { type: 'payment_intent', payment_intent: intent.id },
    status: 'open',
  }
  addObject(work, payment, [invoice.id, intent.id])
  return intent
}

export function paymentOf(account: StripeAccount, invoice: Invoice): InvoicePayment | undefined {
  return objectsOf<InvoicePayment>(account, 'invoice_payment', invoice.id)[0]
}

export function intentOf(account: StripeAccount, invoice: Invoice): PaymentIntent | undefined {
  const id = paymentOf(account, invoice)?.payment.payment_intent
  return findObject<PaymentIntent>(account, 'payment_intent', id ?? null)
}

export function subscriptionOf(account: StripeAccount, invoice: Invoice): Subscription {
  return getObject(account, 'subscription', invoice.parent.subscription_details.subscription)
}

/** What a subscription is charged to: its own card, else its customer's. */
export function cardFor({ account }: Work, subscription: Subscription): PaymentMethod | null {
  const customer = getObject<Customer>(account, 'customer', subscription.customer)
  const candidates = [subscription.default_payment_method, customer.invoice_settings.default_payment_method]
  const id = candidates.find((candidate) => candidate !== null) ?? null
  const method = findObject<PaymentMethod>(account, 'payment_method', id)
  return method?.customer === customer.id ? method : null
}

/** The first end of a period after `start`, counted from the anchor: the 31st stays the last of every month. */
export function findPeriodEnd(
  anchor: number,
  start: number,
  { interval, interval_count: count }: { interval: Interval; interval_count: number },
): number {
  if (interval === 'day' || interval === 'week') {
    const length = count * DAY_SECONDS * (interval === 'week' ? 7 : 1)
    return anchor + (Math.floor((start - anchor) / length) + 1) * length
  }
  const months = interval === 'year' ? 12 * count : count
  let periods = Math.max(0, Math.floor((start - anchor) / (31 * DAY_SECONDS * months)))
  while (addMonths(anchor, periods * months) <= start) periods += 1
  return addMonths(anchor, periods * months)
}

function addMonths(seconds: number, months: number): number {
  const from = new Date(seconds * 1_000)
  const day = from.getUTCDate()
  const to = new Date(from)
  to.setUTCDate(1)
  to.setUTCMonth(from.getUTCMonth() + months)
  const last = new Date(Date.UTC(to.getUTCFullYear(), to.getUTCMonth() + 1, 0)).getUTCDate()
  to.setUTCDate(Math.min(day, last))
  return Math.floor(to.getTime() / 1_000)
}
