import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { PaymentRef, PaymentSnapshot } from './provider.ts'
import { createRef, type Double, errorOf, found, now, payment, paymentId } from './testing/mercadopago.ts'
import { preference, preferenceId, snapshotOf, startDouble } from './testing/mercadopago.ts'

let double: Double

before(async () => void (double = await startDouble()))
after(() => double.close())
beforeEach(() => double.reset())

const agoMs = (minutes: number) => new Date(now.getTime() - minutes * 60_000)

async function read(ref: PaymentRef): Promise<PaymentSnapshot | undefined> {
  return snapshotOf(await mercadopago.read(ref, double.context()))
}

async function readAs(changes: Record<string, unknown>, ref: Partial<PaymentRef> = {}) {
  double.on('GET /v1/payments/123', payment(changes))
  const snapshot = await read(createRef(ref))
  assert.ok(snapshot)
  return snapshot
}

describe('statuses', () => {
  const words: Array<[status: string, detail: string, unified: string, captured: number]> = [
    ['pending', 'pending_waiting_payment', 'pending', 0],
    ['pending', 'pending_waiting_transfer', 'pending', 0],
    ['pending', 'pending_provider_response', 'pending', 0],
    ['pending', 'pending_challenge', 'requires_action', 0],
    ['in_process', 'pending_contingency', 'processing', 0],
    ['in_process', 'pending_review_manual', 'processing', 0],
    ['in_process', 'offline_process', 'processing', 0],
    ['in_process', 'deferred_retry', 'processing', 0],
    ['authorized', 'pending_capture', 'authorized', 0],
    ['approved', 'accredited', 'confirmed', 12_990],
    ['approved', 'partially_refunded', 'confirmed', 12_990],
    ['in_mediation', '', 'confirmed', 12_990],
    ['rejected', 'cc_rejected_other_reason', 'failed', 0],
    ['cancelled', 'expired', 'expired', 0],
    ['cancelled', 'by_collector', 'canceled', 0],
    ['cancelled', 'by_payer', 'canceled', 0],
    ['cancelled', 'by_admin', 'canceled', 0],
    ['refunded', 'refunded', 'confirmed', 12_990],
    ['refunded', 'by_admin', 'confirmed', 12_990],
    ['refunded', 'bpp_refunded', 'confirmed', 12_990],
    ['charged_back', 'in_process', 'confirmed', 12_990],
    ['charged_back', 'settled', 'confirmed', 12_990],
    ['charged_back', 'reimbursed', 'confirmed', 12_990],
  ]
  for (const [status, detail, unified, captured] of words) {
    test(`${status} ${detail} is ${unified}, of which ${captured} was taken`, async () => {
      const snapshot = await readAs({ status, status_detail: detail })
      assert.deepEqual([snapshot.status, snapshot.captured], [unified, captured])
    })
  }

  test('a word that we do not know is unknown, and moves no money', async () => {
    const snapshot = await readAs({ status: 'teleported' }, { captured: 5_000 })
    assert.deepEqual([snapshot.status, snapshot.captured], ['unknown', 5_000])
  })

  test('disputes are open, lost or won', async () => {
    const words = [
      ['in_mediation', 'in_process', 'open'],
      ['charged_back', 'in_process', 'open'],
      ['charged_back', 'settled', 'lost'],
      ['charged_back', 'reimbursed', 'won'],
      ['charged_back', 'something_new', 'open'],
    ]
    for (const [status, detail, dispute] of words) {
      const snapshot = await readAs({ status, status_detail: detail })
      assert.equal(snapshot.dispute?.status, dispute, `${status} ${detail}`)
    }
    assert.equal((await readAs({})).dispute, undefined)
  })

  test('a challenge of the bank is a form to send the customer with', async () => {
    const three_ds_info = { external_resource_url: 'https://bank.example.com/3ds', creq: 'eyJ0ZXN0' }
    const snapshot = await readAs({ status: 'pending', status_detail: 'pending_challenge', three_ds_info })
    assert.deepEqual(snapshot.action, {
      kind: 'redirect',
      method: 'POST',
      url: 'https://bank.example.com/3ds',
      fields: { creq: 'eyJ0ZXN0' },
    })
    const odd = { ...three_ds_info, external_resource_url: 'javascript:alert(1)' }
    const other = await readAs({ status: 'pending', status_detail: 'pending_challenge', three_ds_info: odd })
    assert.equal(other.action, undefined)
  })

  test('a whole payment reads whole', async () => {
    const date_of_expiration = '2026-11-25T12:00:00.000-04:00'
    const snapshot = await readAs({
      status: 'pending',
      status_detail: 'pending_waiting_payment',
      payment_method_id: 'debmaster',
      payment_type_id: 'debit_card',
      date_of_expiration,
    })
    assert.deepEqual(snapshot, {
      providerPaymentId: '123',
      status: 'pending',
      amount: 12_990,
      currency: 'CLP',
      captured: 0,
      refunded: 0,
      refunds: [],
      method: { type: 'debit', brand: 'mastercard', last4: '7115', installments: 1 },
      expiresAt: new Date('2026-11-25T16:00:00Z'),
    })
    assert.equal((await readAs({ date_of_expiration })).expiresAt, undefined, 'what is paid does not end')
  })

  test('amounts come back in minor units, of pesos with cents too', async () => {
    const changes = { transaction_amount: 12_990, transaction_amount_refunded: 990, currency_id: 'COP' }
    const refunds = [{ id: 7, amount: 990, status: 'approved' }]
    const colombian = await readAs({ ...changes, refunds })
    assert.deepEqual([colombian.captured, colombian.refunded, colombian.currency], [1_299_000, 99_000, 'COP'])
    const brazilian = await readAs({ transaction_amount: 58.8, currency_id: 'BRL' })
    assert.equal(brazilian.captured, 5_880)
  })

  test('an odd detail never costs the answer', async () => {
    const odd = { card: 'none', refunds: null, installments: 'three', date_approved: 7 }
    assert.equal((await readAs(odd)).status, 'confirmed')
  })
})

describe('reasons', () => {
  const reasons: Array<[detail: string, code: string, retry: string]> = [
    ['cc_rejected_insufficient_amount', 'insufficient_funds', 'same'],
    ['cc_rejected_bad_filled_security_code', 'invalid_security_code', 'same'],
    ['cc_rejected_bad_filled_date', 'invalid_expiry', 'same'],
    ['cc_rejected_bad_filled_card_number', 'invalid_card', 'same'],
    ['cc_rejected_bad_filled_other', 'invalid_data', 'same'],
    ['cc_rejected_call_for_authorize', 'call_issuer', 'same'],
    ['cc_rejected_card_disabled', 'card_disabled', 'other_method'],
    ['cc_rejected_blacklist', 'fraud_suspected', 'other_method'],
    ['cc_rejected_high_risk', 'fraud_suspected', 'other_method'],
    ['cc_rejected_max_attempts', 'too_many_attempts', 'other_method'],
    ['cc_rejected_duplicated_payment', 'duplicate', 'never'],
    ['cc_rejected_invalid_installments', 'installments_invalid', 'same'],
    ['cc_rejected_3ds_challenge', 'authentication_failed', 'same'],
    ['cc_rejected_3ds_mandatory', 'authentication_required', 'same'],
    ['cc_rejected_time_out', 'processing_error', 'same'],
    ['cc_rejected_other_reason', 'card_declined', 'other_method'],
    ['bank_error', 'processing_error', 'same'],
    ['bank_rejected', 'card_declined', 'other_method'],
    ['rejected_by_regulations', 'provider_refused', 'other_method'],
    ['collector_unavailable', 'provider_refused', 'other_method'],
    ['payer_unavailable', 'method_unavailable', 'other_method'],
    ['cc_rejected_card_type_not_allowed', 'card_declined', 'other_method'],
    ['something_new', 'unknown_reason', 'other_method'],
  ]
  for (const [detail, code, retry] of reasons) {
    test(`${detail} is ${code}`, async () => {
      const { failure } = await readAs({ status: 'rejected', status_detail: detail })
      assert.deepEqual(failure, { code, providerCode: detail, retry })
    })
  }
})

describe('refunds', () => {
  test('are listed with their ids and what became of them', async () => {
    const refunds = [
      { id: 1, amount: 1_000, status: 'approved' },
      { id: 2, amount: 500, status: 'in_process' },
      { id: 3, amount: 400, status: 'authorized' },
      { id: 4, amount: 300, status: 'rejected', reason: 'no_funds' },
      { id: 5, amount: 200, status: 'cancelled' },
      { id: 6, amount: 100, status: 'new_word' },
    ]
    const snapshot = await readAs({ transaction_amount_refunded: 1_000, refunds })
    assert.equal(snapshot.refunded, 1_000)
    const seen = snapshot.refunds?.map(({ providerRefundId, amount, status }) => [
      providerRefundId,
      amount,
      status,
    ])
    assert.deepEqual(seen, [
      ['1', 1_000, 'succeeded'],
      ['2', 500, 'pending'],
      ['3', 400, 'pending'],
      ['4', 300, 'failed'],
      ['5', 200, 'canceled'],
      ['6', 100, 'unknown'],
    ])
    const failure = { code: 'provider_refused', providerCode: 'no_funds', retry: 'never' }
    assert.deepEqual(snapshot.refunds?.[3]?.failure, failure)
    assert.equal(double.calls.length, 1)
  })

  test('that the payment counts and does not list are asked for', async () => {
    double.on('GET /v1/payments/123/refunds/', [{ id: 7, amount: 12_990, status: 'approved' }])
    for (const refunds of [[], null]) {
      const snapshot = await readAs({ status: 'refunded', transaction_amount_refunded: 12_990, refunds })
      assert.deepEqual(snapshot.refunds, [{ providerRefundId: '7', amount: 12_990, status: 'succeeded' }])
    }
  })

  test('of all are all, also where no sum is told', async () => {
    const refunds = [{ id: 7, amount: 12_990, status: 'approved' }]
    const snapshot = await readAs({ status: 'refunded', transaction_amount_refunded: null, refunds })
    assert.deepEqual([snapshot.captured, snapshot.refunded], [12_990, 12_990])
  })

  test('answer what was given back, in our units', async () => {
    double.on('POST /v1/payments/123/refunds', {
      status: 201,
      body: { id: 7, amount: 990, status: 'in_process' },
    })
    const wish = { refundId: 'rfd_1', amount: 99_000, isFull: false, key: 'key_1' }
    const outcome = await mercadopago.refund(createRef({ currency: 'COP' }), wish, double.context())
    assert.ok(outcome.outcome === 'done')
    assert.deepEqual(outcome.refund, { providerRefundId: '7', amount: 99_000, status: 'pending' })
  })

  test('repeated and answered with nothing are unknown: the list tells', async () => {
    double.on('POST /v1/payments/123/refunds', { status: 200, body: '' })
    const wish = { refundId: 'rfd_1', amount: 990, isFull: false, key: 'key_1' }
    assert.equal(errorOf(await mercadopago.refund(createRef(), wish, double.context())).outcome, 'unknown')
  })
})

describe('a payment whose call had no answer', () => {
  const { providerPaymentId: _, ...unseen } = createRef()

  test('is found by our reference, and read by its id', async () => {
    double.on('GET /v1/payments/search', found(payment({ status: 'in_process' })))
    double.on('GET /v1/payments/123', payment())
    const snapshot = await read(unseen)
    assert.deepEqual([snapshot?.providerPaymentId, snapshot?.status], ['123', 'confirmed'])
  })

  test('is certainly not there once the search can not be behind any more', async () => {
    double.on('GET /v1/payments/search', found())
    assert.equal(await read(unseen), undefined)
    const { outcome, retry } = errorOf(
      await mercadopago.read({ ...unseen, createdAt: agoMs(1) }, double.context()),
    )
    assert.deepEqual([outcome, retry], ['unknown', { afterMs: 60_000 }])
  })

  test('is not another one that the search brings along', async () => {
    double.on('GET /v1/payments/search', found(payment({ external_reference: `${paymentId}x` })))
    double.on('GET /v1/payments/123', payment())
    assert.equal(await read(unseen), undefined)
  })

  test('stays open when the search can not be read', async () => {
    double.on('GET /v1/payments/search', found({ ...payment(), transaction_amount: 'much' }))
    assert.equal(errorOf(await mercadopago.read(unseen, double.context())).outcome, 'unknown')
    double.on('GET /v1/payments/search', { status: 500, body: '<html>' })
    assert.equal(errorOf(await mercadopago.read(unseen, double.context())).outcome, 'unknown')
  })

  test('by an id that MercadoPago does not know is not there', async () => {
    assert.equal(await read(createRef()), undefined)
  })
})

describe('a page', () => {
  const page = createRef({ flow: 'checkout', providerCheckoutId: preferenceId })
  const { providerPaymentId: _, ...unpaid } = page
  const preferencePath = `GET /checkout/preferences/${preferenceId}`
  const rejected = { status: 'rejected', status_detail: 'cc_rejected_call_for_authorize' }

  function attempts(...list: Array<Record<string, unknown>>): void {
    const made = list.map((changes, index) =>
      payment({ id: index + 1, date_created: `2026-11-22T07:0${index}:00.000-04:00`, ...changes }),
    )
    double.on('GET /v1/payments/search', found(...made.toReversed()))
    for (const one of made) double.on(`GET /v1/payments/${String(one.id)}`, one)
  }

  test('that nobody paid on waits for its customer', async () => {
    attempts()
    double.on(preferencePath, preference())
    const snapshot = await read({ ...unpaid, createdAt: agoMs(1) })
    assert.deepEqual([snapshot?.status, snapshot?.providerPaymentId], ['requires_action', undefined])
    assert.match(snapshot?.action?.url ?? '', /^https:\/\/www\.mercadopago\.cl\//)
    const endless = { expires: false, expiration_date_to: agoMs(60).toISOString() }
    double.on(preferencePath, preference(endless))
    const other = await read(unpaid)
    assert.deepEqual([other?.status, other?.expiresAt], ['requires_action', undefined])
  })

  test('stays open after a rejected card, and tells why', async () => {
    attempts(rejected)
    double.on(preferencePath, preference())
    const snapshot = await read(unpaid)
    assert.deepEqual(
      [snapshot?.status, snapshot?.failure?.code, snapshot?.providerPaymentId],
      ['requires_action', 'call_issuer', undefined],
    )
    const known = await read({ ...unpaid, providerPaymentId: '1' })
    assert.equal(known?.status, 'requires_action')
  })

  test('that is closed ends as its last attempt did, or as expired', async () => {
    const expires = true
    double.on(preferencePath, preference({ expires, expiration_date_to: agoMs(10).toISOString() }))
    attempts({ ...rejected, status_detail: 'bank_error' }, rejected)
    const failed = await read(unpaid)
    assert.deepEqual([failed?.status, failed?.failure?.code], ['failed', 'call_issuer'])
    attempts()
    assert.equal((await read(unpaid))?.status, 'expired')
    double.on(preferencePath, preference({ expires, expiration_date_to: agoMs(1).toISOString() }))
    const { outcome } = errorOf(await mercadopago.read(unpaid, double.context()))
    assert.equal(outcome, 'unknown', 'somebody may have paid in its last minute')
  })

  test('is paid by the best of its attempts', async () => {
    const order = ['rejected', 'new_word', 'pending', 'in_process', 'authorized', 'approved']
    const unified = [undefined, 'unknown', 'pending', 'processing', 'authorized', 'confirmed']
    for (const [index, status] of order.entries()) {
      if (index === 0) continue
      attempts({ status }, { status: order[index - 1] }, rejected)
      const snapshot = await read(unpaid)
      assert.deepEqual([snapshot?.status, snapshot?.providerPaymentId], [unified[index], '1'])
      assert.equal(snapshot?.providerCheckoutId, preferenceId)
    }
  })

  test('that is paid twice is paid by the first, and says so', async () => {
    const [late, early] = ['2026-11-22T07:30:00.000-04:00', '2026-11-22T07:20:00.000-04:00']
    attempts({ date_approved: late }, rejected, { date_approved: early })
    const snapshot = await read(unpaid)
    assert.deepEqual([snapshot?.providerPaymentId, snapshot?.details], ['3', { paid_twice: '1' }])
    const known = await read({ ...unpaid, providerPaymentId: '1' })
    assert.deepEqual([known?.providerPaymentId, known?.details], ['1', { paid_twice: '3' }])
  })

  test('stays with the payment that is known after it was given back', async () => {
    const refunds = [{ id: 9, amount: 12_990, status: 'approved' }]
    attempts({ status: 'refunded', transaction_amount_refunded: 12_990, refunds }, {})
    const snapshot = await read({ ...unpaid, providerPaymentId: '1' })
    assert.deepEqual([snapshot?.providerPaymentId, snapshot?.refunded], ['1', 12_990])
    assert.deepEqual(snapshot?.details, { paid_twice: '2' })
  })

  test('a payment that a webhook told of counts before the search shows it', async () => {
    attempts()
    double.on('GET /v1/payments/123', payment())
    assert.equal((await read(page))?.status, 'confirmed')
  })

  test('is closed before what was begun on it is canceled', async () => {
    attempts({ status: 'pending' })
    double.on(`PUT /checkout/preferences/${preferenceId}`, preference())
    double.on('PUT /v1/payments/1', payment({ id: 1, status: 'cancelled', status_detail: 'by_collector' }))
    const snapshot = snapshotOf(await mercadopago.cancel?.(unpaid, 'key_1', double.context()))
    assert.equal(snapshot.status, 'canceled')
    const acts = double.calls.filter(({ method }) => method !== 'GET')
    assert.deepEqual(
      acts.map(({ target, headers, body }) => [target, headers['x-idempotency-key'], body]),
      [
        [
          `/checkout/preferences/${preferenceId}`,
          'key_1-page',
          { expires: true, expiration_date_to: '2026-11-22T12:00:00.000+00:00' },
        ],
        ['/v1/payments/1', 'key_1', { status: 'cancelled' }],
      ],
    )
  })

  test('that is closed and can not be read may be canceled or paid: nobody knows', async () => {
    double.on(`PUT /checkout/preferences/${preferenceId}`, preference())
    double.on('GET /v1/payments/search', { status: 401, body: { message: 'invalid access token' } })
    assert.equal(errorOf(await mercadopago.cancel?.(unpaid, 'key_1', double.context())).outcome, 'unknown')
    double.on(`PUT /checkout/preferences/${preferenceId}`, { status: 401, body: {} })
    assert.equal(errorOf(await mercadopago.cancel?.(unpaid, 'key_1', double.context())).outcome, 'refused')
  })

  test('that is canceled without any payment is canceled, and one that is paid stays paid', async () => {
    double.on(`PUT /checkout/preferences/${preferenceId}`, preference())
    attempts(rejected)
    const empty = snapshotOf(await mercadopago.cancel?.(unpaid, 'key_1', double.context()))
    assert.deepEqual([empty.status, empty.captured], ['canceled', 0])
    attempts({})
    const paid = snapshotOf(await mercadopago.cancel?.(unpaid, 'key_1', double.context()))
    assert.deepEqual([paid.status, paid.captured], ['confirmed', 12_990])
    assert.ok(double.calls.every(({ method, target }) => method === 'GET' || target.startsWith('/checkout/')))
  })
})

describe('the list', () => {
  const since = new Date('2026-11-22T00:00:00Z')
  const at = (minute: number) => `2026-11-22T01:${String(minute).padStart(2, '0')}:00.000-04:00`

  async function list(cursor?: string) {
    const outcome = await mercadopago.list?.(since, cursor, double.context())
    assert.ok(outcome?.outcome === 'done')
    return outcome
  }

  test('goes on by the time of the last payment, oldest first, ours with our id', async () => {
    const others = payment({ id: 2, external_reference: 'their-order', date_last_updated: at(2) })
    const mine = payment({ date_last_updated: at(1) })
    double.on('GET /v1/payments/search', { paging: { total: 3 }, results: [mine, others] })
    const first = await list()
    const query = new URL(double.calls[0]?.target ?? '', double.url).searchParams
    assert.deepEqual(Object.fromEntries(query), {
      sort: 'date_last_updated',
      criteria: 'asc',
      range: 'date_last_updated',
      begin_date: '2026-11-22T00:00:00.000+00:00',
      end_date: '2026-11-22T12:00:00.000+00:00',
      limit: '50',
      offset: '0',
    })
    assert.deepEqual(
      first.payments.map(({ paymentId: id, snapshot }) => [id, snapshot.providerPaymentId]),
      [
        [paymentId, '123'],
        [undefined, '2'],
      ],
    )
    assert.equal(first.next, `${at(2)}|0`)
    double.on('GET /v1/payments/search', { paging: { total: 1 }, results: [others] })
    const last = await list(first.next)
    assert.equal(last.next, undefined)
    const again = new URL(double.calls[1]?.target ?? '', double.url).searchParams
    assert.deepEqual([again.get('begin_date'), again.get('offset')], [at(2), '0'])
  })

  test('counts on within one moment, so that it always ends', async () => {
    const same = payment({ date_last_updated: at(2) })
    double.on('GET /v1/payments/search', { results: [same, same] })
    assert.equal((await list(`${at(2)}|0`)).next, `${at(2)}|2`)
    double.on('GET /v1/payments/search', { results: [] })
    assert.equal((await list(`${at(2)}|2`)).next, undefined)
  })

  test('one odd payment does not cost the others', async () => {
    double.on('GET /v1/payments/search', found({ id: {} }, payment({ currency_id: null }), payment()))
    assert.equal((await list()).payments.length, 1)
  })
})
