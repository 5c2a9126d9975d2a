import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import Stripe from 'stripe'
import type { RawWebhook } from '#connections'
import { stripe } from './stripe.ts'
import { createIntent, createRefund, createSession, now, paymentId, readAccount } from './testing/stripe.ts'
import { subscriptionId, webhookSecret } from './testing/stripe.ts'

const seconds = Math.floor(now.getTime() / 1000)
const url = 'https://pipe.example.com/webhooks/payment?tenant_id=t_1&provider=stripe'

type Fields = Record<string, unknown>

function createWebhook(body: string | Buffer, header?: string): RawWebhook {
  return {
    method: 'POST',
    publicUrl: url,
    query: new URL(url).searchParams,
    headers: {
      'content-type': 'application/json',
      ...(header !== undefined && { 'stripe-signature': header }),
    },
    body: Buffer.from(body),
  }
}

function createEvent(type: string, object: Fields, changes: Fields = {}): string {
  const event = { id: 'evt_1', object: 'event', type, livemode: false, data: { object }, ...changes }
  return JSON.stringify(event)
}

function sign(payload: string, secret = webhookSecret, timestamp = seconds): string {
  return Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp })
}

function verify(body: string | Buffer, header: string | undefined, changes: Fields = {}, at = now) {
  const verification = stripe.verify(createWebhook(body, header), readAccount(changes), at)
  return verification.ok ? 'ok' : verification.check
}

const body = createEvent('payment_intent.succeeded', createIntent())

describe('signatures', () => {
  test('the vector of the contract verifies, and nothing near it does', () => {
    const vector =
      '{"id":"evt_1","object":"event","type":"payment_intent.succeeded","created":1700000000,"data":{"object":{"id":"pi_1","object":"payment_intent","amount":12990,"currency":"clp","status":"succeeded"}}}'
    const signature = '153f6a4e2a6a75403da608fb16190aff769d68f3e2399d4b5b3379798a640498'
    const at = new Date(1_700_000_000_000)
    const judge = (text: string, header: string) => verify(text, header, {}, at)
    assert.equal(judge(vector, `t=1700000000,v1=${signature}`), 'ok')
    assert.equal(judge(`${vector} `, `t=1700000000,v1=${signature}`), 'signature')
    assert.equal(judge(vector, `t=1700000001,v1=${signature}`), 'signature')
    assert.equal(judge(vector, `t=1700000000,v0=${signature}`), 'signature')
    assert.equal(judge(vector, `t=1700000000,v1=${signature.toUpperCase()}`), 'signature')
    assert.equal(judge(vector, `v1=${signature}`), 'signature')
    assert.equal(judge(vector, 't=1700000000'), 'signature')
    assert.equal(judge(vector, 't=1700000000,v1='), 'signature')
    assert.equal(judge(vector, `t=1700000000x,v1=${signature}`), 'signature')
  })

  test('any body is judged as the SDK judges it, genuine and tampered', () => {
    const parts = fc.constantFrom('none', 'body', 'secret', 'time', 'scheme', 'second')
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: -299, max: 299 }), parts, (payload, age, tamper) => {
        const timestamp = seconds - Math.max(age, 0)
        const secret = tamper === 'secret' ? 'whsec_another_secret' : webhookSecret
        const genuine = sign(payload, secret, timestamp)
        const headers: Record<string, string> = {
          time: genuine.replace(/t=\d+/, `t=${timestamp + 1}`),
          scheme: genuine.replace('v1=', 'v2='),
          second: genuine.replace('v1=', `v1=${'0'.repeat(64)},v1=`),
        }
        const header = headers[tamper] ?? genuine
        const received = tamper === 'body' ? `${payload}x` : payload
        const ours = verify(received, header) === 'ok'
        assert.equal(ours, acceptedBySdk(received, header))
        assert.equal(ours, tamper === 'none' || tamper === 'second')
      }),
      { numRuns: 200 },
    )
  })

  test('five minutes are the limit, as with the SDK', () => {
    for (const age of [0, 299, 300, 301, 9_999]) {
      const header = sign(body, webhookSecret, seconds - age)
      assert.equal(verify(body, header), age <= 300 ? 'ok' : 'timestamp')
      assert.equal(acceptedBySdk(body, header), age <= 300)
    }
  })

  test('a time in the future is refused, which the SDK takes', () => {
    const header = sign(body, webhookSecret, seconds + 9_999)
    assert.equal(acceptedBySdk(body, header), true)
    assert.equal(verify(body, header), 'timestamp')
    assert.equal(verify(body, sign(body, webhookSecret, seconds + 60)), 'ok')
  })

  test('while a secret is rolled, ours may be the new or the former one', () => {
    const rolled = { webhookSecret: 'whsec_new_fake', previousWebhookSecret: webhookSecret }
    assert.equal(verify(body, sign(body), rolled), 'ok')
    assert.equal(verify(body, sign(body, 'whsec_new_fake'), rolled), 'ok')
    assert.equal(verify(body, sign(body, 'whsec_other_fake'), rolled), 'signature')
    const both = `${sign(body, 'whsec_new_fake')},${sign(body).split(',')[1]}`
    assert.equal(verify(body, both), 'ok')
  })

  test('the bytes count, also where they are no text', () => {
    const bytes = Buffer.from([0x7b, 0xff, 0xfe, 0x7d])
    const signature = createHmac('sha256', webhookSecret).update(`${seconds}.`).update(bytes).digest('hex')
    const header = `t=${seconds},v1=${signature}`
    assert.equal(verify(bytes, header), 'ok')
    assert.equal(verify(bytes.toString('utf8'), header), 'signature')
  })

  test('what is missing is named', () => {
    assert.equal(verify(body, undefined), 'header_missing')
    assert.equal(verify(body, sign(body), { webhookSecret: undefined }), 'secret_missing')
  })

  function acceptedBySdk(payload: string, header: string): boolean {
    try {
      Stripe.webhooks.constructEvent(payload, header, webhookSecret, 300, undefined, now.getTime())
      return true
    } catch (error) {
      if (error instanceof Stripe.errors.StripeSignatureVerificationError) return false
      throw error
    }
  }
})

describe('whose event it is', () => {
  const owns = (changes: Fields, account: Fields = {}) =>
    stripe.owns(
      createWebhook(createEvent('payment_intent.succeeded', {}, changes)),
      readAccount(account),
      't_1',
    )

  test('its mode is that of the key', () => {
    for (const secretKey of ['sk_test_fake', 'rk_test_fake']) {
      assert.equal(owns({ livemode: false }, { secretKey }), true)
      assert.equal(owns({ livemode: true }, { secretKey }), false)
    }
    for (const secretKey of ['sk_live_fake', 'rk_live_fake']) {
      assert.equal(owns({ livemode: true }, { secretKey }), true)
      assert.equal(owns({ livemode: false }, { secretKey }), false)
    }
    assert.equal(owns({ livemode: undefined }), false)
  })

  test('its connected account is that of the connection', () => {
    assert.equal(owns({ account: 'acct_1' }, { account: 'acct_1' }), true)
    assert.equal(owns({ account: 'acct_2' }, { account: 'acct_1' }), false)
    assert.equal(owns({}, { account: 'acct_1' }), false)
    assert.equal(owns({ account: 'acct_1' }), false)
  })

  test('what is no event is nobody’s', () => {
    for (const text of ['', 'null', '[]', '{"livemode":false}', '\u0000']) {
      assert.equal(stripe.owns(createWebhook(text), readAccount(), 't_1'), false)
    }
  })
})

describe('what an event is about', () => {
  const parse = (type: string, object: Fields, changes: Fields = {}) =>
    stripe.parse(createWebhook(createEvent(type, object, changes)), now)

  const intent = { about: 'payment', providerPaymentId: 'pi_1', paymentId }
  const money = { about: 'payment', providerPaymentId: 'pi_1' }
  const page = { about: 'payment', providerCheckoutId: 'cs_test_1', providerPaymentId: 'pi_1', paymentId }
  const period = { about: 'subscription', providerSubscriptionId: 'sub_1', subscriptionId }
  const metadata = { pipecore_subscription_id: subscriptionId }
  const subscribed = { id: 'sub_1', metadata }
  const invoice = {
    id: 'in_1',
    parent: { type: 'subscription_details', subscription_details: { subscription: 'sub_1', metadata } },
  }
  const rows: Array<[topics: string, object: Fields, expected: Fields]> = [
    ['payment_intent.succeeded payment_intent.amount_capturable_updated', createIntent(), intent],
    ['payment_intent.payment_failed payment_intent.canceled', createIntent(), intent],
    ['payment_intent.requires_action payment_intent.processing', createIntent(), intent],
    ['payment_intent.succeeded', createIntent({ metadata: {} }), money],
    ['refund.created refund.updated refund.failed charge.refund.updated', createRefund(), money],
    ['charge.refunded', { id: 'ch_1', payment_intent: 'pi_1' }, money],
    [
      'charge.dispute.created charge.dispute.updated charge.dispute.closed',
      { payment_intent: 'pi_1' },
      money,
    ],
    ['checkout.session.completed', createSession({ payment_intent: 'pi_1' }), page],
    ['checkout.session.async_payment_succeeded', createSession({ payment_intent: 'pi_1' }), page],
    ['checkout.session.async_payment_failed', createSession({ payment_intent: 'pi_1' }), page],
    [
      'checkout.session.expired',
      createSession({ status: 'expired' }),
      { about: 'payment', providerCheckoutId: 'cs_test_1', paymentId },
    ],
    [
      'checkout.session.completed',
      { id: 'cs_test_2', mode: 'subscription', subscription: 'sub_1', metadata },
      period,
    ],
    [
      'checkout.session.expired',
      { id: 'cs_test_2', mode: 'subscription', subscription: null, metadata },
      { about: 'subscription', subscriptionId },
    ],
    ['customer.subscription.created customer.subscription.updated', subscribed, period],
    ['customer.subscription.deleted customer.subscription.paused', subscribed, period],
    ['customer.subscription.resumed customer.subscription.trial_will_end', subscribed, period],
    ['invoice.paid invoice.payment_failed invoice.payment_action_required', invoice, period],
    ['invoice.marked_uncollectible invoice.voided', invoice, period],
    ['invoice.paid', { id: 'in_1', subscription: 'sub_1', subscription_details: { metadata } }, period],
  ]
  for (const [topics, object, expected] of rows) {
    for (const topic of topics.split(' ')) {
      test(`${topic} is about ${JSON.stringify(expected)}`, () => {
        assert.deepEqual(parse(topic, object), [{ key: 'evt_1', topic, ...expected }])
      })
    }
  }

  test('a platform that was disconnected is told', () => {
    const [notice] = parse('account.application.deauthorized', { id: 'ca_1' }, { account: 'acct_1' })
    assert.equal(notice?.about, 'account')
    assert.match(notice?.about === 'account' ? notice.detail : '', /acct_1 has disconnected/)
  })

  const skipped: Array<[topic: string, object: Fields]> = [
    ['payment_intent.created', createIntent()],
    ['charge.succeeded', { id: 'ch_1', payment_intent: 'pi_1' }],
    ['customer.created', { id: 'cus_1' }],
    ['invoice.paid', { id: 'in_1', parent: null }],
    ['refund.created', createRefund({ payment_intent: null })],
    ['checkout.session.completed', { id: 'cs_test_3', mode: 'setup' }],
    ['a.word.of.the.future', {}],
    ['constructor', {}],
  ]
  for (const [topic, object] of skipped) {
    test(`${topic} is skipped`, () => assert.deepEqual(parse(topic, object), []))
  }

  test('odd bodies are nothing, never an error', () => {
    for (const text of [
      '',
      'null',
      '[]',
      '{}',
      '{"id":"evt_1","type":7,"data":{"object":{}}}',
      '{"data":null}',
    ]) {
      assert.deepEqual(stripe.parse(createWebhook(text), now), [])
    }
    assert.deepEqual(parse('payment_intent.succeeded', { id: 7, metadata: 'no', payment_intent: {} }), [])
  })
})
