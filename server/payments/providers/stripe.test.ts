import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type Stripe from 'stripe'
import { createId } from '#core/ids.ts'
import { stripe } from './stripe.ts'
import { checkoutRef, createCheckoutCommand, createIntent, createMethodCommand } from './testing/stripe.ts'
import {
  createPaymentCommand,
  createRef,
  createRefund,
  createSession,
  key,
  listOf,
} from './testing/stripe.ts'
import {
  expectDone,
  expectNotDone,
  now,
  paymentId,
  returnUrl,
  savedMethod,
  startDesk,
} from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context
const metadata = { order: '42', pipecore_payment_id: paymentId }
const whole = ['latest_charge', 'latest_charge.refunds']
const setup = { id: 'seti_1', status: 'succeeded', customer: 'cus_1', payment_method: 'pm_1', metadata: {} }

const everything = {
  'POST /v1/payment_intents': createIntent(),
  'GET /v1/payment_intents/pi_1': createIntent(),
  'POST /v1/payment_intents/pi_1/capture': createIntent(),
  'POST /v1/payment_intents/pi_1/cancel': createIntent({ status: 'canceled', amount_received: 0 }),
  'POST /v1/refunds': createRefund(),
  'POST /v1/checkout/sessions': createSession(),
  'GET /v1/checkout/sessions/cs_test_1': createSession(),
  'POST /v1/checkout/sessions/cs_test_1/expire': createSession({ status: 'expired' }),
  'POST /v1/customers': { id: 'cus_1' },
  'GET /v1/customers': listOf([]),
  'POST /v1/setup_intents': setup,
  'POST /v1/payment_methods/pm_1/detach': { id: 'pm_1' },
}

type Referee = (sdk: Stripe, options: Stripe.RequestOptions) => Promise<unknown>

const payment = {
  amount: 12_990,
  currency: 'clp',
  payment_method: 'pm_card_visa',
  confirm: true,
  automatic_payment_methods: { enabled: true, allow_redirects: 'always' as const },
  return_url: returnUrl,
  capture_method: 'automatic' as const,
  description: 'Pedido 42',
  metadata,
  expand: ['latest_charge'],
}

const checkout = {
  mode: 'payment' as const,
  line_items: [
    {
      quantity: 2,
      price_data: { currency: 'clp', unit_amount: 6_000, product_data: { name: 'Almuerzo' } },
    },
    { quantity: 1, price_data: { currency: 'clp', unit_amount: 990, product_data: { name: 'Propina' } } },
  ],
  success_url: `${returnUrl}?session_id={CHECKOUT_SESSION_ID}`,
  cancel_url: `${returnUrl}?pipecore_canceled=1`,
  client_reference_id: paymentId,
  customer_email: 'ana@example.com',
  payment_intent_data: { capture_method: 'automatic' as const, description: 'Pedido 42', metadata },
  metadata,
}

describe('every call goes out as the SDK sends it', () => {
  const verbs: Array<[verb: string, ours: () => unknown, theirs: Referee]> = [
    [
      'createPayment',
      () => stripe.createPayment?.(createPaymentCommand(), context()),
      (sdk, options) => sdk.paymentIntents.create(payment, options),
    ],
    [
      'createPayment with a saved method, held',
      () =>
        stripe.createPayment?.(createPaymentCommand({ method: savedMethod, capture: 'manual' }), context()),
      (sdk, options) =>
        sdk.paymentIntents.create(
          { ...payment, customer: 'cus_1', payment_method: 'pm_1', capture_method: 'manual' },
          options,
        ),
    ],
    [
      'createPayment without the customer',
      () =>
        stripe.createPayment?.(createPaymentCommand({ method: savedMethod, offSession: true }), context()),
      (sdk, options) => {
        const { return_url: _unused, ...rest } = payment
        const automatic = { enabled: true, allow_redirects: 'never' as const }
        const absent = { off_session: true, automatic_payment_methods: automatic }
        const saved = { customer: 'cus_1', payment_method: 'pm_1' }
        return sdk.paymentIntents.create({ ...rest, ...absent, ...saved }, options)
      },
    ],
    [
      'createCheckout',
      () => stripe.createCheckout(createCheckoutCommand(), context()),
      (sdk, options) => sdk.checkout.sessions.create(checkout, options),
    ],
    [
      'read',
      () => stripe.read(createRef(), context()),
      (sdk, { stripeAccount }) => sdk.paymentIntents.retrieve('pi_1', { expand: whole }, { stripeAccount }),
    ],
    [
      'read of a page',
      () => stripe.read(checkoutRef(), context()),
      (sdk, { stripeAccount }) => {
        const expand = whole.map((name) => `payment_intent.${name}`)
        return sdk.checkout.sessions.retrieve('cs_test_1', { expand }, { stripeAccount })
      },
    ],
    [
      'capture',
      () => stripe.capture?.(createRef(), 5_000, key, context()),
      (sdk, options) =>
        sdk.paymentIntents.capture('pi_1', { amount_to_capture: 5_000, expand: ['latest_charge'] }, options),
    ],
    [
      'cancel',
      () => stripe.cancel?.(createRef(), key, context()),
      (sdk, options) => sdk.paymentIntents.cancel('pi_1', {}, options),
    ],
    [
      'refund',
      () => stripe.refund(createRef(), { refundId: 'rfd_1', amount: 1_000, isFull: false, key }, context()),
      (sdk, options) =>
        sdk.refunds.create(
          { payment_intent: 'pi_1', amount: 1_000, metadata: { pipecore_refund_id: 'rfd_1' } },
          options,
        ),
    ],
    [
      'removeMethod',
      () => stripe.removeMethod?.(savedMethod.token, { methodId: 'pmt_1', customer: {} }, context()),
      (sdk, options) => sdk.paymentMethods.detach('pm_1', {}, { ...options, idempotencyKey: 'pmt_1-detach' }),
    ],
  ]
  for (const [verb, ours, theirs] of verbs) {
    test(verb, async () => {
      desk.answers(everything)
      await ours()
      const [mine, ...more] = desk.taken()
      await theirs(desk.sdk(), { idempotencyKey: key })
      assert.deepEqual(mine, desk.taken()[0])
      assert.deepEqual(more, [])
    })
  }

  test('for a connected account', async () => {
    desk.answers(everything)
    await stripe.createPayment?.(createPaymentCommand(), context({ account: 'acct_123' }))
    const [mine] = desk.taken()
    await desk.sdk().paymentIntents.create(payment, { idempotencyKey: key, stripeAccount: 'acct_123' })
    assert.deepEqual(mine, desk.taken()[0])
    assert.equal(mine?.headers['stripe-account'], 'acct_123')
  })

  test('a page is closed after a look at it', async () => {
    desk.answers(everything)
    const { snapshot } = expectDone(await stripe.cancel?.(checkoutRef(), key, context()))
    assert.equal(snapshot.status, 'canceled')
    const [, mine] = desk.taken()
    await desk.sdk().checkout.sessions.expire('cs_test_1', {}, { idempotencyKey: key })
    assert.deepEqual(mine, desk.taken()[0])
  })

  test('a token is tried and kept for its customer', async () => {
    desk.answers(everything)
    await stripe.saveMethod?.(createMethodCommand({ token: 'pm_card_visa' }), context())
    const mine = desk.taken()
    const sdk = desk.sdk()
    await sdk.customers.list({ email: 'ana@example.com', limit: 100 })
    const person = { email: 'ana@example.com', name: 'Ana', phone: '+56911112222' }
    await sdk.customers.create(
      { ...person, metadata: { pipecore_customer: 'customer_1' } },
      { idempotencyKey: 'pmt_1-customer' },
    )
    await sdk.setupIntents.create(
      {
        customer: 'cus_1',
        payment_method: 'pm_card_visa',
        usage: 'off_session',
        confirm: true,
        automatic_payment_methods: { enabled: true, allow_redirects: 'always' },
        return_url: returnUrl,
        metadata: { pipecore_method_id: 'pmt_1' },
        expand: ['payment_method'],
      },
      { idempotencyKey: 'pmt_1' },
    )
    assert.deepEqual(mine, desk.taken())
  })

  test('a method is entered on a page where there is no token', async () => {
    desk.answers({ ...everything, 'GET /v1/customers': listOf([known('cus_7'), known('cus_3')]) })
    await stripe.saveMethod?.(createMethodCommand(), context())
    const [, mine] = desk.taken()
    await desk.sdk().checkout.sessions.create(
      {
        mode: 'setup',
        customer: 'cus_3',
        allowed_payment_method_types: ['card'],
        success_url: returnUrl,
        cancel_url: `${returnUrl}?pipecore_canceled=1`,
        setup_intent_data: { metadata: { pipecore_method_id: 'pmt_1' } },
        metadata: { pipecore_method_id: 'pmt_1' },
      },
      { idempotencyKey: 'pmt_1' },
    )
    assert.deepEqual(mine, desk.taken()[0])
  })

  /** Of several with the same reference the first counts: a repetition must choose the same. */
  function known(id: string) {
    return { id, metadata: { pipecore_customer: 'customer_1' } }
  }
})

describe('a repetition is the same call', () => {
  test('of a page with an end, however much later it comes', async () => {
    desk.answers(everything)
    const expiresAt = new Date('2026-11-22T12:30:00Z')
    const id = createId('pay', now)
    for (const laterMs of [0, 20_000]) {
      const later = { now: () => new Date(now.getTime() + laterMs) }
      await stripe.createCheckout(createCheckoutCommand({ expiresAt, paymentId: id }), context({}, later))
    }
    const [first, second] = desk.taken()
    assert.deepEqual(first, second)
    const end = first?.fields.find(([name]) => name === 'expires_at')?.[1]
    assert.equal(new Date(Number(end) * 1000).toISOString(), '2026-11-22T12:31:00.000Z')
  })
})

describe('what can be told to be impossible is told before any call', () => {
  const page = (expiresAt: string) =>
    createCheckoutCommand({ expiresAt: new Date(expiresAt), paymentId: createId('pay', now) })
  const charge = createPaymentCommand
  const cases: Array<[string, Parameters<NonNullable<typeof stripe.checkPayment>>[0], string[]]> = [
    ['a payment', charge(), []],
    ['a page of half an hour', page('2026-11-22T12:30:00Z'), []],
    ['a page of a day', page('2026-11-23T12:00:00Z'), []],
    ['a page of ten minutes', page('2026-11-22T12:10:00Z'), ['expires_at']],
    ['a page of two days', page('2026-11-24T12:00:00Z'), ['expires_at']],
    ['installments', charge({ installments: 3 }), ['installments']],
    ['a token of somebody else', charge({ method: { kind: 'token', token: 'tok_visa' } }), ['token']],
    ['a third decimal of dinars', charge({ amount: 5_124, currency: 'KWD' }), ['amount']],
    ['two decimals of dinars', charge({ amount: 5_120, currency: 'KWD' }), []],
    ['half an ariary', charge({ amount: 150, currency: 'MGA' }), ['amount']],
  ]
  for (const [name, command, fields] of cases) {
    test(name, () => {
      const errors = stripe.checkPayment?.(command, context().credentials)
      assert.deepEqual(
        errors?.map(({ field }) => field),
        fields,
      )
    })
  }

  test('a part of a payment that Stripe can not carry is refused in words, and nothing is sent', async () => {
    desk.answers(everything)
    const ref = createRef({ currency: 'MGA' })
    const refund = { refundId: 'rfd_1', amount: 150, isFull: false, key }
    for (const outcome of [
      await stripe.refund(ref, refund, context()),
      await stripe.capture?.(ref, 150, key, context()),
    ]) {
      const { outcome: end, message } = expectNotDone(outcome)
      assert.equal(end, 'refused')
      assert.match(message, /MGA 1\.50 can't be sent to Stripe/)
    }
    assert.deepEqual(desk.taken(), [])
  })
})

describe('amounts on the wire', () => {
  const amounts: Array<[currency: string, minor: number, wire: number]> = [
    ['CLP', 12_990, 12_990],
    ['PYG', 50_000, 50_000],
    ['JPY', 500, 500],
    ['COP', 1_299_050, 1_299_050],
    ['USD', 1_599, 1_599],
    ['MXN', 1_599, 1_599],
    ['ARS', 1_599, 1_599],
    ['PEN', 1_599, 1_599],
    ['UYU', 1_599, 1_599],
    ['BRL', 1_599, 1_599],
    ['UGX', 100, 10_000],
    ['ISK', 5, 500],
    ['KWD', 5_120, 5_120],
    ['MGA', 12_900, 129],
  ]
  for (const [currency, minor, wire] of amounts) {
    test(`${minor} minor units of ${currency} are ${wire} there, and come back the same`, async () => {
      const answer = { amount: wire, amount_received: wire, currency: currency.toLowerCase() }
      desk.answers({ 'POST /v1/payment_intents': createIntent(answer) })
      const command = createPaymentCommand({ amount: minor, currency })
      const { snapshot } = expectDone(await stripe.createPayment?.(command, context()))
      const fields = new Map(desk.taken()[0]?.fields)
      assert.deepEqual([fields.get('amount'), fields.get('currency')], [String(wire), currency.toLowerCase()])
      assert.deepEqual([snapshot.amount, snapshot.captured, snapshot.currency], [minor, minor, currency])
    })
  }

  test('an amount that is none of its currency makes no snapshot', async () => {
    desk.answers({ 'POST /v1/payment_intents': createIntent({ amount_received: 50, currency: 'ugx' }) })
    const { outcome } = expectNotDone(await stripe.createPayment?.(createPaymentCommand(), context()))
    assert.equal(outcome, 'unknown')
  })
})

describe('credentials', () => {
  test('test, live and restricted keys are taken', () => {
    for (const secretKey of ['sk_test_fake', 'sk_live_fake', 'rk_test_fake', 'rk_live_fake']) {
      const given = { secretKey, account: 'acct_1', webhookSecret: 'whsec_fake_secret' }
      const { refundWindowDays, captureWindowDays, ...rest } = context(given).credentials
      assert.deepEqual(rest, given)
      assert.deepEqual([refundWindowDays, captureWindowDays], [365, 7])
    }
  })

  test('every fault is named at once', () => {
    const given = {
      secretKey: 'pk_test_1',
      webhookSecret: 'x',
      account: 'cus_1',
      captureWindowDays: 0,
      extra: 1,
    }
    const { error } = stripe.credentials.safeParse(given)
    const fields = error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? issue.keys : issue.path,
    )
    assert.deepEqual(fields?.toSorted(), [
      'account',
      'captureWindowDays',
      'extra',
      'secretKey',
      'webhookSecret',
    ])
    assert.match(
      error?.issues.find(({ path }) => path[0] === 'secretKey')?.message ?? '',
      /pk_ is for browsers/,
    )
  })

  test('windows are what the connection says', () => {
    const account = context({ refundWindowDays: 90, captureWindowDays: 2 }).credentials
    assert.deepEqual(stripe.windows(account), { refundDays: 90, captureDays: 2 })
  })
})
