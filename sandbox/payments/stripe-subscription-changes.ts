import { z } from 'zod'
import type { Subscription } from './stripe-billing-objects.ts'
import { DAY_SECONDS } from './stripe-billing.ts'
import { invalidRequest } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { requireAttached } from './stripe-methods.ts'
import { boolean, changeMetadata, ignored, integer, metadata, optionalText, text } from './stripe-params.ts'
import {
  bill,
  pauseSubscription,
  periodEndOf,
  startPeriod,
  watchPeriod,
  watchResume,
  watchTrial,
} from './stripe-periods.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { getObject, indexMetadata } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'
import {
  checkCurrencies,
  itemPrice,
  readTrialEnd,
  readTrialSettings,
  recurringPrice,
  trialEnd,
  trialSettings,
} from './stripe-subscription-params.ts'
import { createItem, setCancelAt } from './stripe-subscriptions.ts'

const changedItem = z.strictObject({
  deleted: boolean.optional(),
  id: text.optional(),
  metadata,
  price: text.optional(),
  price_data: itemPrice.optional(),
  quantity: integer.optional(),
})

const changed = z.strictObject({
  cancel_at: z.union([z.literal(''), integer]).optional(),
  cancel_at_period_end: boolean.optional(),
  cancellation_details: ignored,
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  default_payment_method: text.optional(),
  description: optionalText,
  items: z.array(changedItem).optional(),
  metadata,
  off_session: boolean.optional(),
  pause_collection: z
    .union([
      z.literal(''),
      z.strictObject({
        behavior: z.enum(['keep_as_draft', 'mark_uncollectible', 'void']),
        resumes_at: integer.optional(),
      }),
    ])
    .optional(),
  payment_behavior: z
    .enum(['default_incomplete', 'allow_incomplete', 'error_if_incomplete', 'pending_if_incomplete'])
    .optional(),
  payment_settings: ignored,
  proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
  proration_date: ignored,
  trial_end: trialEnd,
  trial_settings: trialSettings,
})

type Change = z.infer<typeof changed>

function change(work: Work, params: Change, id: string): Subscription {
  const subscription = getChangeable(work, id)
  const { default_payment_method: methodId, description } = params
  const previous = { status: subscription.status, cancel_at_period_end: subscription.cancel_at_period_end }
  if (methodId !== undefined) {
    const method = requireAttached(work, methodId, subscription.customer, 'default_payment_method')
    subscription.default_payment_method = method.id
  }
  if (description !== undefined) subscription.description = description
  if (params.trial_settings) subscription.trial_settings = readTrialSettings(params.trial_settings)
  subscription.metadata = changeMetadata(subscription.metadata, params.metadata)
  indexMetadata(work.account, subscription)
  changeEnd(work, subscription, params)
  changeCollection(work, subscription, params.pause_collection)
  const isReset = changeItems(work, subscription, params.items ?? [])
  const startsNow = changeTrial(work, subscription, params)
  if (isReset || startsNow) {
    subscription.billing_cycle_anchor = work.at
    startPeriod(work, subscription, work.at)
    bill(work, subscription, startsNow ? 'subscription_cycle' : 'subscription_update', previous)
  } else emit(work, 'customer.subscription.updated', subscription, previous)
  return subscription
}

function getChangeable({ account }: Work, id: string): Subscription {
  const subscription = getObject<Subscription>(account, 'subscription', id)
  if (subscription.ended_at === null) return subscription
  const message = 'A canceled subscription can only update its cancellation_details and metadata.'
  throw invalidRequest(message, { code: 'invalid_canceled_subscription_fields' })
}

function changeEnd(work: Work, subscription: Subscription, params: Change): void {
  const { cancel_at: due, cancel_at_period_end: atPeriodEnd } = params
  if (due === '') subscription.cancel_at = null
  else if (due !== undefined) setCancelAt(work, subscription, due)
  if (atPeriodEnd === undefined) return
  subscription.cancel_at_period_end = atPeriodEnd
  subscription.canceled_at = atPeriodEnd ? work.at : null
  subscription.cancel_at = atPeriodEnd ? periodEndOf(subscription) : null
  subscription.cancellation_details = { reason: atPeriodEnd ? 'cancellation_requested' : null }
}

function changeCollection(work: Work, subscription: Subscription, pause: Change['pause_collection']): void {
  if (pause === undefined) return
  if (pause === '') {
    subscription.pause_collection = null
    return
  }
  const { behavior, resumes_at: resumesAt } = pause
  subscription.pause_collection = { behavior, resumes_at: resumesAt ?? null }
  if (resumesAt !== undefined) watchResume(work, subscription, resumesAt)
}

/** Answers whether a new period has to begin, as it does when the interval becomes another. */
function changeItems(
  work: Work,
  subscription: Subscription,
  items: Array<z.infer<typeof changedItem>>,
): boolean {
  const { data } = subscription.items
  const intervalOf = () => JSON.stringify(data[0]?.price.recurring)
  const before = intervalOf()
  for (const [index, given] of items.entries()) {
    const param = `items[${index}]`
    const names = given.price !== undefined || given.price_data !== undefined
    const price = names ? recurringPrice(work, given, param) : null
    const known = data.find(({ id }) => id === given.id)
    if (given.id !== undefined && !known)
      throw invalidRequest(`No such subscription item: '${given.id}'`, {
        code: 'resource_missing',
        param: `${param}[id]`,
      })
    if (known && given.deleted) data.splice(data.indexOf(known), 1)
    else if (known) {
      known.price = price ?? known.price
      known.quantity = given.quantity ?? known.quantity
      known.metadata = changeMetadata(known.metadata, given.metadata)
    } else if (price) addItem(work, subscription, { price, quantity: given.quantity ?? 1 })
  }
  if (data.length === 0)
    throw invalidRequest(
      'A subscription must have at least one active plan. To cancel a subscription, please use the cancel API endpoint on /v1/subscriptions.',
    )
  checkCurrencies(data.map(({ price }) => price))
  return before !== intervalOf()
}

function addItem(work: Work, subscription: Subscription, made: Parameters<typeof createItem>[2]): void {
  const item = createItem(work, subscription.id, made)
  const [first] = subscription.items.data
  if (first) {
    item.current_period_start = first.current_period_start
    item.current_period_end = first.current_period_end
  }
  subscription.items.data.push(item)
}

/** Answers whether a running trial ends at once. */
function changeTrial(work: Work, subscription: Subscription, params: Change): boolean {
  if (params.trial_end === undefined) return false
  const end = readTrialEnd(work, { trial_end: params.trial_end })
  if (end === null) {
    const wasTrial = subscription.status === 'trialing'
    if (wasTrial) Object.assign(subscription, { status: 'active', trial_end: work.at })
    return wasTrial
  }
  Object.assign(subscription, { status: 'trialing', trial_end: end, billing_cycle_anchor: end })
  subscription.trial_start ??= work.at
  for (const item of subscription.items.data) item.current_period_end = end
  watchPeriod(work, subscription)
  watchTrial(work, subscription, Math.max(end, work.at + DAY_SECONDS))
  return false
}

const paused = z.strictObject({
  bill_for: ignored,
  invoicing_behavior: ignored,
  type: z.literal('subscription').optional(),
})

const resumed = z.strictObject({
  billing_cycle_anchor: z.enum(['now', 'unchanged']).default('now'),
  payment_behavior: z.enum(['resume_on_payment_attempt', 'resume_on_payment_success']).optional(),
  proration_behavior: ignored,
  proration_date: ignored,
})

function resume(work: Work, params: z.infer<typeof resumed>, id: string): Subscription {
  const subscription = getChangeable(work, id)
  if (subscription.status !== 'paused') {
    throw invalidRequest(
      `Cannot resume a subscription with the status ${subscription.status}; it must be paused.`,
    )
  }
  subscription.status = 'active'
  emit(work, 'customer.subscription.resumed', subscription, { status: 'paused' })
  if (params.billing_cycle_anchor === 'unchanged' && periodEndOf(subscription) > work.at) {
    watchPeriod(work, subscription)
    return subscription
  }
  subscription.billing_cycle_anchor = work.at
  startPeriod(work, subscription, work.at)
  bill(work, subscription, 'subscription_cycle', { status: 'paused' })
  return subscription
}

export const subscriptionChangeRoutes: Routes = {
  'POST subscriptions/:id': route('subscription', changed, change),
  'POST subscriptions/:id/pause': route('subscription', paused, (work, _, id) => {
    const subscription = getChangeable(work, id)
    if (!['active', 'trialing', 'past_due'].includes(subscription.status))
      throw invalidRequest(`Cannot pause a subscription with the status ${subscription.status}.`)
    pauseSubscription(work, subscription)
    return subscription
  }),
  'POST subscriptions/:id/resume': route('subscription', resumed, resume),
}
