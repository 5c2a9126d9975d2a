import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { SubscriptionChange, SubscriptionSnapshot } from './provider.ts'
import { stripe } from './stripe.ts'
import {
  type Answer,
  createError,
  createIntent,
  createInvoice,
  createSubscription,
} from './testing/stripe.ts'
import {
  createSubscriptionCommand,
  createSubscriptionRef,
  expectDone,
  expectNotDone,
} from './testing/stripe.ts'
import { key, listOf, returnUrl, savedMethod, startDesk, subscriptionId } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context
const subscriptions = requireSubscriptions()

type Fields = Record<string, unknown>

function requireSubscriptions() {
  assert.ok(stripe.subscriptions)
  return stripe.subscriptions
}

const metadata = { plan: 'pro', pipecore_subscription_id: subscriptionId }
const recurring = { interval: 'month' as const, interval_count: 1 }
const page = {
  id: 'cs_test_5',
  mode: 'subscription',
  status: 'open',
  url: 'https://checkout.stripe.com/c/pay/cs_test_5',
  subscription: null,
}
const readOnly = { 'GET /v1/subscriptions/sub_1': createSubscription(), 'GET /v1/invoices': listOf([]) }
const everything = {
  ...readOnly,
  'GET /v1/customers': listOf([]),
  'POST /v1/customers': { id: 'cus_1' },
  'POST /v1/payment_methods/pm_card_visa/attach': { id: 'pm_new' },
  'POST /v1/products': { id: 'prod_1' },
  'POST /v1/prices': { id: 'price_2' },
  'POST /v1/subscriptions': createSubscription(),
  'POST /v1/subscriptions/sub_1': createSubscription(),
  'DELETE /v1/subscriptions/sub_1': createSubscription({ status: 'canceled' }),
  'POST /v1/checkout/sessions': page,
}

describe('calls go out as the SDK sends them', () => {
  const sdk = () => desk.sdk()

  test('a subscription with a saved method: product, price, subscription', async () => {
    desk.answers(everything)
    const trialEnd = new Date('2026-12-22T12:00:00Z')
    await subscriptions.create(createSubscriptionCommand({ trialEnd }), context())
    const mine = desk.taken()
    await sdk().products.create({ name: 'Plan mensual' }, { idempotencyKey: 'key_1-product' })
    await sdk().prices.create(
      { currency: 'usd', unit_amount: 2_000, recurring, product: 'prod_1' },
      { idempotencyKey: 'key_1-price' },
    )
    await sdk().subscriptions.create(
      {
        customer: 'cus_1',
        default_payment_method: 'pm_1',
        items: [{ price: 'price_2' }],
        payment_behavior: 'allow_incomplete',
        description: 'Plan mensual',
        metadata,
        trial_end: trialEnd.getTime() / 1000,
      },
      { idempotencyKey: key },
    )
    await sdk().invoices.list({ subscription: 'sub_1', expand: ['data.payments'], limit: 100 })
    assert.deepEqual(mine, desk.taken())
  })

  test('a token is attached to its customer first', async () => {
    desk.answers(everything)
    const method = { kind: 'token', token: 'pm_card_visa' } as const
    await subscriptions.create(createSubscriptionCommand({ method }), context())
    const mine = desk.taken()
    await sdk().customers.list({ email: 'ana@example.com', limit: 100 })
    await sdk().customers.create(
      { email: 'ana@example.com', metadata: { pipecore_customer: 'customer_1' } },
      { idempotencyKey: 'key_1-customer' },
    )
    await sdk().paymentMethods.attach(
      'pm_card_visa',
      { customer: 'cus_1' },
      { idempotencyKey: 'key_1-attach' },
    )
    assert.deepEqual(mine.slice(0, 3), desk.taken())
    const made = mine.find(({ call }) => call === 'POST /v1/subscriptions')
    assert.deepEqual(made?.fields.slice(0, 2), [
      ['customer', 'cus_1'],
      ['default_payment_method', 'pm_new'],
    ])
  })

  test('without a method the customer subscribes on a page', async () => {
    desk.answers(everything)
    const made = await subscriptions.create(createSubscriptionCommand({ method: undefined }), context())
    const mine = desk.taken()
    const price_data = {
      currency: 'usd',
      unit_amount: 2_000,
      recurring,
      product_data: { name: 'Plan mensual' },
    }
    await sdk().checkout.sessions.create(
      {
        mode: 'subscription',
        line_items: [{ quantity: 1, price_data }],
        success_url: returnUrl,
        cancel_url: `${returnUrl}?pipecore_canceled=1`,
        client_reference_id: subscriptionId,
        customer_email: 'ana@example.com',
        subscription_data: { metadata },
        metadata: { pipecore_subscription_id: subscriptionId },
      },
      { idempotencyKey: key },
    )
    assert.deepEqual(mine, desk.taken())
    assert.deepEqual(expectDone(made).snapshot, {
      providerSubscriptionId: 'cs_test_5',
      status: 'pending',
      action: { kind: 'redirect', method: 'GET', url: page.url, fields: {} },
      charges: [],
    })
  })

  const changes: Array<[name: string, change: Omit<SubscriptionChange, 'key'>, expected: Fields]> = [
    ['paused', { paused: true }, { pause_collection: { behavior: 'void' } }],
    ['resumed', { paused: false }, { pause_collection: '' }],
    ['ending', { cancelAtPeriodEnd: true }, { cancel_at_period_end: true }],
    ['not ending', { cancelAtPeriodEnd: false }, { cancel_at_period_end: false }],
    ['with another method', { method: savedMethod }, { default_payment_method: 'pm_1' }],
    [
      'for another amount, from the next period on',
      { amount: 2_500 },
      { items: [{ id: 'si_1', price: 'price_2' }], proration_behavior: 'none' },
    ],
    [
      'with a new token',
      { method: { kind: 'token', token: 'pm_card_visa' } },
      { default_payment_method: 'pm_new' },
    ],
  ]
  for (const [name, change, expected] of changes) {
    test(`changed: ${name}`, async () => {
      desk.answers(everything)
      expectDone(await subscriptions.update(createSubscriptionRef(), { key, ...change }, context()))
      const mine = desk.taken().find(({ call }) => call === 'POST /v1/subscriptions/sub_1')
      await sdk().subscriptions.update('sub_1', expected, { idempotencyKey: key })
      assert.deepEqual(mine, desk.taken()[0])
    })
  }

  test('another amount is another price of the same product and rhythm', async () => {
    desk.answers(everything)
    await subscriptions.update(createSubscriptionRef(), { key, amount: 2_500 }, context())
    const mine = desk.taken().find(({ call }) => call === 'POST /v1/prices')
    await sdk().prices.create(
      { product: 'prod_1', currency: 'usd', unit_amount: 2_500, recurring },
      { idempotencyKey: 'key_1-price' },
    )
    assert.deepEqual(mine, desk.taken()[0])
  })

  test('canceled at once', async () => {
    desk.answers(everything)
    const { snapshot } = expectDone(await subscriptions.cancel(createSubscriptionRef(), key, context()))
    assert.equal(snapshot.status, 'canceled')
    const mine = desk.taken().find(({ call }) => call.startsWith('DELETE'))
    await sdk().subscriptions.cancel('sub_1')
    assert.deepEqual(mine, desk.taken()[0])
  })
})

async function read(
  subscription: Fields,
  invoices: Fields[] = [],
  intent?: Fields,
): Promise<SubscriptionSnapshot> {
  desk.answers({
    'GET /v1/subscriptions/sub_1': createSubscription(subscription),
    'GET /v1/invoices': listOf(invoices),
    ...(intent && { 'GET /v1/payment_intents/pi_9': createIntent({ id: 'pi_9', ...intent }) }),
  })
  const { snapshot } = expectDone(await subscriptions.read(createSubscriptionRef(), context()))
  assert.ok(snapshot)
  return snapshot
}

const declined = { type: 'card_error', code: 'card_declined', decline_code: 'insufficient_funds' }
const insufficient = { code: 'insufficient_funds', providerCode: 'insufficient_funds', retry: 'same' }
const open = { status: 'open', amount_paid: 0 }

describe('a subscription as Stripe has it', () => {
  const rows: Array<[fields: Fields, status: string]> = [
    [{ status: 'incomplete' }, 'pending'],
    [{ status: 'incomplete_expired' }, 'expired'],
    [{ status: 'trialing' }, 'trialing'],
    [{ status: 'active' }, 'active'],
    [{ status: 'past_due' }, 'past_due'],
    [{ status: 'unpaid' }, 'past_due'],
    [{ status: 'paused' }, 'paused'],
    [{ status: 'canceled' }, 'canceled'],
    [{ status: 'dreaming' }, 'unknown'],
    [{ status: 'active', pause_collection: { behavior: 'void' } }, 'paused'],
    [{ status: 'canceled', pause_collection: { behavior: 'void' } }, 'canceled'],
  ]
  for (const [fields, status] of rows) {
    test(`${JSON.stringify(fields)} is ${status}`, async () => {
      assert.equal((await read(fields)).status, status)
    })
  }

  test('amount, periods and ends are told', async () => {
    const { charges: _charges, ...snapshot } = await read({
      trial_end: 1_795_100_000,
      cancel_at_period_end: true,
    })
    assert.deepEqual(snapshot, {
      providerSubscriptionId: 'sub_1',
      status: 'active',
      amount: 2_000,
      currency: 'USD',
      currentPeriodStart: new Date(1_795_000_000_000),
      currentPeriodEnd: new Date(1_797_592_000_000),
      cancelAtPeriodEnd: true,
      trialEnd: new Date(1_795_100_000_000),
    })
  })

  test('who has to pay is sent to the invoice, and told why', async () => {
    for (const status of ['incomplete', 'past_due']) {
      const { action, failure } = await read({ status }, [createInvoice(open)], {
        last_payment_error: declined,
      })
      assert.equal(action?.url, 'https://invoice.stripe.com/i/1')
      assert.deepEqual(failure, insufficient)
    }
    const { action, failure } = await read({}, [createInvoice()])
    assert.deepEqual([action, failure], [undefined, undefined])
  })
})

describe('charges', () => {
  test('oldest first, with the period that is paid for, not the one before', async () => {
    const first = createInvoice({ id: 'in_0', billing_reason: 'subscription_create' })
    const { charges } = await read({}, [createInvoice(), first])
    const charge = {
      status: 'paid',
      amount: 2_000,
      currency: 'USD',
      periodStart: new Date(1_795_000_000_000),
      periodEnd: new Date(1_797_592_000_000),
      providerPaymentId: 'pi_9',
      attempt: 1,
    }
    assert.deepEqual(charges, [
      { ...charge, providerChargeId: 'in_0', isFirst: true },
      { ...charge, providerChargeId: 'in_1', isFirst: false },
    ])
    assert.equal(desk.taken().length, 2)
  })

  const again = { ...open, next_payment_attempt: 1_795_200_000 }
  const rows: Array<[name: string, invoice: Fields, intent: Fields | undefined, status: string | undefined]> =
    [
      ['drawn up', { ...open, status: 'draft', attempt_count: 0 }, undefined, 'scheduled'],
      ['not tried yet', { ...open, attempt_count: 0 }, undefined, 'scheduled'],
      ['waiting for the customer', open, { status: 'requires_action' }, 'scheduled'],
      ['waiting for the bank', open, { status: 'processing' }, 'scheduled'],
      ['to be tried again', again, { last_payment_error: declined }, 'retrying'],
      ['given up', open, { last_payment_error: declined }, 'failed'],
      ['written off', { status: 'uncollectible', amount_paid: 0 }, undefined, 'failed'],
      ['voided after it was tried', { status: 'void', amount_paid: 0 }, undefined, 'failed'],
      ['voided in a pause', { status: 'void', amount_paid: 0, attempt_count: 0 }, undefined, undefined],
      ['free, as in a trial', { amount_due: 0, amount_paid: 0 }, undefined, undefined],
      ['for a change in between', { billing_reason: 'subscription_update' }, undefined, undefined],
      ['in a word of the future', { status: 'dreaming' }, undefined, undefined],
    ]
  for (const [name, invoice, intent, status] of rows) {
    test(`${name}: ${status ?? 'no charge'}`, async () => {
      const { charges } = await read({}, [createInvoice(invoice)], intent)
      assert.deepEqual(
        charges.map((charge) => charge.status),
        status === undefined ? [] : [status],
      )
      const failure = intent?.last_payment_error ? insufficient : undefined
      assert.deepEqual(charges[0]?.failure, status === undefined ? undefined : failure)
    })
  }

  test('of several attempts to pay the one that did it is named', async () => {
    const attempt = (id: string, status: string) => ({ status, payment: { payment_intent: id } })
    const payments = listOf([attempt('pi_3', 'open'), attempt('pi_2', 'paid'), attempt('pi_1', 'canceled')])
    const { charges } = await read({}, [createInvoice({ payments })])
    assert.equal(charges[0]?.providerPaymentId, 'pi_2')
  })

  test('an attempt that can not be seen is no failure', async () => {
    desk.answers({
      ...readOnly,
      'GET /v1/invoices': listOf([createInvoice(open)]),
      'GET /v1/payment_intents/pi_9': [{ status: 503, body: {} }],
    })
    const look = await subscriptions.read(createSubscriptionRef(), context())
    assert.equal(expectNotDone(look).outcome, 'unknown')
  })

  test('when they can not be read nothing is told, but what was just done stays done', async () => {
    const plan = { ...everything, 'GET /v1/invoices': [{ status: 500, body: {} }] satisfies Answer[] }
    desk.answers(plan)
    const look = await subscriptions.read(createSubscriptionRef(), context())
    assert.equal(expectNotDone(look).outcome, 'unknown')
    desk.answers(plan)
    const made = expectDone(await subscriptions.create(createSubscriptionCommand(), context()))
    assert.deepEqual([made.snapshot.providerSubscriptionId, made.snapshot.charges], ['sub_1', []])
  })
})

describe('it is found', () => {
  const lost = createSubscriptionRef({ providerSubscriptionId: undefined })

  test('by our own id', async () => {
    const other = createSubscription({ id: 'sub_2', metadata: {} })
    desk.answers({ ...readOnly, 'GET /v1/subscriptions': listOf([other, createSubscription()]) })
    const { snapshot } = expectDone(await subscriptions.read(lost, context()))
    assert.equal(snapshot?.providerSubscriptionId, 'sub_1')
    assert.deepEqual(desk.taken()[0]?.fields.at(-1), ['status', 'all'])
  })

  test('or certainly is not there', async () => {
    desk.answers({ 'GET /v1/subscriptions': listOf([]) })
    assert.deepEqual(await subscriptions.read(lost, context()), { outcome: 'done', snapshot: undefined })
    desk.answers({})
    const gone = await subscriptions.read(createSubscriptionRef(), context())
    assert.deepEqual(gone, { outcome: 'done', snapshot: undefined })
  })

  const paged = createSubscriptionRef({ providerSubscriptionId: 'cs_test_5' })

  test('by its page, once the customer has subscribed', async () => {
    desk.answers({
      ...readOnly,
      'GET /v1/checkout/sessions/cs_test_5': {
        ...page,
        status: 'complete',
        subscription: createSubscription(),
      },
    })
    const { snapshot } = expectDone(await subscriptions.read(paged, context()))
    assert.deepEqual([snapshot?.providerSubscriptionId, snapshot?.status], ['sub_1', 'active'])
    assert.deepEqual(desk.taken()[0]?.fields, [['expand[0]', 'subscription']])
  })

  test('as a page that is open or over, before', async () => {
    const states: Array<[fields: Fields, status: string]> = [
      [{}, 'pending'],
      [{ status: 'complete' }, 'pending'],
      [{ status: 'expired', url: null }, 'expired'],
    ]
    for (const [fields, status] of states) {
      desk.answers({ 'GET /v1/checkout/sessions/cs_test_5': { ...page, ...fields } })
      const { snapshot } = expectDone(await subscriptions.read(paged, context()))
      assert.equal(snapshot?.status, status)
    }
  })

  test('a page is closed by a cancel, and has nothing to change', async () => {
    desk.answers({
      'GET /v1/checkout/sessions/cs_test_5': page,
      'POST /v1/checkout/sessions/cs_test_5/expire': { ...page, status: 'expired', url: null },
    })
    const { snapshot } = expectDone(await subscriptions.cancel(paged, key, context()))
    assert.equal(snapshot.status, 'canceled')
    const changed = await subscriptions.update(paged, { key, paused: true }, context())
    assert.equal(expectNotDone(changed).kind, 'state')
  })
})

describe('what can not be', () => {
  test('a method of another customer is refused in words, before anything is changed', async () => {
    desk.answers({ ...everything, 'GET /v1/subscriptions/sub_1': createSubscription({ customer: 'cus_9' }) })
    const change = { key, method: savedMethod, amount: 2_500 }
    const { outcome, message } = expectNotDone(
      await subscriptions.update(createSubscriptionRef(), change, context()),
    )
    assert.equal(outcome, 'refused')
    assert.match(message, /for another customer/)
    assert.deepEqual(
      desk.taken().map(({ call }) => call),
      ['GET /v1/subscriptions/sub_1'],
    )
  })

  test('a card that is declined when it is attached makes no subscription', async () => {
    const body = createError({ type: 'card_error', code: 'card_declined', decline_code: 'do_not_honor' })
    desk.answers({ ...everything, 'POST /v1/payment_methods/pm_card_visa/attach': [{ status: 402, body }] })
    const method = { kind: 'token', token: 'pm_card_visa' } as const
    const { outcome, code } = expectNotDone(
      await subscriptions.create(createSubscriptionCommand({ method }), context()),
    )
    assert.deepEqual([outcome, code], ['refused', 'do_not_honor'])
    assert.ok(desk.taken().every(({ call }) => call !== 'POST /v1/subscriptions'))
  })

  test('a cancel whose answer was lost is repeated without harm', async () => {
    desk.answers({ ...everything, 'GET /v1/subscriptions/sub_1': createSubscription({ status: 'canceled' }) })
    const { snapshot } = expectDone(await subscriptions.cancel(createSubscriptionRef(), key, context()))
    assert.equal(snapshot.status, 'canceled')
    assert.ok(desk.taken().every(({ call }) => !call.startsWith('DELETE')))
    const body = createError({ code: 'resource_missing', message: 'No such subscription' })
    desk.answers({ ...everything, 'DELETE /v1/subscriptions/sub_1': [{ status: 404, body }] })
    const { kind } = expectNotDone(await subscriptions.cancel(createSubscriptionRef(), key, context()))
    assert.equal(kind, 'state')
  })
})
