import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, beforeEach, describe, test } from 'node:test'
import { WebhookSignatureValidator } from 'mercadopago'
import type { RawWebhook, Verification } from '#connections'
import { mercadopago } from './mercadopago.ts'
import type { Notice } from './provider.ts'
import { createWebhook, type Double, errorOf, now, payment, paymentId } from './testing/mercadopago.ts'
import { readCredentials, startDouble, subscriptionId, webhookSecret } from './testing/mercadopago.ts'

const requestId = 'bb56a2f1-6aae-46ac-982e-9dcd3581d08e'
const hourMs = 3600_000

function sign(manifest: string, secret = webhookSecret): string {
  return createHmac('sha256', secret).update(manifest).digest('hex')
}

/** A genuine webhook about payment 123 as it comes. */
function createSigned(at: Date = now, changes: Partial<RawWebhook> = {}): RawWebhook {
  const ts = String(at.getTime())
  const v1 = sign(`id:123;request-id:${requestId};ts:${ts};`)
  const headers = { 'x-signature': `ts=${ts},v1=${v1}`, 'x-request-id': requestId }
  return { ...createWebhook('data.id=123&type=payment', notification({}), headers), ...changes }
}

function notification(changes: Record<string, unknown>): Record<string, unknown> {
  return {
    id: 12_345,
    live_mode: true,
    type: 'payment',
    date_created: '2015-03-25T10:04:58.396-04:00',
    user_id: 44_444,
    api_version: 'v1',
    action: 'payment.updated',
    data: { id: '123' },
    ...changes,
  }
}

function verify(webhook: RawWebhook, account: Record<string, unknown> = {}, at = now): Verification {
  return mercadopago.verify(webhook, readCredentials(account), at)
}

function checkOf(verification: Verification): string {
  return verification.ok ? 'ok' : verification.check
}

describe('signatures', () => {
  const vectors: Array<[name: string, query: string, ts: string, v1: string]> = [
    [
      'A, in milliseconds',
      'data.id=123456789&type=payment',
      '1742505638683',
      'a72240515e67943bd87bf451f0ffae081db56ae4eb13b57258c7b67986e77cad',
    ],
    [
      'B, in seconds',
      'data.id=123456789&type=payment',
      '1704908010',
      '1872e7d10f4f7ac0fe7c6093d8d6b004633c83275a449850f5fc6c781e9b03d9',
    ],
    [
      'C, of an id in upper case signed in lower case',
      'data.id=ORD01JQ4S4KY8HWQ6NA5PXB65B3D3&type=order',
      '1742505638683',
      '74d22f39e5c7a5e4bde83642e68cd69a396aebd7c28738000af678a0aa34803f',
    ],
    [
      'D, without an id',
      'type=payment',
      '1742505638683',
      '155c30a352695e3bbafa32a7aaa0646f03f8073ba645b1ffb68e81bcbb448935',
    ],
  ]
  for (const [name, query, ts, v1] of vectors) {
    test(`vector ${name}`, () => {
      const headers = { 'x-signature': `ts=${ts},v1=${v1}`, 'x-request-id': requestId }
      const at = new Date(ts.length > 10 ? Number(ts) : Number(ts) * 1000)
      assert.deepEqual(verify(createWebhook(query, notification({}), headers), {}, at), { ok: true })
      const forged = { ...headers, 'x-signature': `ts=${ts},v1=${v1.replace(/.$/, 'x')}` }
      const verification = verify(createWebhook(query, notification({}), forged), {}, at)
      assert.equal(checkOf(verification), 'signature')
    })
  }

  test('the verdict is the SDK’s, for the id as it came or in lower case', () => {
    const ts = String(now.getTime())
    const ids = ['123', 'ORD1', 'ord1', ' 123 ', '', 'ñ/?&=;']
    const requestIds = [requestId, '', ' x ']
    const shapes = [
      (v1: string) => `ts=${ts},v1=${v1}`,
      (v1: string) => ` V1 = ${v1} , TS = ${ts} ,v2=other`,
      (v1: string) => `v1=${v1}`,
      () => `ts=${ts}`,
      (v1: string) => `ts=${ts}x,v1=${v1}`,
      (v1: string) => `ts=${ts},v2=${v1}`,
      (v1: string) => `ts=${ts},v1=${v1.toUpperCase()}`,
      (v1: string) => `ts=${ts},v1=wrong,v1=${v1}`,
      () => 'nonsense',
      () => '',
    ]
    const verdicts = { pass: 0, fail: 0 }
    for (const id of ids) {
      for (const signed of [id, id.toLowerCase(), 'other']) {
        for (const request of requestIds) {
          const id_ = signed.trim() && `id:${signed.trim()};`
          const v1 = sign(`${id_}${request.trim() && `request-id:${request.trim()};`}ts:${ts};`)
          for (const shape of shapes) {
            const xSignature = shape(v1)
            const headers = { 'x-signature': xSignature, 'x-request-id': request }
            const webhook = createWebhook(`data.id=${encodeURIComponent(id)}`, {}, headers)
            const expected = [id, id.toLowerCase()].some((dataId) => passes({ xSignature, request, dataId }))
            assert.equal(verify(webhook).ok, expected, `${id} ${signed} ${request} ${xSignature}`)
            verdicts[expected ? 'pass' : 'fail'] += 1
          }
        }
      }
    }
    assert.ok(verdicts.pass > 50 && verdicts.fail > 200, JSON.stringify(verdicts))
  })

  function passes(given: { xSignature: string; request: string; dataId: string }): boolean {
    const { xSignature, request: xRequestId, dataId } = given
    try {
      WebhookSignatureValidator.validate({ xSignature, xRequestId, dataId, secret: webhookSecret })
      return true
    } catch {
      return false
    }
  }

  test('the id of the body never helps: only the query is signed', () => {
    const { headers } = createSigned()
    const webhook = createWebhook('data.id=999&type=payment', notification({}), headers)
    assert.equal(checkOf(verify(webhook)), 'signature')
  })

  test('the former secret still passes, another does not', () => {
    const account = { webhookSecret: 'mp_secret_new', previousWebhookSecret: webhookSecret }
    assert.deepEqual(verify(createSigned(), account), { ok: true })
    const verification = verify(createSigned(), { webhookSecret: 'mp_secret_new' })
    assert.equal(checkOf(verification), 'signature')
    assert.match(JSON.stringify(verification), /in lower case.*same mode/)
  })

  test('what is missing is named', () => {
    assert.equal(checkOf(verify(createSigned(), { webhookSecret: undefined })), 'secret_missing')
    assert.equal(checkOf(verify(createSigned(now, { headers: {} }))), 'header_missing')
  })

  test('late repetitions pass for days, and for as long as the connection says', () => {
    const verdicts = [71, 73, -0.1, -0.2].map((hours) =>
      checkOf(verify(createSigned(new Date(now.getTime() - hours * hourMs)))),
    )
    assert.deepEqual(verdicts, ['ok', 'timestamp', 'ok', 'timestamp'])
    const old = createSigned(new Date(now.getTime() - 100 * hourMs))
    assert.equal(checkOf(verify(old, { webhookToleranceHours: 120 })), 'ok')
  })

  test('as hints all pass, for a hint only makes us read', () => {
    const account = { webhookMode: 'hint' }
    const old = new Date(now.getTime() - 1_000 * hourMs)
    for (const webhook of [createSigned(now, { headers: {} }), createSigned(old)]) {
      assert.deepEqual(verify(webhook, account), { ok: true, isHint: true })
      assert.equal(verify(webhook).ok, false)
    }
    assert.deepEqual(verify(createSigned(), { ...account, webhookSecret: undefined }), {
      ok: true,
      isHint: true,
    })
  })
})

describe('the owner', () => {
  test('is the seller whose number ends the access token', () => {
    const owns = (changes: Record<string, unknown>, account: Record<string, unknown> = {}) =>
      mercadopago.owns(createWebhook('data.id=1', notification(changes)), readCredentials(account), 't_1')
    assert.equal(owns({}), true)
    assert.equal(owns({ user_id: '44444' }), true)
    assert.equal(owns({ user_id: 55_555 }), false)
    assert.equal(owns({ user_id: undefined }), true)
    assert.equal(owns({ user_id: 55_555 }, { accessToken: 'TEST-of-another-shape' }), true)
  })
})

describe('notices', () => {
  function parse(query: string, body: unknown, headers: Record<string, string> = {}): Notice[] {
    return mercadopago.parse(createWebhook(query, body, headers), now)
  }

  test('of a payment name a resource: its id may be new to us', () => {
    const [notice] = parse('data.id=123&type=payment', notification({}))
    const key = 'payment:123:payment.updated:12345'
    const topic = 'payment.updated'
    const own = { key: `${key}:123`, topic, about: 'payment', providerPaymentId: '123' }
    assert.deepEqual(notice, { key, topic, about: 'resource', resource: 'payment', id: '123', own })
  })

  test('of every topic that means something to us', () => {
    const kinds: Array<[type: string, about: string, resource?: string]> = [
      ['payment', 'resource', 'payment'],
      ['subscription_authorized_payment', 'resource', 'authorized_payment'],
      ['topic_merchant_order_wh', 'resource', 'merchant_order'],
      ['topic_chargebacks_wh', 'resource', 'chargeback'],
      ['subscription_preapproval', 'subscription'],
      ['mp-connect', 'account'],
    ]
    for (const [type, about, resource] of kinds) {
      const body = notification({ type, action: 'updated', data: { id: 'a1' } })
      const [notice] = parse(`data.id=a1&type=${type}`, body)
      assert.deepEqual([notice?.about, notice?.topic], [about, `${type}.updated`])
      if (notice?.about === 'resource') assert.deepEqual([notice.resource, notice.id], [resource, 'a1'])
      if (notice?.about === 'subscription') assert.equal(notice.providerSubscriptionId, 'a1')
      if (notice?.about === 'account') assert.equal(notice.detail, 'updated')
    }
  })

  test('name a subscription as it is known, whatever the case of the webhook', () => {
    const type = 'subscription_preapproval'
    const [notice] = parse(`data.id=2C9380&type=${type}`, notification({ type, data: { id: '2C9380' } }))
    assert.ok(notice?.about === 'subscription')
    assert.equal(notice.providerSubscriptionId, '2c9380')
  })

  test('of others, and of none, are skipped', () => {
    const others = [
      'subscription_preapproval_plan',
      'topic_claims_integration_wh',
      'stop_delivery_op_wh',
      'topic_card_id_wh',
      'order',
      'point_integration_wh',
      'something_new',
    ]
    for (const type of others) {
      assert.deepEqual(parse(`data.id=1&type=${type}`, notification({ type, data: { id: '1' } })), [])
    }
    for (const body of ['', 'not json', '[]', '{}', 'null']) assert.deepEqual(parse('', body), [])
  })

  test('of the older kind are read too, from query or body, whether an id or an address', () => {
    const bodies: Array<[query: string, body: unknown, resource: string, id: string]> = [
      ['topic=payment&id=123', { resource: '123', topic: 'payment' }, 'payment', '123'],
      ['topic=payment&id=123', '', 'payment', '123'],
      [
        '',
        { resource: 'https://api.mercadolibre.com/merchant_orders/26262399173', topic: 'merchant_order' },
        'merchant_order',
        '26262399173',
      ],
      ['topic=chargebacks&id=9', '', 'chargeback', '9'],
    ]
    for (const [query, body, resource, id] of bodies) {
      const [notice] = parse(query, body)
      assert.ok(notice?.about === 'resource')
      assert.deepEqual([notice.resource, notice.id], [resource, id])
    }
  })

  test('have the key of their fact: a repetition has it again, a later one has not', () => {
    const query = 'data.id=123&type=payment'
    const keyOf = (body: unknown, headers = {}) => parse(query, body, headers)[0]?.key
    assert.equal(
      keyOf(notification({}), { 'x-request-id': 'a' }),
      keyOf(notification({}), { 'x-request-id': 'b' }),
    )
    assert.notEqual(keyOf(notification({})), keyOf(notification({ id: 12_346 })))
    assert.notEqual(keyOf(notification({})), keyOf(notification({ action: 'payment.created' })))
    const legacy = (at: Date) => mercadopago.parse(createWebhook('topic=payment&id=123', ''), at)[0]?.key
    assert.notEqual(legacy(now), legacy(new Date(now.getTime() + 1)))
  })

  test('have short keys whatever the body holds, which is signed by nobody', () => {
    const long = 'x'.repeat(10_000)
    const [notice] = parse('data.id=123&type=payment', notification({ id: long, action: long }))
    assert.deepEqual([notice?.topic, notice?.key], ['payment', `payment:123:${'x'.repeat(64)}`])
  })

  test('take the id of the query, which is signed, and none that could be a path', () => {
    const [notice] = parse('data.id=123&type=payment', notification({ data: { id: '999' } }))
    assert.ok(notice?.about === 'resource')
    assert.equal(notice.id, '123')
    for (const id of ['..', '1%2Frefunds', '1%3Fx', 'a'.repeat(65)]) {
      assert.deepEqual(parse(`data.id=${id}&type=payment`, notification({})), [])
    }
  })
})

describe('what a resource is about', () => {
  let double: Double

  before(async () => void (double = await startDouble()))
  after(() => double.close())
  beforeEach(() => double.reset())

  async function locate(resource: string, id = '123') {
    const notice = { key: 'k', topic: 'a.b', about: 'resource', resource, id } as const
    const outcome = await mercadopago.locate?.(notice, double.context())
    assert.ok(outcome?.outcome === 'done', JSON.stringify(outcome))
    return outcome.notices
  }

  const paid = { key: 'k:123', topic: 'a.b', about: 'payment', providerPaymentId: '123' }
  const subscription = { key: 'k:subscription', topic: 'a.b', about: 'subscription' }

  test('a payment is the one of our reference; of no reference of ours it is nothing', async () => {
    double.on('GET /v1/payments/123', payment())
    assert.deepEqual(await locate('payment'), [{ ...paid, paymentId }])
    for (const external_reference of ['order-7', null, `x ${paymentId}`]) {
      double.on('GET /v1/payments/123', payment({ external_reference }))
      assert.deepEqual(await locate('payment'), [])
    }
  })

  test('a payment that a subscription charged is about both, the subscription first', async () => {
    const point_of_interaction = { transaction_data: { subscription_id: 'pre_1' } }
    double.on('GET /v1/payments/123', payment({ external_reference: null, point_of_interaction }))
    assert.deepEqual(await locate('payment'), [{ ...subscription, providerSubscriptionId: 'pre_1' }, paid])
    double.on('GET /v1/payments/123', payment({ external_reference: subscriptionId }))
    assert.deepEqual(await locate('payment'), [{ ...subscription, subscriptionId }, paid])
  })

  test('an authorized payment is its subscription’s', async () => {
    const body = { id: 7, preapproval_id: 'pre_1', status: 'processed', transaction_amount: '10.00' }
    double.on('GET /authorized_payments/7', { ...body, external_reference: subscriptionId })
    const expected = { ...subscription, providerSubscriptionId: 'pre_1', subscriptionId }
    assert.deepEqual(await locate('authorized_payment', '7'), [expected])
  })

  test('an order is its payments’', async () => {
    const payments = [{ id: 123, status: 'rejected' }, { id: 124 }]
    double.on('GET /merchant_orders/5', { external_reference: paymentId, payments })
    assert.deepEqual(await locate('merchant_order', '5'), [
      { ...paid, paymentId },
      { ...paid, key: 'k:124', providerPaymentId: '124', paymentId },
    ])
    double.on('GET /merchant_orders/5', { external_reference: 'order-7', payments })
    assert.deepEqual(await locate('merchant_order', '5'), [])
  })

  test('a chargeback is its payments’, in the shape of the documents and of the SDK', async () => {
    double.on('GET /v1/payments/123', payment())
    for (const body of [
      { id: 'c1', payments: [123] },
      { id: 'c1', payment_id: 123 },
    ]) {
      double.on('GET /v1/chargebacks/c1', body)
      assert.deepEqual(await locate('chargeback', 'c1'), [{ ...paid, paymentId }])
    }
  })

  test('what MercadoPago does not know is about nothing; what it can not say now is asked again', async () => {
    for (const resource of ['payment', 'authorized_payment', 'merchant_order', 'chargeback', 'other']) {
      assert.deepEqual(await locate(resource), [])
    }
    double.on('GET /v1/payments/123', { status: 502, body: '<html>' })
    const notice = { key: 'k', topic: 'a.b', about: 'resource', resource: 'payment', id: '123' } as const
    assert.equal(errorOf(await mercadopago.locate?.(notice, double.context())).retry, 'backoff')
  })
})
