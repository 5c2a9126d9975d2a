import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { PaymentSnapshot } from './provider.ts'
import { stripe } from './stripe.ts'
import { checkoutRef, createCharge, createIntent, createPaymentCommand, createRef } from './testing/stripe.ts'
import { createRefund, createSession, expectDone, expectNotDone, expectSnapshot } from './testing/stripe.ts'
import { listOf, startDesk } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context
const link = 'https://hooks.stripe.com/3d_secure/1'
const pageLink = 'https://checkout.stripe.com/c/pay/cs_test_1'
const redirect = (url: string) => ({ kind: 'redirect', method: 'GET', url, fields: {} })

type Fields = Record<string, unknown>

async function readIntent(changes: Fields): Promise<PaymentSnapshot> {
  desk.answers({ 'GET /v1/payment_intents/pi_1': createIntent(changes) })
  return expectSnapshot(await stripe.read(createRef(), context()))
}

async function readSession(changes: Fields): Promise<PaymentSnapshot> {
  desk.answers({ 'GET /v1/checkout/sessions/cs_test_1': createSession(changes) })
  return expectSnapshot(await stripe.read(checkoutRef(), context()))
}

const declined = { type: 'card_error', code: 'card_declined', decline_code: 'insufficient_funds' }
const untaken = { amount_received: 0, latest_charge: null }
const challenge = { type: 'redirect_to_url', redirect_to_url: { url: link, return_url: 'https://x.example' } }

describe('a payment as Stripe has it', () => {
  const rows: Array<[name: string, fields: Fields, expected: Partial<PaymentSnapshot>]> = [
    [
      'declined',
      { ...untaken, status: 'requires_payment_method', last_payment_error: declined },
      {
        status: 'failed',
        failure: { code: 'insufficient_funds', providerCode: 'insufficient_funds', retry: 'same' },
      },
    ],
    ['without a method', { ...untaken, status: 'requires_payment_method' }, { status: 'pending' }],
    ['to be confirmed', { ...untaken, status: 'requires_confirmation' }, { status: 'pending' }],
    [
      'in 3-D Secure',
      { ...untaken, status: 'requires_action', next_action: challenge },
      { status: 'requires_action', action: redirect(link) as PaymentSnapshot['action'] },
    ],
    ['under way', { ...untaken, status: 'processing' }, { status: 'processing' }],
    ['held', { amount_received: 0, status: 'requires_capture' }, { status: 'authorized', captured: 0 }],
    ['taken', { status: 'succeeded' }, { status: 'confirmed', captured: 12_990 }],
    ['taken in part', { amount_received: 5_000 }, { status: 'confirmed', captured: 5_000, amount: 12_990 }],
    [
      'canceled',
      { ...untaken, status: 'canceled', cancellation_reason: 'abandoned' },
      { status: 'canceled' },
    ],
    ['expired', { ...untaken, status: 'canceled', cancellation_reason: 'expired' }, { status: 'expired' }],
    [
      'let go by itself',
      { ...untaken, status: 'canceled', cancellation_reason: 'automatic' },
      { status: 'expired' },
    ],
    ['in a word of the future', { ...untaken, status: 'requires_luck' }, { status: 'unknown' }],
  ]
  for (const [name, fields, expected] of rows) {
    test(`${name}: ${expected.status}`, async () => {
      const snapshot = await readIntent(fields)
      const compared = Object.fromEntries(
        Object.keys(expected).map((field) => [field, snapshot[field as keyof PaymentSnapshot]]),
      )
      assert.deepEqual(compared, expected)
      assert.equal(snapshot.providerPaymentId, 'pi_1')
      assert.deepEqual('action' in snapshot, 'action' in expected)
      assert.deepEqual('failure' in snapshot, 'failure' in expected)
    })
  }

  test('vouchers and QR codes are links, what only the browser library can do is none', async () => {
    const actions: Array<[next: Fields, url: string | undefined]> = [
      [{ type: 'oxxo_display_details', oxxo_display_details: { hosted_voucher_url: link } }, link],
      [{ type: 'pix_display_qr_code', pix_display_qr_code: { hosted_instructions_url: link } }, link],
      [{ type: 'use_stripe_sdk', use_stripe_sdk: { type: 'three_d_secure_redirect' } }, undefined],
      [{ type: 'redirect_to_url', redirect_to_url: { url: 'javascript:alert(1)' } }, undefined],
    ]
    for (const [next, url] of actions) {
      const { status, action } = await readIntent({
        ...untaken,
        status: 'requires_action',
        next_action: next,
      })
      assert.deepEqual([status, action?.url], ['requires_action', url])
    }
  })

  test('the method is summed up, and a hold tells until when it holds', async () => {
    const card = { brand: 'visa', last4: '4242', capture_before: 1_795_900_000 }
    const of = (funding: string) =>
      readIntent({
        amount_received: 0,
        status: 'requires_capture',
        latest_charge: createCharge({ payment_method_details: { type: 'card', card: { ...card, funding } } }),
      })
    const found = await of('debit')
    assert.deepEqual(found.method, { type: 'debit', brand: 'visa', last4: '4242' })
    assert.deepEqual(found.expiresAt, new Date(1_795_900_000_000))
    assert.equal((await of('credit')).method?.type, 'card')
    assert.equal((await of('unknown')).method?.type, 'card')
    const cash = createCharge({ payment_method_details: { type: 'oxxo', oxxo: {} } })
    assert.deepEqual((await readIntent({ latest_charge: cash })).method, { type: 'cash', brand: 'oxxo' })
  })

  test('odd details cost nothing but themselves', async () => {
    const charge = createCharge({ disputed: 'perhaps', payment_method_details: [] })
    const odd = { next_action: 7, last_payment_error: 'no', metadata: [], latest_charge: charge }
    const snapshot = await readIntent(odd)
    assert.deepEqual([snapshot.status, snapshot.captured], ['confirmed', 12_990])
  })
})

describe('a page as Stripe has it', () => {
  const attempt = (fields: Fields) => ({ payment_intent: createIntent(fields) })
  const failed = { ...untaken, status: 'requires_payment_method', last_payment_error: declined }

  test('open: the customer is sent there, until it ends', async () => {
    assert.deepEqual(await readSession({}), {
      providerCheckoutId: 'cs_test_1',
      status: 'requires_action',
      amount: 12_990,
      currency: 'CLP',
      captured: 0,
      refunded: 0,
      action: redirect(pageLink),
      expiresAt: new Date(1_795_435_200_000),
    })
  })

  test('a declined card at an open page is no end', async () => {
    const snapshot = await readSession(attempt(failed))
    assert.deepEqual(
      [snapshot.status, snapshot.failure, snapshot.action?.url, snapshot.providerPaymentId],
      ['requires_action', undefined, pageLink, 'pi_1'],
    )
  })

  test('paid: the payment is what counts, with both ids', async () => {
    const snapshot = await readSession({ status: 'complete', payment_status: 'paid', ...attempt({}) })
    assert.deepEqual(
      [snapshot.status, snapshot.captured, snapshot.providerPaymentId, snapshot.providerCheckoutId],
      ['confirmed', 12_990, 'pi_1', 'cs_test_1'],
    )
  })

  test('paid a moment before the page says so', async () => {
    assert.equal((await readSession({ status: 'open', ...attempt({}) })).status, 'confirmed')
  })

  const ends: Array<[name: string, fields: Fields, status: string]> = [
    [
      'held',
      { status: 'complete', ...attempt({ amount_received: 0, status: 'requires_capture' }) },
      'authorized',
    ],
    [
      'waiting for the bank',
      { status: 'complete', ...attempt({ ...untaken, status: 'processing' }) },
      'processing',
    ],
    ['refused by the bank later', { status: 'complete', ...attempt(failed) }, 'failed'],
    ['complete, its payment not to be seen', { status: 'complete', payment_intent: 'pi_1' }, 'processing'],
    ['expired', { status: 'expired', url: null }, 'expired'],
    ['expired after a declined card', { status: 'expired', url: null, ...attempt(failed) }, 'expired'],
    ['in a word of the future', { status: 'dreaming' }, 'unknown'],
  ]
  for (const [name, fields, status] of ends) {
    test(`${name}: ${status}`, async () => {
      const snapshot = await readSession(fields)
      assert.equal(snapshot.status, status)
      assert.equal(snapshot.captured, 0)
    })
  }
})

describe('refunds and disputes', () => {
  const pieces = [
    createRefund({ id: 're_3', amount: 500, status: 'failed', failure_reason: 'expired_or_canceled_card' }),
    createRefund({
      id: 're_2',
      amount: 2_000,
      status: 'pending',
      metadata: {},
      destination_details: undefined,
    }),
    createRefund(),
  ]
  const expected = [
    {
      providerRefundId: 're_3',
      refundId: 'rfd_1',
      amount: 500,
      status: 'failed',
      kind: 'refund',
      failure: { code: 'expired_card', providerCode: 'expired_or_canceled_card', retry: 'never' },
    },
    { providerRefundId: 're_2', amount: 2_000, status: 'pending' },
    { providerRefundId: 're_1', refundId: 'rfd_1', amount: 1_000, status: 'succeeded', kind: 'refund' },
  ]

  test('all are told, and only what arrived is summed up', async () => {
    const snapshot = await readIntent({ latest_charge: createCharge({ refunds: listOf(pieces) }) })
    assert.deepEqual(snapshot.refunds, expected)
    assert.equal(snapshot.refunded, 1_000)
    assert.equal(desk.taken().length, 1)
  })

  test('they are listed, page by page, where the payment does not hold them all', async () => {
    for (const refunds of [undefined, listOf(pieces.slice(0, 1), true)]) {
      const answer = createIntent({ latest_charge: createCharge({ refunds }) })
      desk.answers({
        'GET /v1/payment_intents/pi_1': answer,
        'GET /v1/refunds': [{ body: listOf(pieces.slice(0, 2), true) }, { body: listOf(pieces.slice(2)) }],
      })
      const snapshot = expectSnapshot(await stripe.read(createRef(), context()))
      assert.deepEqual(snapshot.refunds, expected)
      const [, first, second] = desk.taken()
      assert.deepEqual(first?.fields, [
        ['limit', '100'],
        ['payment_intent', 'pi_1'],
      ])
      assert.deepEqual(second?.fields.at(-1), ['starting_after', 're_2'])
    }
  })

  test('what a partial capture released is no refund', async () => {
    const charge = createCharge({ amount_refunded: 7_990 })
    const snapshot = await readIntent({ amount_received: 5_000, latest_charge: charge })
    assert.deepEqual([snapshot.captured, snapshot.refunded, snapshot.refunds], [5_000, 0, []])
  })

  test('when they can not be listed nothing is told: none would look like not refunded', async () => {
    desk.answers({
      'GET /v1/payment_intents/pi_1': createIntent({ latest_charge: createCharge({ refunds: undefined }) }),
      'GET /v1/refunds': [{ status: 500, body: {} }],
    })
    assert.equal(expectNotDone(await stripe.read(createRef(), context())).outcome, 'unknown')
  })

  const disputes: Array<[word: string, status: string | undefined]> = [
    ['needs_response', 'open'],
    ['warning_needs_response', 'open'],
    ['appeal_needs_response', 'open'],
    ['under_review', 'under_review'],
    ['warning_under_review', 'under_review'],
    ['appeal_under_review', 'under_review'],
    ['won', 'won'],
    ['warning_closed', 'won'],
    ['prevented', 'won'],
    ['lost', 'lost'],
    ['adjourned', undefined],
  ]
  for (const [word, status] of disputes) {
    test(`a dispute that is ${word} is ${status ?? 'not told'}`, async () => {
      desk.answers({
        'GET /v1/payment_intents/pi_1': createIntent({ latest_charge: createCharge({ disputed: true }) }),
        'GET /v1/disputes': listOf([{ id: 'dp_1', status: word }]),
      })
      const snapshot = expectSnapshot(await stripe.read(createRef(), context()))
      assert.deepEqual(snapshot.dispute, status && { status, providerDisputeId: 'dp_1' })
    })
  }

  test('a key that may not see disputes still reads payments', async () => {
    desk.answers({
      'GET /v1/payment_intents/pi_1': createIntent({ latest_charge: createCharge({ disputed: true }) }),
      'GET /v1/disputes': [{ status: 403, body: { error: { type: 'invalid_request_error' } } }],
    })
    const snapshot = expectSnapshot(await stripe.read(createRef(), context()))
    assert.deepEqual([snapshot.status, snapshot.dispute], ['confirmed', undefined])
  })
})

test('what the customer sees at creation is what a look shows', async () => {
  const held = createIntent({ status: 'requires_capture', amount_received: 0 })
  desk.answers({ 'POST /v1/payment_intents': held, 'GET /v1/payment_intents/pi_1': held })
  const made = expectDone(await stripe.createPayment?.(createPaymentCommand(), context()))
  assert.deepEqual(made.snapshot, expectSnapshot(await stripe.read(createRef(), context())))
})
