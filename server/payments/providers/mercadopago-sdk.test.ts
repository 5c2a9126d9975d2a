import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { MercadoPagoConfig, Payment, PaymentRefund, PreApproval, Preference } from 'mercadopago'
import { WebhookSignatureValidator } from 'mercadopago'
import { AppConfig } from 'mercadopago/dist/utils/config/index.js'
import { mercadopago } from './mercadopago.ts'
import { accessToken, cardChoice, createCheckoutCommand } from './testing/mercadopago.ts'
import { createPaymentCommand, createRef, createSubscriptionCommand } from './testing/mercadopago.ts'
import { createWebhook, type Double, errorOf, payment, paymentId } from './testing/mercadopago.ts'
import { preference, preferenceId, readCredentials, returnUrl, snapshotOf } from './testing/mercadopago.ts'
import { startDouble, subscriptionId, webhookSecret, webhookUrl } from './testing/mercadopago.ts'

let double: Double
const sdk: { BASE_URL: string } = AppConfig
const sdkUrl = sdk.BASE_URL

before(async () => {
  double = await startDouble()
  sdk.BASE_URL = double.url
})
after(async () => {
  sdk.BASE_URL = sdkUrl
  await double.close()
})
beforeEach(() => double.reset())

describe('requests are those of the SDK', () => {
  const notification_url = `${webhookUrl}&source_news=webhooks`
  const customer = {
    email: 'ana@example.com',
    name: 'Ana María Pérez',
    document: { type: 'RUT', number: '11111111-1' },
  }
  const person = { email: 'ana@example.com', identification: { type: 'RUT', number: '11111111-1' } }

  function createConfig(): MercadoPagoConfig {
    return new MercadoPagoConfig({ accessToken, options: { maxRetries: 0, idempotencyKey: 'key_1' } })
  }

  /** The last two calls: ours, then the SDK's. */
  function assertEqualCalls(): void {
    const [ours, theirs] = double.calls.slice(-2)
    assert.ok(ours && theirs)
    assert.deepEqual([ours.method, ours.target, ours.body], [theirs.method, theirs.target, theirs.body])
    for (const name of ['authorization', 'x-idempotency-key']) {
      assert.equal(ours.headers[name], theirs.headers[name])
    }
    if (ours.body !== undefined) assert.equal(ours.headers['content-type'], theirs.headers['content-type'])
  }

  test('a payment by card', async () => {
    double.on('POST /v1/payments', { status: 201, body: payment() })
    const changes = {
      customer,
      description: 'Mesa 4',
      metadata: { table: '4' },
      key: 'key_1',
      installments: 3,
    }
    const account = { statementDescriptor: 'TABLEFLOW', threeDSecure: 'optional' }
    const command = createPaymentCommand({ ...changes, capture: 'manual' })
    await mercadopago.createPayment?.(command, double.context(account))
    await new Payment(createConfig()).create({
      body: {
        transaction_amount: 12_990,
        token: 'tok_fake',
        installments: 3,
        payment_method_id: 'visa',
        issuer_id: 166,
        payer: { ...person, first_name: 'Ana', last_name: 'María Pérez' },
        capture: false,
        description: 'Mesa 4',
        external_reference: paymentId,
        statement_descriptor: 'TABLEFLOW',
        notification_url,
        three_d_secure_mode: 'optional',
        callback_url: returnUrl,
        metadata: { table: '4' },
      },
    })
    assertEqualCalls()
  })

  test('metadata as it came, also what is empty in it', async () => {
    double.on('POST /v1/payments', { status: 201, body: payment() })
    for (const metadata of [{ note: '' }, { note: 'x' }]) {
      await mercadopago.createPayment?.(createPaymentCommand({ metadata }), double.context())
      const body = double.calls.at(-1)?.body as Record<string, unknown> | undefined
      assert.deepEqual(body?.metadata, metadata)
    }
  })

  test('a page to pay on', async () => {
    double.on('POST /checkout/preferences/', { status: 201, body: preference() })
    const items = [
      { title: 'Almuerzo', quantity: 2, unitAmount: 5_000 },
      { title: 'Jugo', quantity: 1, unitAmount: 2_990 },
    ]
    const expiresAt = new Date('2026-11-22T12:30:00Z')
    const command = createCheckoutCommand({
      items,
      customer,
      expiresAt,
      metadata: { table: '4' },
      key: 'key_1',
    })
    const snapshot = snapshotOf(await mercadopago.createCheckout(command, double.context()))
    await new Preference(createConfig()).create({
      body: {
        items: [
          { id: '1', title: 'Almuerzo', quantity: 2, unit_price: 5_000, currency_id: 'CLP' },
          { id: '2', title: 'Jugo', quantity: 1, unit_price: 2_990, currency_id: 'CLP' },
        ],
        payer: { ...person, name: 'Ana', surname: 'María Pérez' },
        back_urls: { success: returnUrl, pending: returnUrl, failure: returnUrl },
        auto_return: 'approved',
        external_reference: paymentId,
        notification_url,
        expires: true,
        expiration_date_to: '2026-11-22T12:30:00.000+00:00',
        metadata: { table: '4' },
      },
    })
    assertEqualCalls()
    assert.deepEqual(snapshot, {
      providerCheckoutId: preferenceId,
      status: 'requires_action',
      captured: 0,
      refunded: 0,
      action: {
        kind: 'redirect',
        method: 'GET',
        url: `https://www.mercadopago.cl/checkout/v1/redirect?pref_id=${preferenceId}`,
        fields: {},
      },
      expiresAt,
    })
  })

  test('a capture of all, which names no amount, and of a part', async () => {
    double.on('PUT /v1/payments/123', payment())
    await mercadopago.capture?.(createRef(), 12_990, 'key_1', double.context())
    await new Payment(createConfig()).capture({ id: '123' })
    assertEqualCalls()
    await mercadopago.capture?.(createRef(), 5_000, 'key_1', double.context())
    await new Payment(createConfig()).capture({ id: '123', transaction_amount: 5_000 })
    assertEqualCalls()
  })

  test('a cancellation', async () => {
    double.on('PUT /v1/payments/123', payment({ status: 'cancelled', status_detail: 'by_collector' }))
    const outcome = await mercadopago.cancel?.(createRef(), 'key_1', double.context())
    await new Payment(createConfig()).cancel({ id: '123' })
    assertEqualCalls()
    assert.equal(snapshotOf(outcome).status, 'canceled')
  })

  test('a refund of all and of a part', async () => {
    double.on('POST /v1/payments/123/refunds', {
      status: 201,
      body: { id: 7, amount: 12_990, status: 'approved' },
    })
    const whole = { refundId: 'rfd_1', amount: 12_990, isFull: true, key: 'key_1' }
    await mercadopago.refund(createRef(), whole, double.context())
    await new PaymentRefund(createConfig()).total({ payment_id: '123' })
    assertEqualCalls()
    await mercadopago.refund(createRef(), { ...whole, amount: 990, isFull: false }, double.context())
    await new PaymentRefund(createConfig()).create({ payment_id: '123', body: { amount: 990 } })
    assertEqualCalls()
  })

  test('what is left after an earlier refund is named by its amount', async () => {
    double.on('POST /v1/payments/123/refunds', {
      status: 201,
      body: { id: 8, amount: 990, status: 'approved' },
    })
    const rest = { refundId: 'rfd_1', amount: 990, isFull: true, key: 'key_1' }
    await mercadopago.refund(createRef({ refunded: 12_000 }), rest, double.context())
    assert.deepEqual(double.calls.at(-1)?.body, { amount: 990 })
  })

  test('a look at a payment, and a search by our reference', async () => {
    double.on('GET /v1/payments/123', payment())
    await mercadopago.read(createRef(), double.context())
    await new Payment(createConfig()).get({ id: '123' })
    assertEqualCalls()
    double.on('GET /v1/payments/search', { results: [] })
    const { providerPaymentId: _, ...unseen } = createRef()
    await mercadopago.read(unseen, double.context())
    const options = {
      external_reference: paymentId,
      sort: 'date_created',
      criteria: 'desc',
      limit: 50,
    } as const
    await new Payment(createConfig()).search({ options })
    assertEqualCalls()
  })

  test('a subscription, with a card and without', async () => {
    double.on('POST /preapproval/', { status: 201, body: { id: 'abc', status: 'pending' } })
    const command = createSubscriptionCommand({ interval: 'week', intervalCount: 2, key: 'key_1' })
    const body = {
      payer_email: 'ana@example.com',
      reason: 'Plan',
      external_reference: subscriptionId,
      back_url: returnUrl,
      auto_recurring: {
        frequency: 14,
        frequency_type: 'days',
        transaction_amount: 9_990,
        currency_id: 'CLP',
      },
    }
    await mercadopago.subscriptions?.create(command, double.context())
    await new PreApproval(createConfig()).create({ body: { ...body, status: 'pending' } })
    assertEqualCalls()
    await mercadopago.subscriptions?.create({ ...command, method: cardChoice }, double.context())
    const card = { card_token_id: 'tok_fake', status: 'authorized' }
    await new PreApproval(createConfig()).create({ body: { ...body, ...card } })
    assertEqualCalls()
  })
})

describe('traps of the SDK that are none here', () => {
  const refund = { id: 7, amount: 12_990, status: 'approved' }
  const wish = { refundId: 'rfd_1', amount: 12_990, isFull: true, key: 'key_refund' }

  test('the key of one call goes with the next ones too (#481); ours are the keys that were given', async () => {
    double.on('POST /v1/payments', { status: 201, body: payment() })
    double.on('PUT /v1/payments/123', payment())
    double.on('POST /v1/payments/123/refunds', { status: 201, body: refund })
    const shared = new MercadoPagoConfig({ accessToken, options: { maxRetries: 0 } })
    const requestOptions = { idempotencyKey: 'key_create' }
    await new Payment(shared).create({ body: { transaction_amount: 1 }, requestOptions })
    await new Payment(shared).capture({ id: '123' })
    await new PaymentRefund(shared).total({ payment_id: '123' })
    const context = double.context()
    await mercadopago.createPayment?.(createPaymentCommand({ key: 'key_create' }), context)
    await mercadopago.capture?.(createRef(), 12_990, 'key_capture', context)
    await mercadopago.refund(createRef(), wish, context)
    const keys = double.calls.map(({ headers }) => headers['x-idempotency-key'])
    assert.deepEqual(keys.slice(0, 3), ['key_create', 'key_create', 'key_create'])
    assert.deepEqual(keys.slice(3), ['key_create', 'key_capture', 'key_refund'])
  })

  test('it repeats by itself; ours is one call, and the core decides', async () => {
    double.on('POST /v1/payments', { status: 500, body: { message: 'internal_error' } })
    const options = { initialDelay: 1 }
    const naive = new Payment(new MercadoPagoConfig({ accessToken, options }))
    await assert.rejects(naive.create({ body: { transaction_amount: 1 } }))
    assert.equal(double.calls.length, 4)
    const outcome = await mercadopago.createPayment?.(createPaymentCommand(), double.context())
    assert.equal(errorOf(outcome).outcome, 'unknown')
    assert.equal(double.calls.length, 5)
  })

  test('a declined card is an answer without an error; ours is failed, with the reason', async () => {
    const declined = { status: 'rejected', status_detail: 'cc_rejected_insufficient_amount', captured: false }
    double.on('POST /v1/payments', { status: 201, body: payment(declined) })
    const config = new MercadoPagoConfig({ accessToken, options: { maxRetries: 0 } })
    const naive = await new Payment(config).create({ body: { transaction_amount: 1 } })
    assert.equal(naive.api_response.status, 201)
    const snapshot = snapshotOf(await mercadopago.createPayment?.(createPaymentCommand(), double.context()))
    assert.deepEqual([snapshot.status, snapshot.captured], ['failed', 0])
    assert.equal(snapshot.failure?.code, 'insufficient_funds')
  })

  const requestId = 'bb56a2f1-6aae-46ac-982e-9dcd3581d08e'

  test('its tolerance refuses every signature in milliseconds (#458); ours reads both units', () => {
    const v1 = 'a72240515e67943bd87bf451f0ffae081db56ae4eb13b57258c7b67986e77cad'
    const signature = `ts=1742505638683,v1=${v1}`
    const now = new Date(1_742_505_638_683)
    const naive = { xSignature: signature, xRequestId: requestId, dataId: '123456789', secret: webhookSecret }
    assert.throws(
      () => WebhookSignatureValidator.validate({ ...naive, toleranceSeconds: 300, now: () => now.getTime() }),
      /TimestampOutOfTolerance/,
    )
    const headers = { 'x-signature': signature, 'x-request-id': requestId }
    const webhook = createWebhook('data.id=123456789&type=payment', {}, headers)
    assert.deepEqual(mercadopago.verify(webhook, readCredentials(), now), { ok: true })
  })

  test('it knows one case of the id (#439, sdk-java #420); ours knows both', () => {
    const v1 = '74d22f39e5c7a5e4bde83642e68cd69a396aebd7c28738000af678a0aa34803f'
    const signature = `ts=1742505638683,v1=${v1}`
    const dataId = 'ORD01JQ4S4KY8HWQ6NA5PXB65B3D3'
    const naive = { xSignature: signature, xRequestId: requestId, dataId, secret: webhookSecret }
    assert.throws(() => WebhookSignatureValidator.validate(naive), /SignatureMismatch/)
    const headers = { 'x-signature': signature, 'x-request-id': requestId }
    for (const id of [dataId, dataId.toLowerCase()]) {
      const webhook = createWebhook(`data.id=${id}&type=order`, {}, headers)
      const verification = mercadopago.verify(webhook, readCredentials(), new Date(1_742_505_638_683))
      assert.deepEqual(verification, { ok: true })
    }
  })
})
