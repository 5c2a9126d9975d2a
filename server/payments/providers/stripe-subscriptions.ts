import { z } from 'zod'
import { optionalText, readJson } from '#connections'
import type { Outcome } from '#connections'
import type { MethodChoice, NativeSubscriptions, SubscriptionChange } from './provider.ts'
import type { SubscriptionCommand, SubscriptionRef, SubscriptionSnapshot } from './provider.ts'
import type { SubscriptionStatus } from './provider.ts'
import { callStripe, type Form, refuse, stateIfClosed, type StripeContext } from './stripe-call.ts'
import { type StripeKeys, title } from './stripe-call.ts'
import { describeSubscription, readSubscriptionStatus, subscriptionAnswer } from './stripe-charges.ts'
import type { Subscription } from './stripe-charges.ts'
import { addParameter, canceledParameter, expandable, expanded } from './stripe-mapping.ts'
import { redirectTo, references, writeMoney } from './stripe-mapping.ts'
import { ensureCustomer } from './stripe-methods.ts'
import { findByReference } from './stripe-reading.ts'

const madeAnswer = z.looseObject({ id: z.string().min(1) })

const subscriptionPage = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  url: optionalText,
  subscription: expandable(subscriptionAnswer),
})
type SubscriptionPage = z.output<typeof subscriptionPage>

type Snapshot = Promise<Outcome<{ snapshot: SubscriptionSnapshot }>>

async function create(command: SubscriptionCommand, context: StripeContext): Snapshot {
  const money = writeMoney(command.amount, command.currency)
  if ('outcome' in money) return money
  const { subscriptionId, method, description, intervalCount, trialEnd, key } = command
  const recurring = { interval: command.interval, interval_count: intervalCount }
  const named = { ...command.metadata, [references.subscription]: subscriptionId }
  const trial = trialEnd && { trial_end: Math.floor(trialEnd.getTime() / 1000) }
  const price = { currency: money.currency, unit_amount: money.amount, recurring }
  if (method === undefined) {
    const priceData = { ...price, product_data: { name: description } }
    return openPage(command, priceData, { metadata: named, ...trial }, context)
  }
  const payer = await preparePayer(command, method, context)
  if (payer.outcome !== 'done') return payer
  const product = await make(['products'], { name: description }, `${key}-product`, context)
  if (product.outcome !== 'done') return product
  const made = await make(['prices'], { ...price, product: product.id }, `${key}-price`, context)
  if (made.outcome !== 'done') return made
  const form = {
    customer: payer.customer,
    default_payment_method: payer.method,
    items: [{ price: made.id }],
    payment_behavior: 'allow_incomplete',
    description,
    metadata: named,
    ...trial,
  }
  const call = { path: ['subscriptions'], key, form, read: readJson(subscriptionAnswer) }
  const outcome = await callStripe(context, call)
  return outcome.outcome === 'done' ? describeSubscription(outcome.answer, context, true) : outcome
}

/** The method and the customer whom it belongs to. A token is nobody's yet. */
async function preparePayer(
  { customer, key }: SubscriptionCommand,
  method: MethodChoice,
  context: StripeContext,
): Promise<Outcome<{ customer: string; method: string }>> {
  if (method.kind === 'saved') {
    const { customer: owner = '', payment_method: saved = '' } = method.token
    return { outcome: 'done', customer: owner, method: saved }
  }
  const owner = await ensureCustomer(customer, `${key}-customer`, context)
  return owner.outcome === 'done' ? attach(method.token, owner.id, `${key}-attach`, context) : owner
}

async function attach(
  token: string,
  customer: string,
  key: string,
  context: StripeContext,
): Promise<Outcome<{ customer: string; method: string }>> {
  const made = await make(['payment_methods', token, 'attach'], { customer }, key, context)
  return made.outcome === 'done' ? { outcome: 'done', customer, method: made.id } : made
}

async function make(
  path: string[],
  form: Form,
  key: string,
  context: StripeContext,
): Promise<Outcome<{ id: string }>> {
  const outcome = await callStripe(context, { path, form, key, read: readJson(madeAnswer) })
  return outcome.outcome === 'done' ? { outcome: 'done', id: outcome.answer.id } : outcome
}

async function openPage(
  { customer, subscriptionId, returnUrl, key }: SubscriptionCommand,
  priceData: Form,
  subscriptionData: Form,
  context: StripeContext,
): Snapshot {
  const form = {
    mode: 'subscription',
    line_items: [{ quantity: 1, price_data: priceData }],
    success_url: returnUrl,
    cancel_url: addParameter(returnUrl, `${canceledParameter}=1`),
    client_reference_id: subscriptionId,
    customer_email: customer.email,
    subscription_data: subscriptionData,
    metadata: { [references.subscription]: subscriptionId },
  }
  const call = { path: ['checkout', 'sessions'], key, form, read: readJson(subscriptionPage) }
  const outcome = await callStripe(context, call)
  return outcome.outcome === 'done' ? { outcome: 'done', snapshot: describePage(outcome.answer) } : outcome
}

/** Until the customer subscribed, the page is all there is, and its id the only one. */
function describePage({ id, status, url }: SubscriptionPage): SubscriptionSnapshot {
  const isOpen = status === 'open'
  return {
    providerSubscriptionId: id,
    status: status === 'expired' ? 'expired' : 'pending',
    ...(isOpen && url && { action: redirectTo(url) }),
    charges: [],
  }
}

interface Found {
  subscription?: Subscription
  page?: SubscriptionPage
}

async function read(
  ref: SubscriptionRef,
  context: StripeContext,
): Promise<Outcome<{ snapshot: SubscriptionSnapshot | undefined }>> {
  const found = await find(ref, context)
  if (found.outcome !== 'done') return found
  if (found.subscription) return describeSubscription(found.subscription, context)
  return { outcome: 'done', snapshot: found.page && describePage(found.page) }
}

async function find(ref: SubscriptionRef, context: StripeContext): Promise<Outcome<Found>> {
  const { providerSubscriptionId: id } = ref
  if (id === undefined) return findByOurId(ref, context)
  const isPage = id.startsWith('cs_')
  const outcome = isPage
    ? await callStripe(context, {
        path: ['checkout', 'sessions', id],
        form: { expand: ['subscription'] },
        read: readJson(foundPage),
      })
    : await callStripe(context, { path: ['subscriptions', id], read: readJson(foundSubscription) })
  if (outcome.outcome === 'refused' && outcome.error.code === 'resource_missing') return { outcome: 'done' }
  return outcome.outcome === 'done' ? { outcome: 'done', ...outcome.answer } : outcome
}

const foundPage = subscriptionPage.transform((page): Found => {
  return { page, subscription: expanded(page.subscription) }
})
const foundSubscription = subscriptionAnswer.transform((subscription): Found => ({ subscription }))

async function findByOurId({ subscriptionId: value, createdAt }: SubscriptionRef, context: StripeContext) {
  const listing = { path: ['subscriptions'], form: { status: 'all' }, item: subscriptionAnswer }
  const reference = { ...listing, name: references.subscription, value, createdAt }
  const outcome = await findByReference(reference, context)
  return outcome.outcome === 'done' ? { outcome: 'done' as const, subscription: outcome.found } : outcome
}

async function update(ref: SubscriptionRef, change: SubscriptionChange, context: StripeContext): Snapshot {
  const found = await find(ref, context)
  if (found.outcome !== 'done') return found
  const { subscription } = found
  if (subscription === undefined) return refuse('state', 'The customer has not subscribed yet.')
  const method = await writeMethod(subscription, change, context)
  if (method.outcome !== 'done') return method
  const price = await writePrice(subscription, ref, change, context)
  if (price.outcome !== 'done') return price
  const form = {
    ...method.form,
    ...price.form,
    // While it is paused, invoices are made and voided: nobody is charged, then or later.
    pause_collection: change.paused === undefined ? undefined : change.paused ? { behavior: 'void' } : '',
    cancel_at_period_end: change.cancelAtPeriodEnd,
  }
  const call = { path: ['subscriptions', subscription.id], key: change.key, form }
  const outcome = await callStripe(context, { ...call, read: readJson(subscriptionAnswer) })
  return outcome.outcome === 'done' ? describeSubscription(outcome.answer, context, true) : outcome
}

/** Prices never change at Stripe: another amount is another price, from the next period on. */
async function writePrice(
  subscription: Subscription,
  { currency }: SubscriptionRef,
  { amount, key }: SubscriptionChange,
  context: StripeContext,
): Promise<Outcome<{ form: Form }>> {
  if (amount === undefined) return { outcome: 'done', form: {} }
  const money = writeMoney(amount, currency)
  if ('outcome' in money) return money
  const item = subscription.items?.data[0]
  const { product, recurring } = item?.price ?? {}
  if (!item || !product || !recurring?.interval) return refuse('state', `${title} has no price for it.`)
  const { interval, interval_count: count } = recurring
  const form = {
    product,
    currency: money.currency,
    unit_amount: money.amount,
    recurring: { interval, interval_count: count ?? 1 },
  }
  const price = await make(['prices'], form, `${key}-price`, context)
  if (price.outcome !== 'done') return price
  return { outcome: 'done', form: { items: [{ id: item.id, price: price.id }], proration_behavior: 'none' } }
}

async function writeMethod(
  { customer }: Subscription,
  { method, key }: SubscriptionChange,
  context: StripeContext,
): Promise<Outcome<{ form: Form }>> {
  if (method === undefined) return { outcome: 'done', form: {} }
  if (method.kind === 'saved') {
    if (method.token.customer === customer) {
      return { outcome: 'done', form: { default_payment_method: method.token.payment_method } }
    }
    const advice = 'Save it with the reference and e-mail address of the customer who subscribed.'
    return refuse('content', `${title} has this method for another customer than the subscription. ${advice}`)
  }
  const attached = await attach(method.token, customer ?? '', `${key}-attach`, context)
  if (attached.outcome !== 'done') return attached
  return { outcome: 'done', form: { default_payment_method: attached.method } }
}

/**
 * At once. A DELETE has no idempotency key at Stripe and needs none: it moves no money, and the second one finds
 * the subscription gone, which is then read.
 */
async function cancel(ref: SubscriptionRef, key: string, context: StripeContext): Snapshot {
  const found = await find(ref, context)
  if (found.outcome !== 'done') return found
  const { subscription, page } = found
  if (subscription === undefined) {
    return page ? closePage(page, key, context) : refuse('state', `${title} has no such subscription.`)
  }
  const isOver = endedStatuses.includes(readSubscriptionStatus(subscription))
  if (isOver) return describeSubscription(subscription, context, true)
  const path = ['subscriptions', subscription.id]
  const outcome = await callStripe(context, { path, isDelete: true, read: readJson(subscriptionAnswer) })
  if (outcome.outcome === 'done') return describeSubscription(outcome.answer, context, true)
  const isGone = outcome.outcome === 'refused' && outcome.error.code === 'resource_missing'
  return isGone ? { ...outcome, error: { ...outcome.error, kind: 'state' } } : outcome
}

const endedStatuses: readonly SubscriptionStatus[] = ['canceled', 'expired']

async function closePage({ id }: SubscriptionPage, key: string, context: StripeContext): Snapshot {
  const path = ['checkout', 'sessions', id, 'expire']
  const outcome = await callStripe(context, { path, key, read: readJson(subscriptionPage) })
  if (outcome.outcome === 'done') {
    return { outcome: 'done', snapshot: { ...describePage(outcome.answer), status: 'canceled' } }
  }
  return stateIfClosed(outcome)
}

export const subscriptions: NativeSubscriptions<StripeKeys> = {
  keepsKeys: true,
  create,
  read,
  update,
  cancel,
}
