import { type Form, mapDone, mapped, type Outcome, refuse, thenDone } from '#connections'
import type { Customer, NativeSubscriptions, PaymentProvider, SubscriptionChange } from './provider.ts'
import type { MethodChoice, SubscriptionCharge, SubscriptionCommand, SubscriptionRef } from './provider.ts'
import type { SubscriptionSnapshot, SubscriptionStatus } from './provider.ts'
import { addParameter, followLink } from './redirect.ts'
import { present } from './snapshot.ts'
import { blameState, callStripe, closePage, type Context, type Credentials, findOurs } from './stripe-call.ts'
import { findStripe, isMissing, makeStripe, openPage, pathOfPage, readListPage } from './stripe-call.ts'
import {
  expanded,
  idOf,
  inscriptionAnswer,
  type Intent,
  intentAnswer,
  type Invoice,
} from './stripe-mapping.ts'
import { invoiceAnswer, namedAnswer, type Page, pageAnswer, readFailure } from './stripe-mapping.ts'
import { readMoney, readSetupPage, readTime, references, setupPageAnswer } from './stripe-mapping.ts'
import { type Subscription, subscriptionAnswer, title, toSeconds, writeMoney } from './stripe-mapping.ts'
import { createWordTable } from './word-table.ts'

type Methods = Required<Pick<PaymentProvider<Credentials>, 'saveMethod' | 'finishMethod' | 'removeMethod'>>

/** On the way back from a page that the customer gave up. */
const canceledParameter = 'pipecore_canceled'

export const methods: Methods = {
  /** With a token the method is tried at once; without, the customer enters it on Stripe's page. */
  async saveMethod({ methodId, token, returnUrl, key, customer: person }, context) {
    const owner = await ensureCustomer(person, key, context)
    if (owner.outcome !== 'done') return owner
    const { id: customer } = owner
    const metadata = { [references.method]: methodId }
    if (token === undefined) {
      return openPage(context, readSetupPage, key, {
        mode: 'setup',
        customer,
        allowed_payment_method_types: ['card'],
        ...writeReturn(returnUrl),
        setup_intent_data: { metadata },
        metadata,
      })
    }
    const form = {
      customer,
      payment_method: token,
      usage: 'off_session',
      confirm: true,
      automatic_payment_methods: { enabled: true, allow_redirects: 'always' },
      return_url: returnUrl,
      metadata,
      expand: ['payment_method'],
    }
    const outcome = await callStripe(context, { path: ['setup_intents'], key, form, ...inscriptionAnswer })
    return mapDone(outcome, ({ snapshot }) => ({ snapshot }))
  },

  async finishMethod({ methodId, providerInscriptionId: id = '' }, parameters, context) {
    const call = id.startsWith('cs_')
      ? { path: pathOfPage(id), form: { expand: ['setup_intent.payment_method'] }, answer: setupPageAnswer }
      : {
          path: ['setup_intents', id],
          form: { expand: ['payment_method'] },
          answer: inscriptionAnswer.answer,
        }
    return thenDone(callStripe(context, call), ({ ownerId, snapshot }) => {
      if (ownerId !== methodId) return refuse('state', `${title} has no such inscription for this method.`)
      const gaveUp = snapshot.status === 'pending' && parameters.has(canceledParameter)
      return { outcome: 'done', snapshot: gaveUp ? { ...snapshot, ...givenUp, action: undefined } : snapshot }
    })
  },

  /** Gone is gone, whoever removed it. */
  async removeMethod({ payment_method: id = '' }, { methodId }, context) {
    const path = ['payment_methods', id, 'detach']
    const outcome = await makeStripe(context, path, {}, `${methodId}-detach`)
    return isMissing(outcome) ? { outcome: 'done' } : outcome
  },
}

const givenUp = {
  status: 'canceled',
  failure: { code: 'canceled_by_customer', providerCode: 'open', retry: 'same' },
} as const

/**
 * The customer at Stripe whom methods and subscriptions belong to. One who was here before is found again, because
 * a subscription takes only methods of its own customer.
 */
async function ensureCustomer(
  { reference, email, name, phone }: Customer,
  key: string,
  context: Context,
): Promise<Outcome<{ id: string }>> {
  const path = ['customers']
  if (reference !== undefined && email !== undefined) {
    const page = await readListPage(context, { path, form: { email }, item: namedAnswer })
    if (page.outcome !== 'done') return page
    const known = page.items.findLast(({ metadata }) => metadata?.[references.customer] === reference)
    if (known) return { outcome: 'done', id: known.id }
  }
  const metadata = { [references.customer]: reference }
  return makeStripe(context, path, { email, name, phone, metadata }, `${key}-customer`)
}

function writeReturn(returnUrl: string) {
  return { success_url: returnUrl, cancel_url: addParameter(returnUrl, `${canceledParameter}=1`) }
}

export const subscriptions: NativeSubscriptions<Credentials> = {
  keepsKeys: true,

  async create(command, context) {
    const money = writeMoney(command.amount, command.currency)
    if ('outcome' in money) return money
    const { subscriptionId, method, description, trialEnd, key } = command
    const recurring = { interval: command.interval, interval_count: command.intervalCount }
    const price = { currency: money.currency, unit_amount: money.amount, recurring }
    const metadata = { ...command.metadata, [references.subscription]: subscriptionId }
    const named = { metadata, trial_end: trialEnd && toSeconds(trialEnd.getTime()) }
    if (method === undefined) return openSubscriptionPage(command, price, named, context)
    const payer = await preparePayer(command, method, context)
    if (payer.outcome !== 'done') return payer
    const product = await makeStripe(context, ['products'], { name: description }, `${key}-product`)
    if (product.outcome !== 'done') return product
    const priced = { ...price, product: product.id }
    const made = await makeStripe(context, ['prices'], priced, `${key}-price`)
    if (made.outcome !== 'done') return made
    const form = {
      customer: payer.customer,
      default_payment_method: payer.method,
      items: [{ price: made.id }],
      payment_behavior: 'allow_incomplete',
      description,
      ...named,
    }
    return callSubscription(context, { path: ['subscriptions'], key, form })
  },

  async read(ref, context) {
    const found = await findSubscription(ref, context)
    if (found.outcome !== 'done') return found
    const { subscription, page } = found
    if (subscription) return describe(subscription, context)
    return { outcome: 'done', snapshot: page && readSubscriptionPage(page) }
  },

  async update(ref, change, context) {
    const found = await findSubscription(ref, context)
    if (found.outcome !== 'done') return found
    const { subscription } = found
    if (subscription === undefined) return refuse('state', 'The customer has not subscribed yet.')
    const method = await writeMethod(subscription, change, context)
    if (method.outcome !== 'done') return method
    const price = await writePrice(subscription, ref, change, context)
    if (price.outcome !== 'done') return price
    const { key, paused, cancelAtPeriodEnd: cancel_at_period_end } = change
    // While it is paused, invoices are made and voided: nobody is charged, then or later.
    const pause_collection = paused === undefined ? undefined : paused ? { behavior: 'void' } : ''
    const form = { ...method.form, ...price.form, pause_collection, cancel_at_period_end }
    return callSubscription(context, { path: ['subscriptions', subscription.id], key, form })
  },

  /**
   * At once. A DELETE has no idempotency key at Stripe and needs none: it moves no money, and the second one finds
   * the subscription gone, which is then read.
   */
  async cancel(ref, key, context) {
    const found = await findSubscription(ref, context)
    if (found.outcome !== 'done') return found
    const { subscription, page } = found
    if (subscription === undefined) {
      if (page) return closePage(context, readSubscriptionPage, key, page)
      return refuse('state', `${title} has no such subscription.`)
    }
    const isOver = ['canceled', 'expired'].includes(readStatus(subscription))
    if (isOver) return describe(subscription, context, true)
    const path = ['subscriptions', subscription.id]
    const outcome = await callSubscription(context, { path, isDelete: true })
    return outcome.outcome !== 'done' && isMissing(outcome) ? blameState(outcome) : outcome
  },
}

function openSubscriptionPage(
  { customer, subscriptionId, description, returnUrl, key }: SubscriptionCommand,
  price: Form,
  subscription_data: Form,
  context: Context,
) {
  return openPage(context, readSubscriptionPage, key, {
    mode: 'subscription',
    line_items: [{ quantity: 1, price_data: { ...price, product_data: { name: description } } }],
    ...writeReturn(returnUrl),
    client_reference_id: subscriptionId,
    customer_email: customer.email,
    subscription_data,
    metadata: { [references.subscription]: subscriptionId },
  })
}

type Payer = Promise<Outcome<{ customer: string; method: string }>>

/** The method and the customer whom it belongs to. A token is nobody's yet. */
async function preparePayer(
  { customer, key }: SubscriptionCommand,
  method: MethodChoice,
  context: Context,
): Payer {
  if (method.kind === 'saved') {
    const { customer: owner = '', payment_method: saved = '' } = method.token
    return { outcome: 'done', customer: owner, method: saved }
  }
  return thenDone(ensureCustomer(customer, key, context), ({ id }) => attach(method.token, id, key, context))
}

async function attach(token: string, customer: string, key: string, context: Context): Payer {
  const path = ['payment_methods', token, 'attach']
  const attached = await makeStripe(context, path, { customer }, `${key}-attach`)
  return mapDone(attached, ({ id }) => ({ customer, method: id }))
}

type Subscribed = Promise<Outcome<{ snapshot: SubscriptionSnapshot }>>

/** A call that answers with the subscription. */
function callSubscription(
  context: Context,
  call: { path: string[]; key?: string; form?: Form; isDelete?: boolean },
): Subscribed {
  const answer = mapped(subscriptionAnswer, (subscription) => ({ subscription }))
  return thenDone(callStripe(context, { ...call, answer }), ({ subscription }) =>
    describe(subscription, context, true),
  )
}

interface Found {
  subscription?: Subscription | undefined
  page?: Page | undefined
}

async function findSubscription(
  { subscriptionId, providerSubscriptionId: id, createdAt }: SubscriptionRef,
  context: Context,
): Promise<Outcome<Found>> {
  const path = ['subscriptions']
  if (id === undefined) {
    const listing = { path, form: { status: 'all' }, item: subscriptionAnswer }
    const ours = await findOurs(context, listing, [references.subscription, subscriptionId, createdAt])
    return mapDone(ours, ({ found: subscription }) => ({ subscription }))
  }
  if (id.startsWith('cs_')) {
    const paged = await findStripe(context, pageAnswer, pathOfPage(id), 'subscription')
    return mapDone(paged, ({ found: page }) => ({ page, subscription: expanded(page?.subscription) }))
  }
  const known = await findStripe(context, subscriptionAnswer, [...path, id])
  return mapDone(known, ({ found: subscription }) => ({ subscription }))
}

/** Prices never change at Stripe: another amount is another price, from the next period on. */
async function writePrice(
  subscription: Subscription,
  { currency }: SubscriptionRef,
  { amount, key }: SubscriptionChange,
  context: Context,
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
  const made = await makeStripe(context, ['prices'], form, `${key}-price`)
  return mapDone(made, ({ id: price }) => {
    return { form: { items: [{ id: item.id, price }], proration_behavior: 'none' } }
  })
}

async function writeMethod(
  { customer }: Subscription,
  { method, key }: SubscriptionChange,
  context: Context,
): Promise<Outcome<{ form: Form }>> {
  if (method === undefined) return { outcome: 'done', form: {} }
  if (method.kind === 'token') {
    const attached = await attach(method.token, customer ?? '', key, context)
    return mapDone(attached, (payer) => ({ form: { default_payment_method: payer.method } }))
  }
  const { customer: owner, payment_method: default_payment_method } = method.token
  if (owner === customer) return { outcome: 'done', form: { default_payment_method } }
  const advice = 'Save it with the reference and e-mail address of the customer who subscribed.'
  return refuse('content', `${title} has this method for another customer than the subscription. ${advice}`)
}

/** With its charges. What was just done stays done when the look at those fails. */
async function describe(subscription: Subscription, context: Context, isDone = false): Subscribed {
  const form = { subscription: subscription.id, expand: ['data.payments'] }
  const listed = await readListPage(context, { path: ['invoices'], form, item: invoiceAnswer })
  if (listed.outcome !== 'done' && !isDone) return listed
  const invoices = listed.outcome === 'done' ? listed.items : []
  const tried = invoices.find(({ status, attempt_count: attempts }) => status === 'open' && attempts)
  const id = tried && intentIdOf(tried)
  const paid = id
    ? await callStripe(context, { path: ['payment_intents', id], answer: triedAnswer })
    : undefined
  if (paid && paid.outcome !== 'done' && !isDone) return paid
  const intent = paid?.outcome === 'done' ? paid.intent : undefined
  return { outcome: 'done', snapshot: readSubscription(subscription, invoices, intent) }
}

const triedAnswer = intentAnswer.transform((intent) => ({ intent }))

/** Until the customer subscribed, the page is all there is, and its id the only one. */
function readSubscriptionPage({ id, status, url }: Page): SubscriptionSnapshot {
  return present<SubscriptionSnapshot>({
    providerSubscriptionId: id,
    status: status === 'expired' ? 'expired' : 'pending',
    action: status === 'open' ? followLink(url) : undefined,
    charges: [],
  })
}

/** `intent` is that of the newest invoice that is not paid. */
function readSubscription(
  subscription: Subscription,
  invoices: readonly Invoice[],
  intent?: Intent,
): SubscriptionSnapshot {
  const { id, currency, trial_end: trialEnd, cancel_at_period_end: cancelAtPeriodEnd } = subscription
  const item = subscription.items?.data[0]
  const unitAmount = readMoney(item?.price?.unit_amount, currency)
  const status = readStatus(subscription)
  const isOwed = status === 'pending' || status === 'past_due'
  const open = invoices.find((invoice) => invoice.status === 'open')
  const error = intent?.last_payment_error
  return present<SubscriptionSnapshot>({
    providerSubscriptionId: id,
    status,
    currency: currency?.toUpperCase(),
    amount: unitAmount === undefined ? undefined : unitAmount * (item?.quantity ?? 1),
    currentPeriodStart: readTime(item?.current_period_start),
    currentPeriodEnd: readTime(item?.current_period_end),
    cancelAtPeriodEnd,
    trialEnd: readTime(trialEnd),
    action: isOwed ? followLink(open?.hosted_invoice_url) : undefined,
    failure: isOwed && error ? readFailure(error) : undefined,
    charges: invoices.toReversed().flatMap((invoice) => readCharge(invoice, intent)),
  })
}

function readStatus({ status, pause_collection: pause }: Subscription): SubscriptionStatus {
  const known = statuses.get(status) ?? 'unknown'
  return pause && ['active', 'trialing', 'past_due'].includes(known) ? 'paused' : known
}

const statuses = createWordTable<SubscriptionStatus>(
  [
    ['pending', 'incomplete'],
    ['expired', 'incomplete_expired'],
    ['past_due', 'unpaid'],
  ],
  ['trialing', 'active', 'past_due', 'paused', 'canceled'],
)

/** What is no period's charge (a change in between, nothing to pay) is left out. */
function readCharge(invoice: Invoice, intent: Intent | undefined): SubscriptionCharge[] {
  const { currency, billing_reason: occasion, amount_paid: paid, amount_due: due, lines } = invoice
  const providerPaymentId = intentIdOf(invoice)
  const own = intent?.id === providerPaymentId ? intent : undefined
  const status = readChargeStatus(invoice, own)
  const amount = readMoney(status === 'paid' ? paid : due, currency)
  const isPeriod = occasion === 'subscription_create' || occasion === 'subscription_cycle'
  if (!isPeriod || !status || !amount) return []
  // The period of an invoice itself is the one before; that of its lines is what is paid for.
  const [period] = (lines?.data ?? []).map((line) => line.period).toSorted((a, b) => b.end - a.end)
  const error = status === 'retrying' || status === 'failed' ? own?.last_payment_error : undefined
  const charge = present<SubscriptionCharge>({
    providerChargeId: invoice.id,
    status,
    amount,
    currency: currency.toUpperCase(),
    periodStart: readTime(period?.start),
    periodEnd: readTime(period?.end),
    providerPaymentId,
    isFirst: occasion === 'subscription_create',
    attempt: invoice.attempt_count || undefined,
    failure: error && readFailure(error),
  })
  return [charge]
}

function intentIdOf({ payments }: Invoice): string | undefined {
  const made = payments?.data.find(({ status }) => status === 'paid') ?? payments?.data[0]
  return idOf(made?.payment?.payment_intent)
}

/** Undefined: nothing was charged and nothing will be. */
function readChargeStatus(
  { status, attempt_count: attempts, next_payment_attempt: next }: Invoice,
  intent: Intent | undefined,
): SubscriptionCharge['status'] | undefined {
  if (status === 'void') return attempts ? 'failed' : undefined
  if (status !== 'open') return chargeStatuses.get(status ?? '')
  if (!attempts || intent?.status === 'requires_action' || intent?.status === 'processing') return 'scheduled'
  return next ? 'retrying' : 'failed'
}

const chargeStatuses = createWordTable<SubscriptionCharge['status']>([
  ['paid', 'paid'],
  ['scheduled', 'draft'],
  ['failed', 'uncollectible'],
])
