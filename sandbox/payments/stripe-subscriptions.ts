import { z } from 'zod'
import type { Invoice, Price, Subscription, SubscriptionItem } from './stripe-billing-objects.ts'
import { createInvoice } from './stripe-billing.ts'
import { declineOf } from './stripe-cards.ts'
import { collectInvoice, endSubscription, issueInvoice } from './stripe-collection.ts'
import { getCustomer } from './stripe-customers.ts'
import { cardRefused, invalidRequest } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { listOf, listRoute } from './stripe-lists.ts'
import { createFailure, requireAttached } from './stripe-methods.ts'
import type { PaymentMethod } from './stripe-objects.ts'
import { boolean, changeMetadata, ignored } from './stripe-params.ts'
import { cardOf, needsAuthentication } from './stripe-payments.ts'
import { startPeriod, watchCancelAt, watchIncomplete, watchPeriod, watchTrial } from './stripe-periods.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'
import {
  checkCurrencies,
  readTrialEnd,
  readTrialSettings,
  recurringPrice,
  subscriptionParams,
} from './stripe-subscription-params.ts'
import type { SubscriptionParams } from './stripe-subscription-params.ts'

export type NewSubscription = {
  customer: string
  items: Array<{ price: Price; quantity: number; metadata?: Record<string, string> }>
  trialEnd: number | null
  method?: PaymentMethod | null
} & Partial<
  Pick<
    Subscription,
    | 'collection_method'
    | 'description'
    | 'metadata'
    | 'payment_settings'
    | 'trial_settings'
    | 'cancel_at_period_end'
  >
>

/** A subscription with its first invoice, which nobody tried to pay yet unless it costs nothing. */
export function createSubscription(work: Work, made: NewSubscription): Subscription {
  const { items, trialEnd: end, method, ...given } = made
  const id = createId('sub')
  const isTrial = end !== null
  const subscription: Subscription = {
    id,
    object: 'subscription',
    billing_cycle_anchor: end ?? work.at,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { reason: null },
    collection_method: 'charge_automatically',
    created: work.at,
    currency: items[0]!.price.currency,
    default_payment_method: method?.id ?? null,
    description: null,
    ended_at: null,
    items: listOf(
      `/v1/subscription_items?subscription=${id}`,
      items.map((item) => createItem(work, id, item)),
    ),
    latest_invoice: null,
    livemode: work.account.livemode,
    metadata: {},
    pause_collection: null,
    payment_settings: { save_default_payment_method: 'off' },
    start_date: work.at,
    status: isTrial ? 'trialing' : 'incomplete',
    trial_end: end,
    trial_settings: { end_behavior: { missing_payment_method: 'create_invoice' } },
    trial_start: isTrial ? work.at : null,
    ...given,
  }
  addObject(work, subscription, [made.customer, ...items.map(({ price }) => price.id)])
  if (isTrial) startTrial(work, subscription, end)
  else startPeriod(work, subscription, work.at)
  const invoice = createInvoice(work, subscription, { reason: 'subscription_create', isFree: isTrial })
  emit(work, 'customer.subscription.created', subscription)
  issueInvoice(work, invoice)
  if (subscription.status === 'incomplete') watchIncomplete(work, subscription)
  return subscription
}

function startTrial(work: Work, subscription: Subscription, end: number): void {
  for (const item of subscription.items.data) {
    item.current_period_start = work.at
    item.current_period_end = end
  }
  watchPeriod(work, subscription)
  watchTrial(work, subscription, end)
}

export function createItem(
  work: Work,
  subscriptionId: string,
  { price, quantity, metadata: given }: NewSubscription['items'][number],
): SubscriptionItem {
  return {
    id: createId('si', 10),
    object: 'subscription_item',
    created: work.at,
    current_period_end: work.at,
    current_period_start: work.at,
    metadata: given ?? {},
    price,
    quantity,
    subscription: subscriptionId,
  }
}

function create(work: Work, params: SubscriptionParams): Subscription {
  if (params.payment_behavior === 'pending_if_incomplete') {
    const message = 'payment_behavior=pending_if_incomplete can only be used to update a subscription.'
    throw invalidRequest(message, { param: 'payment_behavior' })
  }
  const customer = getCustomer(work, params.customer)
  const items = params.items.map((item, index) => ({
    price: recurringPrice(work, item, `items[${index}]`),
    quantity: item.quantity ?? 1,
    metadata: changeMetadata({}, item.metadata),
  }))
  checkCurrencies(items.map(({ price }) => price))
  const { default_payment_method: methodId } = params
  const method =
    methodId === undefined ? null : requireAttached(work, methodId, customer.id, 'default_payment_method')
  const trial = readTrialEnd(work, params)
  const charged = method ?? defaultCard(work, customer.invoice_settings.default_payment_method)
  checkPayable(work, params, charged, trial)
  const subscription = createSubscription(work, {
    customer: customer.id,
    items,
    trialEnd: trial,
    method,
    cancel_at_period_end: params.cancel_at_period_end ?? false,
    collection_method: params.collection_method ?? 'charge_automatically',
    description: params.description ?? null,
    metadata: changeMetadata({}, params.metadata),
    payment_settings: {
      save_default_payment_method: params.payment_settings?.save_default_payment_method ?? 'off',
    },
    trial_settings: readTrialSettings(params.trial_settings),
  })
  if (params.cancel_at !== undefined) setCancelAt(work, subscription, params.cancel_at)
  payFirst(work, subscription, params)
  return subscription
}

function payFirst(work: Work, subscription: Subscription, params: SubscriptionParams): void {
  if (subscription.collection_method === 'send_invoice') {
    if (subscription.status === 'incomplete') subscription.status = 'active'
    return
  }
  if (params.payment_behavior === 'default_incomplete') return
  const invoice = getObject<Invoice>(work.account, 'invoice', subscription.latest_invoice ?? '')
  collectInvoice(work, invoice, { onSession: !params.off_session })
}

/** What Stripe refuses before anything is made. */
function checkPayable(
  work: Work,
  params: SubscriptionParams,
  method: PaymentMethod | null,
  trial: number | null,
): void {
  if (trial !== null || params.collection_method === 'send_invoice') return
  const { payment_behavior: behaviour } = params
  if (!method) {
    if (behaviour === 'default_incomplete') return
    const message =
      'This customer has no attached payment source or default payment method. Please consider adding a default payment method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.'
    throw invalidRequest(message, { code: 'resource_missing' })
  }
  if (behaviour !== 'error_if_incomplete') return
  const card = cardOf(work, method)
  if (card.behaviour.decline) throw cardRefused(createFailure(card.behaviour.decline))
  if (needsAuthentication(card, params.off_session ?? false))
    throw cardRefused(createFailure(declineOf('authentication_required')))
}

function defaultCard({ account }: Work, id: string | null): PaymentMethod | null {
  return id === null ? null : getObject<PaymentMethod>(account, 'payment_method', id)
}

export function setCancelAt(work: Work, subscription: Subscription, due: number): void {
  if (due <= work.at) {
    const message = 'Invalid timestamp: must be an integer Unix timestamp in the future.'
    throw invalidRequest(message, { param: 'cancel_at' })
  }
  subscription.cancel_at = due
  watchCancelAt(work, subscription, due)
}

const canceled = z.strictObject({
  cancellation_details: ignored,
  invoice_now: boolean.optional(),
  prorate: boolean.optional(),
})

function cancel(work: Work, _: z.infer<typeof canceled>, id: string): Subscription {
  const subscription = getObject<Subscription>(work.account, 'subscription', id)
  if (subscription.ended_at !== null) {
    const message = `No such subscription: '${id}'`
    throw invalidRequest(message, { code: 'resource_missing', param: 'id' })
  }
  endSubscription(work, subscription, 'cancellation_requested')
  return subscription
}

const ended = ['canceled', 'incomplete_expired']

export const subscriptionRoutes: Routes = {
  'POST subscriptions': route('subscription', subscriptionParams, create),
  'GET subscriptions': listRoute<Subscription>('subscription', 'subscriptions', {
    parents: ['customer', 'price'],
    equals: ['collection_method'],
    others: ['status'],
    isShown: ({ status }, { status: wanted }) => {
      if (wanted === 'all') return true
      if (wanted === 'ended') return ended.includes(status)
      return wanted === undefined ? !ended.includes(status) : status === wanted
    },
  }),
  'GET subscriptions/:id': route('read', z.strictObject({}), ({ account }, _, id) =>
    getObject(account, 'subscription', id),
  ),
  'DELETE subscriptions/:id': route('subscription', canceled, cancel),
}
