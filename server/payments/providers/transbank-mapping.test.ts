import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { PaymentRef } from './provider.ts'
import { transbank } from './transbank.ts'
import {
  approved,
  approvedShop,
  createChargeCommand,
  createRef,
  now,
  oneclick,
  order,
  startDouble,
  token,
  webpay,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const minuteMs = 60_000
const direct = { flow: 'direct', providerCheckoutId: undefined } as const
const manual = { capture: 'manual' } as const

async function read(answer: unknown, ref: Partial<PaymentRef> = {}, account: Record<string, unknown> = {}) {
  double.answerWith(answer)
  return transbank.read(createRef(ref), double.context(account))
}

async function readSnapshot(...given: Parameters<typeof read>) {
  const outcome = await read(...given)
  assert.equal(outcome.outcome, 'done', JSON.stringify(outcome))
  assert.ok(outcome.outcome === 'done' && outcome.snapshot)
  return outcome.snapshot
}

test('an approved payment carries ids, amounts, method and what a capture needs', async () => {
  assert.deepEqual(await readSnapshot(approved({ installments_number: 3, payment_type_code: 'SI' })), {
    providerCheckoutId: token,
    providerPaymentId: token,
    status: 'confirmed',
    amount: 10_000,
    currency: 'CLP',
    captured: 10_000,
    refunded: 0,
    method: { type: 'card', last4: '6623', installments: 3 },
    details: {
      authorization_code: '1213',
      payment_type_code: 'SI',
      transaction_date: '2026-11-22T11:59:00.000Z',
    },
  })
})

test('a charge of Oneclick has its order as id, and remembers its shop', async () => {
  const { providerPaymentId, providerCheckoutId, status, details } = await readSnapshot(
    approvedShop(),
    direct,
  )
  assert.deepEqual([providerPaymentId, providerCheckoutId, status], [order, undefined, 'confirmed'])
  assert.equal(details?.commerce_code, '597087654322')
})

describe('statuses', () => {
  type Row = [
    answer: Record<string, unknown>,
    ref: Partial<PaymentRef>,
    status: string,
    money: [number, number],
  ]
  const none: [number, number] = [0, 0]
  const rows: Row[] = [
    [
      { status: 'INITIALIZED', response_code: undefined, authorization_code: undefined },
      {},
      'requires_action',
      none,
    ],
    [{}, {}, 'confirmed', [10_000, 0]],
    [{ response_code: '0', amount: '10000.00' }, {}, 'confirmed', [10_000, 0]],
    [{}, manual, 'authorized', none],
    [{ response_code: -4 }, {}, 'failed', none],
    [{ response_code: undefined }, {}, 'unknown', none],
    [{ status: 'FAILED', response_code: -1 }, {}, 'failed', none],
    [{ status: 'FAILED', response_code: undefined }, {}, 'failed', none],
    [{ status: 'CAPTURED' }, manual, 'confirmed', [10_000, 0]],
    [{ status: 'CAPTURED', amount: 6_000 }, manual, 'confirmed', [6_000, 0]],
    [{ status: 'CAPTURED' }, { ...manual, captured: 6_000 }, 'confirmed', [6_000, 0]],
    [{ status: 'CAPTURED', balance: 6_000 }, manual, 'confirmed', [6_000, 0]],
    [{ status: 'CAPTURED', captured_amount: 6_000 }, manual, 'confirmed', [6_000, 0]],
    [{ status: 'REVERSED' }, { captured: 10_000 }, 'confirmed', [10_000, 10_000]],
    [{ status: 'NULLIFIED', balance: 0 }, { captured: 10_000 }, 'confirmed', [10_000, 10_000]],
    [{ status: 'NULLIFIED' }, { ...manual, captured: 6_000 }, 'confirmed', [6_000, 6_000]],
    [{ status: 'REVERSED' }, manual, 'canceled', none],
    [{ status: 'PARTIALLY_NULLIFIED', balance: 7_500.0 }, {}, 'confirmed', [10_000, 2_500]],
    [
      { status: 'PARTIALLY_NULLIFIED', amount: 6_000, balance: 5_000 },
      { ...manual, captured: 6_000 },
      'confirmed',
      [6_000, 1_000],
    ],
    [{ status: 'PARTIALLY_NULLIFIED' }, { refunded: 300 }, 'confirmed', [10_000, 300]],
    [{ status: 'TELEPORTED' }, {}, 'unknown', none],
    [{ status: 'TELEPORTED', response_code: -4 }, {}, 'unknown', none],
  ]
  for (const [answer, ref, status, [captured, refunded]] of rows) {
    test(`${JSON.stringify(answer)} of ${JSON.stringify(ref)} is ${status} ${captured}/${refunded}`, async () => {
      const found = await readSnapshot(approved(answer), ref)
      assert.deepEqual([found.status, found.captured, found.refunded], [status, captured, refunded])
      const shop = await readSnapshot(approvedShop(answer), { ...ref, ...direct })
      assert.deepEqual([shop.status, shop.captured, shop.refunded], [status, captured, refunded])
    })
  }

  test('what is held can be captured until the window closes', async () => {
    const { expiresAt } = await readSnapshot(approved(), manual, { captureWindowDays: 2 })
    assert.deepEqual(expiresAt, new Date('2026-11-24T11:59:00.000Z'))
  })

  test('a bank page that was left is a failure, although the code says 0', async () => {
    for (const status of ['INITIALIZED', 'AUTHORIZED', 'FAILED']) {
      const found = await readSnapshot(approved({ vci: 'ABO', status, authorization_code: undefined }))
      assert.deepEqual([found.status, found.failure?.code], ['failed', 'authentication_failed'], status)
    }
  })

  test('another vci does not judge: what is approved is approved', async () => {
    for (const vci of ['TSN', 'U3', 'ABO', undefined]) {
      assert.equal((await readSnapshot(approved({ vci }))).status, 'confirmed', vci)
    }
  })

  test('an open form is expired once nobody can pay by it any more', async () => {
    const open = { status: 'INITIALIZED', buy_order: order }
    const aged = (minutes: number) => ({ createdAt: new Date(now.getTime() - minutes * minuteMs) })
    const young = await readSnapshot(open, aged(14))
    assert.deepEqual(
      [young.status, young.expiresAt],
      ['requires_action', new Date(now.getTime() - 4 * minuteMs)],
    )
    assert.equal((await readSnapshot(open, aged(14), { formTimeoutMinutes: 5 })).status, 'expired')
    const old = await readSnapshot(open, aged(16))
    assert.deepEqual(
      [old.status, old.failure?.code, old.providerPaymentId],
      ['expired', 'timed_out', undefined],
    )
  })

  test('dollars have cents', async () => {
    const found = await readSnapshot(
      approved({ amount: 10.99, status: 'PARTIALLY_NULLIFIED', balance: 10.1 }),
      { amount: 1_099, currency: 'USD' },
      { currency: 'USD' },
    )
    assert.deepEqual([found.captured, found.refunded], [1_099, 89])
  })

  const methods = [
    ['VD', 'debit'],
    ['VP', 'prepaid'],
    ['VN', 'card'],
    ['VC', 'card'],
    ['NC', 'card'],
    ['XX', 'card'],
  ] as const
  for (const [payment_type_code, type] of methods) {
    test(`${payment_type_code} is paid by ${type}`, async () => {
      assert.equal((await readSnapshot(approved({ payment_type_code }))).method?.type, type)
    })
  }
})

describe('declines', () => {
  const rows: Array<[level: 1 | 2, responseCode: number, code: string, retry: string]> = [
    [1, -1, 'invalid_data', 'same'],
    [1, -2, 'card_declined', 'other_method'],
    [1, -3, 'processing_error', 'same'],
    [1, -4, 'card_declined', 'other_method'],
    [1, -5, 'fraud_suspected', 'never'],
    [1, -6, 'unknown_reason', 'other_method'],
    [2, -1, 'invalid_card', 'other_method'],
    [2, -2, 'processing_error', 'same'],
    [2, -3, 'limit_exceeded', 'other_method'],
    [2, -4, 'invalid_expiry', 'other_method'],
    [2, -5, 'authentication_failed', 'same'],
    [2, -6, 'card_declined', 'other_method'],
    [2, -7, 'card_disabled', 'other_method'],
    [2, -8, 'expired_card', 'other_method'],
    [2, -9, 'card_disabled', 'other_method'],
    [2, -10, 'processing_error', 'same'],
    [2, -11, 'too_many_attempts', 'other_method'],
    [2, -12, 'unknown_reason', 'other_method'],
    [1, -96, 'method_unavailable', 'other_method'],
    [1, -97, 'limit_exceeded', 'same'],
    [2, -98, 'limit_exceeded', 'other_method'],
    [2, -99, 'too_many_attempts', 'same'],
  ]
  for (const [responseCodeLevel, response_code, code, retry] of rows) {
    test(`${response_code} of level ${responseCodeLevel} is ${code}`, async () => {
      double.answerWith(approvedShop({ status: 'FAILED', response_code, authorization_code: undefined }))
      const outcome = await transbank.createPayment?.(
        createChargeCommand(),
        double.context({ responseCodeLevel }),
      )
      assert.ok(outcome?.outcome === 'done')
      const { status, captured, failure } = outcome.snapshot
      assert.deepEqual([status, captured], ['failed', 0])
      assert.deepEqual(failure, { code, providerCode: String(response_code), retry })
    })
  }
})

describe('an answer about another payment never becomes a state of this one', () => {
  const others: Record<string, Record<string, unknown>> = {
    'another amount': { amount: 1 },
    'another order': { buy_order: `${order.slice(0, -1)}x` },
    'another session': { session_id: 'pay_other' },
    'no amount': { amount: undefined },
    'no order': { buy_order: undefined },
    'no session': { session_id: null },
  }
  for (const [name, change] of Object.entries(others)) {
    test(name, async () => {
      double.answerWith(approved(change))
      const context = double.context()
      for (const outcome of [
        await transbank.commit?.(createRef(), context),
        await transbank.read(createRef(), context),
      ]) {
        assert.ok(outcome?.outcome === 'unknown')
        assert.match(outcome.error.message, /is not about this payment/)
      }
    })
  }

  test('a part of the amount is only believed of what was held and captured', async () => {
    for (const status of ['CAPTURED', 'NULLIFIED', 'PARTIALLY_NULLIFIED']) {
      assert.equal((await read(approved({ status, amount: 6_000 }))).outcome, 'unknown', status)
    }
    assert.equal((await read(approved({ amount: 6_000 }), manual)).outcome, 'unknown')
    assert.equal((await read(approved({ status: 'CAPTURED', amount: 10_001 }), manual)).outcome, 'unknown')
  })

  test('the shops of a Mall have to be the one that was to be paid', async () => {
    const [sale] = approvedShop().details as object[]
    for (const details of [[{ ...sale, buy_order: order }], [sale, sale], [{ ...sale, amount: 1 }]]) {
      double.answerWith({ ...approvedShop(), details })
      const outcome = await transbank.createPayment?.(createChargeCommand(), double.context())
      assert.equal(outcome?.outcome, 'unknown', JSON.stringify(details))
    }
  })
})

describe('reading', () => {
  const notFound = { error_message: 'Transaction not found' }
  const aged = (ageMs: number) => ({ createdAt: new Date(now.getTime() - ageMs) })

  for (const [status, body] of [
    [404, notFound],
    [422, notFound],
    [404, { error_message: 'Not Found' }],
  ] as const) {
    test(`HTTP ${status} ${body.error_message}: Transbank knows nothing, once it must know`, async () => {
      double.answerWith(body, status)
      const context = double.context()
      for (const ref of [createRef(), createRef(direct)]) {
        const settled = await transbank.read({ ...ref, ...aged(61_000) }, context)
        assert.deepEqual(settled, { outcome: 'done', snapshot: undefined })
        assert.equal((await transbank.read({ ...ref, ...aged(59_000) }, context)).outcome, 'unknown')
        const old = await transbank.read({ ...ref, ...aged(8 * 24 * 60 * minuteMs) }, context)
        assert.match(old.outcome === 'unknown' ? old.error.message : '', /seven days/)
      }
    })
  }

  test('a page of a proxy is no word of Transbank', async () => {
    double.answerWith('<h1>404</h1>', 404)
    assert.equal((await transbank.read(createRef(aged(61_000)), double.context())).outcome, 'refused')
  })

  test('a checkout whose token never came can not be paid', async () => {
    const start = double.calls.length
    const outcome = await transbank.read(createRef({ providerCheckoutId: undefined }), double.context())
    assert.deepEqual(outcome, { outcome: 'done', snapshot: undefined })
    assert.equal(double.calls.length, start)
  })

  test('a charge is found by its order, a checkout by its token', async () => {
    await read(approvedShop(), direct)
    assert.equal(double.calls.at(-1)?.path, `${oneclick}/transactions/${order}`)
    await read(approved())
    assert.equal(double.calls.at(-1)?.path, `${webpay}/transactions/${token}`)
  })

  for (const body of ['<html>', {}, [], { details: [] }, { buy_order: order }]) {
    test(`an answer without a status leaves it unknown: ${JSON.stringify(body)}`, async () => {
      assert.equal((await read(body)).outcome, 'unknown')
    })
  }
})
