import assert from 'node:assert/strict'
import { test } from 'node:test'
import type Stripe from 'stripe'
import { failureOf, startStripe } from './stripe-test-account.ts'
import type { TestAccount } from './stripe-test-account.ts'

type Setup = TestAccount & { customer: string; price: string }

/** A customer with a card and a monthly plan of $9.990. */
async function startPlan(account: TestAccount, card = 'pm_card_visa'): Promise<Setup> {
  const { stripe } = account
  const customer = await stripe.customers.create({
    payment_method: card,
    invoice_settings: { default_payment_method: card },
  })
  const product = await stripe.products.create({ name: 'Plan Pro' })
  const price = await stripe.prices.create({
    product: product.id,
    currency: 'clp',
    unit_amount: 9_990,
    recurring: { interval: 'month' },
  })
  return { ...account, customer: customer.id, price: price.id }
}

const subscribe = (
  { stripe, customer, price }: Setup,
  change: Partial<Stripe.SubscriptionCreateParams> = {},
) =>
  stripe.subscriptions.create({
    customer,
    items: [{ price }],
    metadata: { pipecore_subscription_id: 'sub_1' },
    ...change,
  })

const invoicesOf = async ({ stripe }: Setup, subscription: string) => {
  const { data } = await stripe.invoices.list({ subscription })
  return data.map(({ status, billing_reason: reason }) => `${status} ${reason}`)
}

test('a subscription is active once its first invoice is paid, and tells which payment paid it', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const subscription = await subscribe(setup, { expand: ['latest_invoice.payments'] })
  assert.equal(subscription.status, 'active')
  const invoice = subscription.latest_invoice as Stripe.Invoice
  assert.deepEqual([invoice.status, invoice.amount_paid], ['paid', 9_990])
  assert.equal(invoice.parent?.subscription_details?.subscription, subscription.id)
  const payment = invoice.payments?.data[0]?.payment.payment_intent as string
  const { data } = await setup.stripe.invoicePayments.list({ invoice: invoice.id! })
  assert.deepEqual([data[0]?.status, data[0]?.payment.payment_intent], ['paid', payment])
  const byPayment = await setup.stripe.invoicePayments.list({
    payment: { type: 'payment_intent', payment_intent: payment },
  })
  assert.equal(byPayment.data[0]?.invoice, invoice.id)
  const [created, paid] = await setup.waitForEvents('customer.subscription.created', 'invoice.paid')
  assert.equal((created!.data.object as Stripe.Subscription).metadata['pipecore_subscription_id'], 'sub_1')
  assert.equal((paid!.data.object as Stripe.Invoice).billing_reason, 'subscription_create')
  assert.equal((await setup.ledgerOf('sub_1'))?.['charged'], 9_990)
})

test('it renews every time the clock passes the end of a period', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const { id, items } = await subscribe(setup)
  await setup.jump(32)
  const first = await setup.stripe.subscriptions.retrieve(id)
  assert.equal(first.items.data[0]?.current_period_start, items.data[0]?.current_period_end)
  await setup.jump(62)
  assert.deepEqual(await invoicesOf(setup, id), [
    'paid subscription_cycle',
    'paid subscription_cycle',
    'paid subscription_cycle',
    'paid subscription_create',
  ])
  await setup.receiver.waitFor(4, ({ body }) => body.includes('"type": "invoice.paid"'))
  assert.equal((await setup.ledgerOf('sub_1'))?.['charges'], 4)
})

test('a card that fails makes it past due; retries follow, a new card heals it, no card ends it', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const [healed, ended] = [await subscribe(setup), await subscribe(setup)]
  for (const { id } of [healed, ended])
    await setup.act('change_card', { subscription: id, card: 'pm_card_chargeCustomerFail' })
  await setup.jump(32)
  const read = await setup.stripe.subscriptions.retrieve(healed.id, { expand: ['latest_invoice'] })
  const invoice = read.latest_invoice as Stripe.Invoice
  assert.deepEqual([read.status, invoice.status, invoice.attempt_count], ['past_due', 'open', 1])
  assert.equal(typeof invoice.next_payment_attempt, 'number')
  await setup.waitForEvents('invoice.payment_failed', 'customer.subscription.updated')
  await setup.act('change_card', { subscription: healed.id, card: 'pm_card_visa' })
  const unsaved = setup.stripe.subscriptions.update(ended.id, { default_payment_method: 'pm_card_visa' })
  assert.equal((await failureOf(unsaved)).param, 'default_payment_method')
  await setup.jump(4)
  assert.equal((await setup.stripe.subscriptions.retrieve(healed.id)).status, 'active')
  assert.equal((await setup.stripe.subscriptions.retrieve(ended.id)).status, 'past_due')
  await setup.jump(16)
  const over = await setup.stripe.subscriptions.retrieve(ended.id)
  assert.deepEqual([over.status, over.cancellation_details?.reason], ['canceled', 'payment_failed'])
  await setup.waitForEvents('customer.subscription.deleted')
})

test('an account may keep what it could not collect as unpaid', async (t) => {
  const setup = await startPlan(await startStripe(t, { after_retries: 'unpaid' }))
  const { id } = await subscribe(setup)
  await setup.act('change_card', { subscription: id, card: 'pm_card_chargeCustomerFail' })
  await setup.jump(50)
  assert.equal((await setup.stripe.subscriptions.retrieve(id)).status, 'unpaid')
})

test('a first payment that fails leaves it incomplete until it is paid, or 23 hours are over', async (t) => {
  const setup = await startPlan(await startStripe(t), 'pm_card_chargeCustomerFail')
  const { stripe } = setup
  assert.equal(
    (await failureOf(subscribe(setup, { payment_behavior: 'error_if_incomplete' }))).statusCode,
    402,
  )
  assert.equal((await stripe.subscriptions.list({ customer: setup.customer, status: 'all' })).data.length, 0)
  const [paidLater, left] = [await subscribe(setup), await subscribe(setup)]
  assert.equal(paidLater.status, 'incomplete')
  const invoiceId = paidLater.latest_invoice as string
  assert.equal((await setup.pay(invoiceId, 'decline', { reason: 'lost_card' })).state, 'open')
  assert.equal((await setup.pay(invoiceId, 'approve')).state, 'paid')
  assert.equal((await stripe.subscriptions.retrieve(paidLater.id)).status, 'active')
  await setup.jump(1)
  assert.equal((await stripe.subscriptions.retrieve(left.id)).status, 'incomplete_expired')
  assert.equal((await stripe.invoices.retrieve(left.latest_invoice as string)).status, 'void')
})

test('the first payment may be confirmed by the customer’s own browser', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const subscription = await subscribe(setup, {
    payment_behavior: 'default_incomplete',
    payment_settings: { save_default_payment_method: 'on_subscription' },
    expand: ['latest_invoice.confirmation_secret'],
  })
  assert.equal(subscription.status, 'incomplete')
  const secret = (subscription.latest_invoice as Stripe.Invoice).confirmation_secret?.client_secret ?? ''
  const [intentId = ''] = secret.split('_secret')
  await setup.stripe.paymentIntents.confirm(intentId, {
    payment_method: 'pm_card_authenticationRequiredOnSetup',
    return_url: 'https://shop.example/back',
  })
  await setup.pay(intentId, 'approve')
  const read = await setup.stripe.subscriptions.retrieve(subscription.id, {
    expand: ['default_payment_method'],
  })
  const method = read.default_payment_method as Stripe.PaymentMethod
  assert.deepEqual([read.status, method.card?.last4], ['active', '3155'])
  await setup.jump(32)
  assert.deepEqual(await invoicesOf(setup, subscription.id), [
    'paid subscription_cycle',
    'paid subscription_create',
  ])
})

test('a trial costs nothing, says when it is about to end, and is charged then', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const trial = await subscribe(setup, { trial_period_days: 7 })
  assert.equal(trial.status, 'trialing')
  assert.equal(trial.items.data[0]?.current_period_end, trial.trial_end)
  await setup.jump(4.5)
  await setup.waitForEvents('customer.subscription.trial_will_end')
  await setup.jump(3)
  assert.equal((await setup.stripe.subscriptions.retrieve(trial.id)).status, 'active')
  const { data } = await setup.stripe.invoices.list({ subscription: trial.id })
  assert.deepEqual(
    data.map(({ amount_paid: amount, billing_reason: reason }) => [amount, reason]),
    [
      [9_990, 'subscription_cycle'],
      [0, 'subscription_create'],
    ],
  )
})

test('it is canceled at once, or at the end of the period that was paid', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const { stripe } = setup
  const [now, later] = [await subscribe(setup), await subscribe(setup)]
  const canceled = await stripe.subscriptions.cancel(now.id, { prorate: false })
  assert.deepEqual([canceled.status, typeof canceled.ended_at], ['canceled', 'number'])
  assert.equal((await failureOf(stripe.subscriptions.cancel(now.id))).code, 'resource_missing')
  const planned = await stripe.subscriptions.update(later.id, { cancel_at_period_end: true })
  assert.deepEqual([planned.status, planned.cancel_at_period_end, planned.ended_at], ['active', true, null])
  await setup.jump(32)
  assert.equal((await stripe.subscriptions.retrieve(later.id)).status, 'canceled')
  assert.deepEqual(await invoicesOf(setup, later.id), ['paid subscription_create'])
  await setup.receiver.waitFor(2, ({ body }) => body.includes('"type": "customer.subscription.deleted"'))
  assert.equal((await stripe.subscriptions.list({ customer: setup.customer })).data.length, 0)
})

test('a pause stops the charges, a resume brings them back', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const { stripe } = setup
  const [paused, quiet] = [await subscribe(setup), await subscribe(setup)]
  assert.equal((await stripe.subscriptions.pause(paused.id)).status, 'paused')
  const collection = { pause_collection: { behavior: 'void' as const } }
  assert.equal((await stripe.subscriptions.update(quiet.id, collection)).status, 'active')
  await setup.jump(32)
  assert.deepEqual(await invoicesOf(setup, paused.id), ['paid subscription_create'])
  assert.deepEqual(await invoicesOf(setup, quiet.id), ['void subscription_cycle', 'paid subscription_create'])
  assert.equal((await stripe.subscriptions.resume(paused.id)).status, 'active')
  await stripe.subscriptions.update(quiet.id, { pause_collection: '' })
  await setup.jump(32)
  for (const { id } of [paused, quiet])
    assert.match((await invoicesOf(setup, id))[0]!, /^paid subscription_cycle$/)
  await setup.waitForEvents('customer.subscription.paused', 'customer.subscription.resumed')
})

test('a new price counts from the next period; another interval begins one', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const { stripe, price, jump } = setup
  const subscription = await subscribe(setup)
  const { product } = await stripe.prices.retrieve(price)
  const itemId = subscription.items.data[0]!.id
  const dearer = {
    currency: 'clp',
    product: product as string,
    unit_amount: 12_990,
    recurring: { interval: 'month' as const },
  }
  await stripe.subscriptions.update(subscription.id, {
    items: [{ id: itemId, price_data: dearer }],
    proration_behavior: 'none',
  })
  await jump(32)
  const { data } = await stripe.invoices.list({ subscription: subscription.id })
  assert.deepEqual(
    data.map(({ amount_paid: amount }) => amount),
    [12_990, 9_990],
  )
  await stripe.subscriptions.update(subscription.id, {
    items: [{ id: itemId, price_data: { ...dearer, unit_amount: 99_990, recurring: { interval: 'year' } } }],
  })
  assert.match((await invoicesOf(setup, subscription.id))[0]!, /paid subscription_update/)
})

test('a customer subscribes on the page, also where 3-D Secure is asked for', async (t) => {
  const setup = await startPlan(await startStripe(t))
  const { stripe, price, pay, sandbox } = setup
  const create = () =>
    stripe.checkout.sessions.create({
      mode: 'subscription',
      line_items: [{ price, quantity: 1 }],
      success_url: 'https://shop.example/done',
      customer_email: 'ana@example.com',
      subscription_data: { metadata: { pipecore_subscription_id: 'sub_2' } },
    })
  const session = await create()
  assert.equal((await pay(session.id, 'decline')).state, 'open')
  assert.equal((await pay(session.id, 'approve')).state, 'complete')
  const done = await stripe.checkout.sessions.retrieve(session.id, { expand: ['subscription', 'customer'] })
  const subscription = done.subscription as Stripe.Subscription
  assert.deepEqual([subscription.status, done.payment_status], ['active', 'paid'])
  assert.equal((done.customer as Stripe.Customer).email, 'ana@example.com')
  const secure = await create()
  const away = await pay(secure.id, 'approve', { card: '4000002500003155' })
  const intentId = away.next!.url.slice(`${sandbox.url}/stripe/pay/`.length)
  const back = await pay(intentId, 'approve')
  assert.deepEqual([back.state, back.next?.url], ['complete', 'https://shop.example/done'])
  assert.equal((await setup.ledgerOf('sub_2'))?.['charges'], 2)
})
