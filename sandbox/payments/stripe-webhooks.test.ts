import assert from 'node:assert/strict'
import { test } from 'node:test'
import Stripe from 'stripe'
import { connectStripe, KEY, SECRET, startStripe } from './stripe-test-account.ts'

const paid = {
  amount: 12_990,
  automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
  confirm: true,
  currency: 'clp',
  payment_method: 'pm_card_visa',
} as const

test('webhooks of a call come twice, in reverse, before the answer or never', async (t) => {
  const account = await startStripe(t, { enabled_events: ['charge.succeeded', 'payment_intent.succeeded'] })
  const { receiver, sandbox, stripe } = account
  const charge = () => stripe.paymentIntents.create(paid)
  const play = async (fault: string) => {
    receiver.received.length = 0
    await sandbox.control('POST', '/payment-faults', {
      provider: 'stripe',
      fault,
      operation: 'create',
      times: 1,
    })
    await charge()
  }
  const forward = ['charge.succeeded', 'payment_intent.succeeded']
  await play('webhook_duplicate')
  await receiver.waitFor(4)
  assert.deepEqual(account.typesSoFar().toSorted(), [...forward, ...forward].toSorted())
  await play('webhook_reordered')
  await receiver.waitFor(2)
  assert.deepEqual(account.typesSoFar(), forward.toReversed())
  await play('webhook_early')
  assert.ok(account.typesSoFar().includes('charge.succeeded'))
  await receiver.waitFor(2)
  await play('webhook_dropped')
  await charge()
  await receiver.waitFor(2)
  assert.deepEqual(account.typesSoFar(), forward)
  const events = await stripe.events.list({ types: ['payment_intent.succeeded'] })
  assert.equal(events.data.length, 5)
})

test('while a secret is rolled both sign; an endpoint made by the API has its own', async (t) => {
  const account = await startStripe(t, { rotate_secret: true })
  const { receiver, sandbox, stripe, waitForEvents } = account
  const own = await stripe.webhookEndpoints.create({
    url: `${receiver.url}/own`,
    enabled_events: ['customer.created'],
  })
  assert.match(own.secret ?? '', /^whsec_/)
  assert.equal((await stripe.webhookEndpoints.retrieve(own.id)).secret, undefined)
  await stripe.paymentIntents.create(paid)
  await waitForEvents('payment_intent.succeeded')
  const signature = receiver.received[0]!.headers['stripe-signature'] ?? ''
  assert.equal(signature.match(/v1=/g)?.length, 2)
  const { accounts } = (await sandbox.control('GET', '/accounts')) as {
    accounts: Array<Record<string, unknown>>
  }
  const shown = accounts.find(({ provider }) => provider === 'stripe')!
  assert.notEqual(shown['webhook_secret'], SECRET)
  await stripe.customers.create({ email: 'ana@example.com' })
  const [received] = await receiver.waitFor(1, ({ url }) => url.endsWith('/own'))
  const header = received!.headers['stripe-signature'] ?? ''
  assert.equal(Stripe.webhooks.constructEvent(received!.body, header, own.secret!).type, 'customer.created')
})

test('what a fault does to webhooks, it also does to those of the page that the call made', async (t) => {
  const account = await startStripe(t)
  const { sandbox, stripe, receiver } = account
  const rule = { provider: 'stripe', fault: 'webhook_duplicate', operation: 'checkout', times: 1 }
  await sandbox.control('POST', '/payment-faults', rule)
  const price_data = { currency: 'clp', unit_amount: 9_990, product_data: { name: 'Pizza' } }
  const session = await stripe.checkout.sessions.create({
    mode: 'payment',
    line_items: [{ price_data, quantity: 1 }],
    success_url: 'https://shop.example/done',
  })
  await account.pay(session.id, 'approve')
  const twice = await receiver.waitFor(2, ({ body }) => body.includes('"type": "checkout.session.completed"'))
  const ids = twice.map(({ body }) => (JSON.parse(body.toString()) as Stripe.Event).id)
  assert.equal(ids[0], ids[1])
})

test('a webhook that is not taken comes again under its id', async (t) => {
  const account = await startStripe(t, { enabled_events: ['payment_intent.succeeded'] })
  const { receiver, sandbox } = account
  await sandbox.control('PATCH', '/settings', { retry_factor: 100 })
  receiver.answerWith(() => ({ status: receiver.received.length > 1 ? 200 : 500 }))
  await account.stripe.paymentIntents.create(paid)
  const tries = await receiver.waitFor(2)
  const ids = tries.map(({ body }) => (JSON.parse(body.toString()) as Stripe.Event).id)
  assert.equal(ids[0], ids[1])
})

test('a platform acts for a connected account, whose events say whose they are', async (t) => {
  const { sandbox, stripe, receiver } = await startStripe(t, { enabled_events: ['customer.created'] })
  const connected = connectStripe(sandbox, KEY, { stripeAccount: 'acct_1connected' })
  assert.equal((await connected.accounts.retrieveCurrent()).id, 'acct_1connected')
  const { id } = await connected.customers.create({ email: 'ana@example.com' })
  await assert.rejects(stripe.customers.retrieve(id), { code: 'resource_missing' })
  const [received] = await receiver.waitFor(1)
  const event = JSON.parse(received!.body.toString()) as { account?: string }
  assert.equal(event.account, 'acct_1connected')
})
