import assert from 'node:assert/strict'
import { test } from 'node:test'
import type Stripe from 'stripe'
import { failureOf, startStripe } from './stripe-test-account.ts'
import type { TestAccount } from './stripe-test-account.ts'

const order = {
  mode: 'payment',
  line_items: [
    { price_data: { currency: 'clp', unit_amount: 4_500, product_data: { name: 'Pizza' } }, quantity: 2 },
    { price_data: { currency: 'clp', unit_amount: 990, product_data: { name: 'Bebida' } }, quantity: 1 },
  ],
  success_url: 'https://shop.example/done?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/cart',
  client_reference_id: 'order_7',
  metadata: { pipecore_payment_id: 'pay_1' },
  payment_intent_data: { metadata: { pipecore_payment_id: 'pay_1' } },
} satisfies Stripe.Checkout.SessionCreateParams

const open = ({ stripe }: TestAccount, change: Stripe.Checkout.SessionCreateParams = {}) =>
  stripe.checkout.sessions.create({ ...order, ...change })

test('a customer pays on the page and is sent to the shop; the session tells of the payment', async (t) => {
  const account = await startStripe(t)
  const session = await open(account)
  assert.deepEqual(
    [session.status, session.payment_status, session.amount_total, session.payment_intent],
    ['open', 'unpaid', 9_990, null],
  )
  const paid = await account.pay(session.id, 'approve')
  assert.deepEqual(
    [paid.state, paid.next?.url],
    ['complete', `https://shop.example/done?session=${session.id}`],
  )
  const [completed] = await account.waitForEvents('checkout.session.completed', 'payment_intent.succeeded')
  assert.equal((completed!.data.object as Stripe.Checkout.Session).payment_status, 'paid')
  const read = await account.stripe.checkout.sessions.retrieve(session.id, {
    expand: ['payment_intent.latest_charge', 'line_items'],
  })
  const intent = read.payment_intent as Stripe.PaymentIntent
  assert.deepEqual([intent.amount_received, intent.metadata['pipecore_payment_id']], [9_990, 'pay_1'])
  assert.equal((intent.latest_charge as Stripe.Charge).captured, true)
  assert.deepEqual(
    read.line_items?.data.map(({ description }) => description),
    ['Pizza', 'Bebida'],
  )
  const { data } = await account.stripe.checkout.sessions.list({ payment_intent: intent.id })
  assert.equal(data[0]?.id, session.id)
  assert.equal((await account.ledgerOf('pay_1'))?.['charges'], 1)
  assert.deepEqual(await account.pay(session.id, 'approve'), { state: 'complete', next: null })
  assert.equal((await account.ledgerOf('pay_1'))?.['charges'], 1)
})

test('a declined card keeps the customer on the page, where another one does', async (t) => {
  const account = await startStripe(t)
  const session = await open(account)
  assert.deepEqual(await account.pay(session.id, 'decline', { reason: 'insufficient_funds' }), {
    state: 'open',
    next: null,
  })
  const [failed] = await account.waitForEvents('payment_intent.payment_failed')
  const intent = failed!.data.object as Stripe.PaymentIntent
  assert.equal(intent.last_payment_error?.decline_code, 'insufficient_funds')
  assert.equal((await account.pay(session.id, 'approve', { card: '4000000000000069' })).state, 'open')
  assert.equal((await account.pay(session.id, 'approve', { card: '4000001520000001' })).state, 'complete')
  const read = await account.stripe.checkout.sessions.retrieve(session.id)
  assert.equal(read.payment_intent, intent.id)
})

test('3-D Secure happens in between; who fails it is back on the page', async (t) => {
  const account = await startStripe(t)
  const session = await open(account)
  const page = `${account.sandbox.url}/stripe/pay/`
  const first = await account.pay(session.id, 'approve', { card: '4000002500003155' })
  assert.equal(first.state, 'open')
  const intentId = first.next!.url.slice(page.length)
  assert.equal((await account.pay(intentId, 'close_tab')).next, null)
  assert.deepEqual(await account.pay(intentId, 'decline'), {
    state: 'open',
    next: { method: 'GET', url: page + session.id, fields: {} },
  })
  await account.pay(session.id, 'approve', { card: '4000002500003155' })
  const done = await account.pay(intentId, 'approve')
  assert.deepEqual(
    [done.state, done.next?.url],
    ['complete', `https://shop.example/done?session=${session.id}`],
  )
})

test('who gives up goes to the cart; a session ends by itself, by the shop, or when it is left alone', async (t) => {
  const account = await startStripe(t)
  const [given, ended, old] = [await open(account), await open(account), await open(account)]
  assert.deepEqual(await account.pay(given.id, 'abort'), {
    state: 'open',
    next: { method: 'GET', url: 'https://shop.example/cart', fields: {} },
  })
  assert.equal((await account.stripe.checkout.sessions.expire(ended.id)).status, 'expired')
  assert.equal((await failureOf(account.stripe.checkout.sessions.expire(ended.id))).statusCode, 400)
  assert.equal((await account.pay(given.id, 'time_out')).state, 'expired')
  await account.jump(1.1)
  const read = await account.stripe.checkout.sessions.retrieve(old.id)
  assert.deepEqual([read.status, read.url], ['expired', null])
  await account.receiver.waitFor(3, ({ body }) => body.includes('"checkout.session.expired"'))
  const far = Math.floor(Date.now() / 1_000) + 3 * 24 * 60 * 60
  assert.equal((await failureOf(open(account, { expires_at: far + 100_000 }))).param, 'expires_at')
})

test('money may be held on the page and taken later, or arrive days after', async (t) => {
  const account = await startStripe(t)
  const held = await open(account, { payment_intent_data: { capture_method: 'manual' } })
  await account.pay(held.id, 'approve')
  const read = await account.stripe.checkout.sessions.retrieve(held.id)
  assert.deepEqual([read.status, read.payment_status], ['complete', 'unpaid'])
  await account.stripe.paymentIntents.capture(read.payment_intent as string)
  assert.equal((await account.stripe.checkout.sessions.retrieve(held.id)).payment_status, 'paid')
  const slow = await open(account)
  assert.equal((await account.pay(slow.id, 'pending')).state, 'complete')
  assert.equal((await account.stripe.checkout.sessions.retrieve(slow.id)).payment_status, 'unpaid')
  await account.act('settle', { payment: slow.id, status: 'approved' })
  await account.waitForEvents('payment_intent.processing', 'checkout.session.async_payment_succeeded')
  const never = await open(account)
  await account.pay(never.id, 'pending')
  await account.act('settle', { payment: never.id, status: 'rejected' })
  await account.waitForEvents('checkout.session.async_payment_failed')
})

test('a card is saved on the page and charged later without the customer', async (t) => {
  const account = await startStripe(t)
  const { stripe, pay } = account
  const customer = await stripe.customers.create({ email: 'ana@example.com' })
  const session = await stripe.checkout.sessions.create({
    mode: 'setup',
    currency: 'clp',
    customer: customer.id,
    success_url: 'https://shop.example/saved',
    setup_intent_data: { metadata: { pipecore_method_id: 'mth_1' } },
  })
  const page = `${account.sandbox.url}/stripe/pay/`
  assert.equal((await pay(session.id, 'decline', { reason: 'lost_card' })).state, 'open')
  const [failed] = await account.waitForEvents('setup_intent.setup_failed')
  assert.equal((failed!.data.object as Stripe.SetupIntent).last_setup_error?.decline_code, 'lost_card')
  const away = await pay(session.id, 'approve', { card: '4000002500003155' })
  const back = await pay(away.next!.url.slice(page.length), 'approve')
  assert.deepEqual([back.state, back.next?.url], ['complete', 'https://shop.example/saved'])
  const [saved] = await account.waitForEvents('setup_intent.succeeded')
  const setup = saved!.data.object as Stripe.SetupIntent
  assert.equal(setup.metadata?.['pipecore_method_id'], 'mth_1')
  const { data } = await stripe.customers.listPaymentMethods(customer.id)
  assert.deepEqual([data.length, data[0]?.id], [1, setup.payment_method])
  const charge = {
    amount: 12_990,
    currency: 'clp',
    customer: customer.id,
    payment_method: data[0]!.id,
    confirm: true,
    off_session: true,
    automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  } as const
  assert.equal((await stripe.paymentIntents.create(charge)).status, 'succeeded')
  await stripe.paymentMethods.detach(data[0]!.id)
  assert.equal((await failureOf(stripe.paymentIntents.create(charge))).statusCode, 400)
})

test('a saved card belongs to its customer; one used without a customer is spent', async (t) => {
  const { stripe } = await startStripe(t)
  const never = { automatic_payment_methods: { enabled: true, allow_redirects: 'never' } } as const
  const charge = { ...never, amount: 12_990, currency: 'clp', confirm: true }
  const [ana, luis] = [await stripe.customers.create(), await stripe.customers.create()]
  const method = await stripe.paymentMethods.attach('pm_card_mastercard', { customer: ana.id })
  const alone = await failureOf(stripe.paymentIntents.create({ ...charge, payment_method: method.id }))
  assert.equal(alone.param, 'customer')
  const other = { ...charge, payment_method: method.id, customer: luis.id }
  assert.equal((await failureOf(stripe.paymentIntents.create(other))).code, 'resource_missing')
  assert.equal(
    (await failureOf(stripe.paymentMethods.attach('pm_card_chargeDeclined', { customer: ana.id })))
      .statusCode,
    402,
  )
  const broke = await stripe.paymentMethods.attach('pm_card_chargeCustomerFail', { customer: ana.id })
  const failing = { ...charge, payment_method: broke.id, customer: ana.id }
  assert.equal((await failureOf(stripe.paymentIntents.create(failing))).code, 'card_declined')
  const token = await stripe.paymentMethods.create({ type: 'card', card: { token: 'tok_visa' } })
  assert.equal(
    (await stripe.paymentIntents.create({ ...charge, payment_method: token.id })).status,
    'succeeded',
  )
  assert.equal(
    (await failureOf(stripe.paymentIntents.create({ ...charge, payment_method: token.id }))).statusCode,
    400,
  )
})

test('a setup intent saves a card by a redirect of its own, or says why it can’t', async (t) => {
  const account = await startStripe(t)
  const { stripe } = account
  const { id: customer } = await stripe.customers.create()
  const setup = await stripe.setupIntents.create({
    customer,
    payment_method: 'pm_card_authenticationRequired',
    confirm: true,
    return_url: 'https://shop.example/cards',
  })
  assert.equal(setup.status, 'requires_action')
  const back = await account.pay(setup.id, 'approve')
  assert.deepEqual(back.next?.fields, {
    setup_intent: setup.id,
    setup_intent_client_secret: setup.client_secret,
    redirect_status: 'succeeded',
  })
  assert.equal((await stripe.setupIntents.retrieve(setup.id)).status, 'succeeded')
  const bad = { customer, payment_method: 'pm_card_chargeDeclined', confirm: true }
  const failure = await failureOf(stripe.setupIntents.create(bad))
  assert.deepEqual([failure.statusCode, failure.code], [402, 'card_declined'])
  await account.waitForEvents('setup_intent.setup_failed')
})

test('the page works in a browser without script: it shows the order, posts a choice, and goes on', async (t) => {
  const account = await startStripe(t, { title: 'TableFlow <Pizza>' })
  const session = await open(account)
  const shown = await (await fetch(session.url!)).text()
  for (const text of [
    'Pizza',
    '$9.990',
    'pay_1',
    'TableFlow &lt;Pizza&gt;',
    '4000000000009995',
    'insufficient_funds',
  ])
    assert.ok(shown.includes(text), text)
  const post = (fields: Record<string, string>) =>
    fetch(session.url ?? '', { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' })
  const declined = await post({ choice: 'approve', card: '4000000000000002', reason: 'lost_card' })
  assert.equal(declined.status, 200)
  assert.match(await declined.text(), /rechazada/)
  const { pages } = (await account.sandbox.control('GET', '/pay')) as {
    pages: Array<Record<string, unknown>>
  }
  assert.deepEqual(
    pages.map(({ path, amount, reference }) => [path, amount, reference]),
    [[`/stripe/pay/${session.id}`, 9_990, 'pay_1']],
  )
  const paid = await post({ choice: 'approve', card: '4242424242424242' })
  assert.deepEqual(
    [paid.status, paid.headers.get('location')],
    [303, `https://shop.example/done?session=${session.id}`],
  )
  assert.match(
    await (await fetch(`${account.sandbox.url}/stripe/pay/${session.id}`)).text(),
    /ya no acepta pagos/,
  )
  assert.equal((await fetch(`${account.sandbox.url}/stripe/pay/cs_test_none`)).status, 404)
})
