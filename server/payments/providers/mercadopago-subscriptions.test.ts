import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { SubscriptionChange, SubscriptionRef, SubscriptionSnapshot } from './provider.ts'
import { createSubscriptionCommand, type Double, errorOf, fail, now } from './testing/mercadopago.ts'
import { savedChoice, snapshotOf, startDouble, subscriptionId } from './testing/mercadopago.ts'

const id = '2c938084726fca480172750000000000'
const ref: SubscriptionRef = {
  subscriptionId,
  providerSubscriptionId: id,
  amount: 9_990,
  currency: 'CLP',
  createdAt: new Date(now.getTime() - 3600_000),
  details: {},
}
const subscriptions = mercadopago.subscriptions
assert.ok(subscriptions)

let double: Double

before(async () => void (double = await startDouble()))
after(() => double.close())
beforeEach(() => {
  double.reset()
  double.on('GET /authorized_payments/search', { paging: { total: 0 }, results: [] })
})

function preapproval(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id,
    status: 'authorized',
    init_point: `https://www.mercadopago.cl/subscriptions/checkout?preapproval_id=${id}`,
    external_reference: subscriptionId,
    date_created: '2026-11-22T07:00:00.000-04:00',
    next_payment_date: '2026-12-22T07:00:00.000-04:00',
    auto_recurring: { frequency: 1, frequency_type: 'months', transaction_amount: 9_990, currency_id: 'CLP' },
    ...changes,
  }
}

function period(number: number, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: number,
    preapproval_id: id,
    status: 'processed',
    transaction_amount: 9_990,
    currency_id: 'CLP',
    debit_date: `2026-${String(number).padStart(2, '0')}-22T08:00:00.000-04:00`,
    payment: { id: 1_000 + number, status: 'approved', status_detail: 'accredited' },
    ...changes,
  }
}

async function read(changes: Record<string, unknown>, periods: Array<Record<string, unknown>> = []) {
  double.on(`GET /preapproval/${id}`, preapproval(changes))
  double.on('GET /authorized_payments/search', { paging: { total: periods.length }, results: periods })
  const snapshot = snapshotOf(await subscriptions?.read(ref, double.context()))
  assert.ok(snapshot)
  return snapshot
}

describe('a new subscription', () => {
  test('without a card waits for the customer on MercadoPago’s page', async () => {
    double.on('POST /preapproval/', { status: 201, body: preapproval({ status: 'pending' }) })
    const snapshot = snapshotOf(await subscriptions?.create(createSubscriptionCommand(), double.context()))
    assert.deepEqual(snapshot, {
      providerSubscriptionId: id,
      status: 'pending',
      amount: 9_990,
      currency: 'CLP',
      currentPeriodEnd: new Date('2026-12-22T11:00:00Z'),
      action: { kind: 'redirect', method: 'GET', url: String(preapproval().init_point), fields: {} },
      charges: [],
    })
  })

  test('counts in days and months', async () => {
    double.on('POST /preapproval/', { status: 201, body: preapproval() })
    const intervals = [
      ['day', 3, 3, 'days'],
      ['week', 2, 14, 'days'],
      ['month', 6, 6, 'months'],
      ['year', 1, 12, 'months'],
    ] as const
    for (const [interval, intervalCount, frequency, frequency_type] of intervals) {
      const command = createSubscriptionCommand({ interval, intervalCount, currency: 'COP', amount: 990_000 })
      await subscriptions?.create(command, double.context())
      const body = double.calls.at(-1)?.body as Record<string, unknown> | undefined
      const recurring = { frequency, frequency_type, transaction_amount: 9_900, currency_id: 'COP' }
      assert.deepEqual(body?.auto_recurring, recurring)
    }
  })

  test('with a time for free begins after it', async () => {
    const trialEnd = new Date('2026-12-06T12:00:00Z')
    const start_date = '2026-12-06T12:00:00.000+00:00'
    double.on('POST /preapproval/', { status: 201, body: preapproval({ auto_recurring: { start_date } }) })
    const command = createSubscriptionCommand({ trialEnd })
    const snapshot = snapshotOf(await subscriptions?.create(command, double.context()))
    assert.deepEqual([snapshot.status, snapshot.trialEnd], ['trialing', trialEnd])
    const body = double.calls.at(-1)?.body as { auto_recurring?: Record<string, unknown> } | undefined
    assert.equal(body?.auto_recurring?.start_date, start_date)
  })

  test('that begins at once, or has begun, is on no trial', async () => {
    const starts = [
      ['2026-11-22T08:30:00.000-04:00', '2026-11-22T08:00:00.000-04:00'],
      ['2026-11-10T08:00:00.000-04:00', '2026-11-01T08:00:00.000-04:00'],
    ]
    for (const [start_date, date_created] of starts) {
      const body = preapproval({ date_created, auto_recurring: { start_date } })
      double.on('POST /preapproval/', { status: 201, body })
      const outcome = await subscriptions?.create(createSubscriptionCommand(), double.context())
      const snapshot: SubscriptionSnapshot = snapshotOf(outcome)
      assert.deepEqual([snapshot.status, snapshot.trialEnd], ['active', undefined])
      assert.equal(snapshot.action, undefined)
    }
  })

  test('by a saved card is charged by a token of it', async () => {
    double.on('POST /v1/card_tokens', { status: 201, body: { id: 'tok_of_card' } })
    double.on('POST /preapproval/', { status: 201, body: preapproval() })
    const command = createSubscriptionCommand({ method: savedChoice })
    await subscriptions?.create(command, double.context())
    const body = double.calls.at(-1)?.body as Record<string, unknown> | undefined
    assert.deepEqual([body?.card_token_id, body?.status], ['tok_of_card', 'authorized'])
  })

  test('that the card does not carry is refused in words', async () => {
    const message = 'Card token was generated without cvv validation'
    double.on('POST /v1/card_tokens', { status: 201, body: { id: 'tok_of_card' } })
    double.on('POST /preapproval/', { status: 400, body: { message, status: 400 } })
    const command = createSubscriptionCommand({ method: savedChoice })
    const refused = errorOf(await subscriptions?.create(command, double.context()))
    assert.equal(refused.outcome, 'refused')
    assert.match(refused.message, /without cvv.*let the customer enter it/)
    double.on('POST /v1/card_tokens', { status: 500, body: '<html>' })
    assert.equal(errorOf(await subscriptions?.create(command, double.context())).outcome, 'refused')
  })

  test('without an e-mail address, or with an amount that does not fit, is refused before any call', async () => {
    for (const changes of [{ customer: {} }, { currency: 'COP', amount: 990_050 }]) {
      const outcome = await subscriptions?.create(createSubscriptionCommand(changes), double.context())
      assert.deepEqual([errorOf(outcome).outcome, errorOf(outcome).kind], ['refused', 'content'])
    }
    assert.equal(double.calls.length, 0)
  })
})

describe('a subscription reads', () => {
  test('by its word', async () => {
    const words = [
      ['pending', 'pending'],
      ['authorized', 'active'],
      ['paused', 'paused'],
      ['cancelled', 'canceled'],
      ['new_word', 'unknown'],
    ]
    for (const [status, unified] of words) assert.equal((await read({ status })).status, unified)
  })

  const declined = { id: 1_011, status: 'rejected', status_detail: 'cc_rejected_insufficient_amount' }

  test('by its charges: what is tried again or failed is past due', async () => {
    const retrying = await read({}, [period(10), period(11, { status: 'recycling', payment: declined })])
    assert.deepEqual([retrying.status, retrying.failure?.code], ['past_due', 'insufficient_funds'])
    const next = period(12, { status: 'scheduled', payment: null })
    const failed = await read({}, [period(10), period(11, { payment: declined }), next])
    assert.equal(failed.status, 'past_due')
    const mended = await read({}, [period(10, { payment: declined }), period(11)])
    assert.deepEqual([mended.status, mended.failure], ['active', undefined])
    const paused = await read({ status: 'paused' }, [period(11, { payment: declined })])
    assert.equal(paused.status, 'paused')
  })

  test('every charge, oldest first, the first as the first', async () => {
    const { charges, ...rest } = await read({}, [
      period(12, { status: 'scheduled', payment: null }),
      period(11, { payment: { ...declined, id: 1_011 }, retry_attempt: 3 }),
      period(9, { transaction_amount: '9990.00', payment: { id: 1_009, status: 'refunded' } }),
      period(10, { status: 'waiting_for_gateway', payment: { id: 1_010, status: 'in_process' } }),
    ])
    assert.deepEqual(
      charges.map((one) => [
        one.providerChargeId,
        one.status,
        one.isFirst,
        one.providerPaymentId,
        one.amount,
      ]),
      [
        ['9', 'paid', true, '1009', 9_990],
        ['10', 'scheduled', false, '1010', 9_990],
        ['11', 'failed', false, '1011', 9_990],
        ['12', 'scheduled', false, undefined, 9_990],
      ],
    )
    assert.deepEqual(
      charges.map(({ attempt }) => attempt),
      [1, 1, 4, 1],
    )
    assert.equal(charges[2]?.failure?.providerCode, 'cc_rejected_insufficient_amount')
    assert.deepEqual(rest.currentPeriodStart, new Date('2026-09-22T12:00:00Z'))
    assert.deepEqual(rest.currentPeriodEnd, new Date('2026-12-22T11:00:00Z'))
  })

  test('the beginning and the latest of many charges, in whichever order they come', async () => {
    double.on(`GET /preapproval/${id}`, preapproval())
    const pages = [
      [period(1), period(2)],
      [period(6), period(5), period(5)],
    ]
    double.on(
      'GET /authorized_payments/search',
      ...pages.map((results) => ({ paging: { total: 6 }, results })),
    )
    const snapshot = snapshotOf(await subscriptions?.read(ref, double.context()))
    assert.deepEqual(
      snapshot?.charges.map((one) => [one.providerChargeId, one.isFirst]),
      [
        ['1', true],
        ['2', false],
        ['5', false],
        ['6', false],
      ],
    )
    const targets = double.calls.slice(1).map(({ target }) => target)
    const search = `/authorized_payments/search?preapproval_id=${id}`
    assert.deepEqual(targets, [search, `${search}&offset=4`])
  })

  test('nothing where MercadoPago knows nothing, and not at all where it can not say', async () => {
    assert.equal(snapshotOf(await subscriptions?.read(ref, double.context())), undefined)
    double.on(`GET /preapproval/${id}`, preapproval())
    double.on('GET /authorized_payments/search', { status: 500, body: '<html>' })
    assert.equal(errorOf(await subscriptions?.read(ref, double.context())).outcome, 'unknown')
  })
})

describe('a subscription whose call had no answer', () => {
  const { providerSubscriptionId: _, ...unseen } = ref
  const other = { external_reference: 'theirs', id: 'other1' }

  function search(results: unknown[], total: number): void {
    double.on('GET /preapproval/search', { paging: { total }, results })
  }

  test('is found among the newest by our reference, and read by its id', async () => {
    search([preapproval(other), preapproval({ status: 'pending', next_payment_date: null })], 2)
    double.on(`GET /preapproval/${id}`, preapproval())
    const snapshot = snapshotOf(await subscriptions?.read(unseen, double.context()))
    assert.deepEqual([snapshot?.providerSubscriptionId, snapshot?.status], [id, 'active'])
    assert.equal(double.calls[0]?.target, '/preapproval/search?sort=date_created%3Adesc&limit=50&offset=0')
  })

  test('is certainly not there once all that could be it were seen', async () => {
    search([preapproval(other)], 1)
    assert.equal(snapshotOf(await subscriptions?.read(unseen, double.context())), undefined)
    search(
      [preapproval(other), preapproval({ ...other, date_created: '2026-11-20T07:00:00.000-04:00' })],
      900,
    )
    assert.equal(snapshotOf(await subscriptions?.read(unseen, double.context())), undefined)
    const young = { ...unseen, createdAt: new Date(now.getTime() - 9 * 60_000) }
    assert.deepEqual(errorOf(await subscriptions?.read(young, double.context())).retry, { afterMs: 60_000 })
  })

  test('may be there as long as not all were seen, or the order is not what was asked for', async () => {
    const newer = preapproval({ ...other, date_created: '2026-11-22T07:30:00.000-04:00' })
    const older = preapproval({ ...other, date_created: '2026-11-20T07:00:00.000-04:00' })
    for (const results of [[newer], [older, { ...older, date_created: '2026-11-21T07:00:00.000-04:00' }]]) {
      search(results, 900)
      assert.equal(errorOf(await subscriptions?.read(unseen, double.context())).outcome, 'unknown')
    }
  })
})

describe('a change', () => {
  async function update(change: Partial<SubscriptionChange>) {
    double.on(`PUT /preapproval/${id}`, preapproval())
    double.on(`GET /preapproval/${id}`, preapproval())
    return subscriptions?.update(ref, { key: 'key_1', ...change }, double.context())
  }

  test('of amount, method or rest is one call, and is read afterwards', async () => {
    double.on('POST /v1/card_tokens', { status: 201, body: { id: 'tok_of_card' } })
    const bodies = [
      [{ amount: 12_000 }, { auto_recurring: { transaction_amount: 12_000, currency_id: 'CLP' } }],
      [{ paused: true }, { status: 'paused' }],
      [{ paused: false }, { status: 'authorized' }],
      [{ method: savedChoice }, { card_token_id: 'tok_of_card' }],
    ] as const
    for (const [change, body] of bodies) {
      double.calls.length = 0
      snapshotOf(await update(change))
      const [put] = double.calls.filter(({ method }) => method === 'PUT')
      assert.deepEqual([put?.body, put?.headers['x-idempotency-key']], [body, 'key_1'])
    }
  })

  test('keeps an unpaid subscription unpaid: only its charges tell', async () => {
    const payment = { id: 1, status: 'rejected', status_detail: 'bank_error' }
    const results = [period(11, { status: 'recycling', payment })]
    double.on('GET /authorized_payments/search', { paging: { total: 1 }, results })
    assert.equal(snapshotOf(await update({ amount: 12_000 })).status, 'past_due')
  })

  test('that MercadoPago does not have is refused, and nothing is called', async () => {
    const { kind, message } = errorOf(await update({ cancelAtPeriodEnd: true }))
    assert.deepEqual([kind, double.calls.length], ['content', 0])
    assert.match(message, /at once only/)
    assert.equal(snapshotOf(await update({ cancelAtPeriodEnd: false })).status, 'active')
    assert.ok(double.calls.every(({ method }) => method === 'GET'))
  })

  test('that was made and could not be read is unknown, one that was refused is not', async () => {
    double.on(`PUT /preapproval/${id}`, preapproval())
    assert.equal(errorOf(await subscriptions?.cancel(ref, 'key_1', double.context())).outcome, 'unknown')
    double.on(`PUT /preapproval/${id}`, {
      status: 400,
      body: fail(1, 'You can not modify a paused preapproval.'),
    })
    assert.equal(errorOf(await subscriptions?.cancel(ref, 'key_1', double.context())).outcome, 'refused')
    const { providerSubscriptionId: _, ...unseen } = ref
    assert.equal(errorOf(await subscriptions?.cancel(unseen, 'key_1', double.context())).kind, 'state')
  })

  test('to canceled is one too', async () => {
    double.on(`PUT /preapproval/${id}`, preapproval())
    double.on(`GET /preapproval/${id}`, preapproval({ status: 'cancelled' }))
    const snapshot = snapshotOf(await subscriptions?.cancel(ref, 'key_1', double.context()))
    assert.equal(snapshot.status, 'canceled')
    assert.deepEqual(double.calls[0]?.body, { status: 'cancelled' })
  })
})
