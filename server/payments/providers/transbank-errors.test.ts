import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { transbank } from './transbank.ts'
import {
  createChargeCommand,
  createRef,
  order,
  paymentId,
  savedCard,
  shopOrder,
  startDouble,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const key = 'key_1'
const direct = { flow: 'direct', providerCheckoutId: undefined } as const
const manual = { capture: 'manual' } as const
const withoutOneclick = {
  oneclickCommerceCode: undefined,
  oneclickChildCommerceCode: undefined,
  oneclickApiKey: undefined,
}

describe('refunds and captures', () => {
  const held = { ...manual, details: { authorization_code: '123456' } }
  const command = { refundId: 'rfd_1', amount: 1_000, isFull: false, key }

  test('a refund has an id made of ours, and tells a reversal from a refund', async () => {
    const made = { providerRefundId: 'transbank_rfd_1', refundId: 'rfd_1', status: 'succeeded' }
    double.answerWith({ type: 'REVERSED' })
    assert.deepEqual(await transbank.refund(createRef(), command, double.context()), {
      outcome: 'done',
      refund: { ...made, amount: 1_000, kind: 'reversal' },
    })
    double.answerWith({ type: 'NULLIFIED', nullified_amount: 1000.0, balance: 9000.0, response_code: 0 })
    assert.deepEqual(await transbank.refund(createRef(), command, double.context()), {
      outcome: 'done',
      refund: { ...made, amount: 1_000, kind: 'refund' },
    })
    double.answerWith({ type: 'NULLIFIED', nullified_amount: '900.00', response_code: 0 })
    const less = await transbank.refund(createRef(), command, double.context())
    assert.equal(less.outcome === 'done' && less.refund.amount, 900)
    double.answerWith({ type: 'TELEPORTED' })
    const odd = await transbank.refund(createRef(), command, double.context())
    assert.equal(odd.outcome === 'done' && odd.refund.status, 'unknown')
  })

  test('a shop is given back what that shop took, whatever the connection says now', async () => {
    double.answerWith({ type: 'REVERSED' })
    const details = { commerce_code: '597087654399' }
    await transbank.refund(createRef({ ...direct, details }), command, double.context())
    const body = double.calls.at(-1)?.body
    assert.ok(JSON.stringify(body).includes(JSON.stringify(details).slice(1, -1)), JSON.stringify(body))
  })

  test('a capture takes what the answer says, or what was asked', async () => {
    for (const [answer, captured] of [
      [{ response_code: 0, captured_amount: 500.0 }, 500],
      [{ response_code: 0 }, 600],
    ] as const) {
      double.answerWith(answer)
      const outcome = await transbank.capture?.(createRef(held), 600, key, double.context())
      assert.ok(outcome?.outcome === 'done')
      assert.deepEqual([outcome.snapshot.status, outcome.snapshot.captured], ['confirmed', captured])
    }
  })

  test('without an authorization code the payment has to be read first', async () => {
    const outcome = await transbank.capture?.(createRef(manual), 600, key, double.context())
    assert.equal(outcome?.outcome === 'refused' && outcome.error.kind, 'state')
  })

  test('a capture of Oneclick is tried where the papers have it, when the usual place is none', async () => {
    const nowhere = [
      { status: 404, body: '<html>' },
      { status: 404, body: { error_message: 'Not Found' } },
      { status: 405, body: { error_message: 'Method Not Allowed' } },
    ]
    for (const answer of nowhere) {
      double.answerBy(({ path }) =>
        path.includes('/mall/') ? { status: 200, body: { response_code: 0 } } : answer,
      )
      const ref = createRef({ ...held, ...direct })
      const outcome = await transbank.capture?.(ref, 600, key, double.context())
      assert.equal(outcome?.outcome, 'done')
      const path = '/rswebpaytransaction/api/oneclick/mall/v1.2/transactions/capture'
      assert.equal(double.calls.at(-1)?.path, path)
      assert.deepEqual(double.calls.at(-1)?.body, double.calls.at(-2)?.body)
    }
  })

  test('a capture of an unknown transaction is not tried elsewhere', async () => {
    double.answerWith({ error_message: 'Transaction not found' }, 404)
    const start = double.calls.length
    await transbank.capture?.(createRef({ ...held, ...direct }), 600, key, double.context())
    assert.equal(double.calls.length, start + 1)
  })

  test('what is held is let go by giving all of it back, what was captured is not', async () => {
    double.answerWith({ type: 'REVERSED' })
    const outcome = await transbank.cancel?.(createRef(manual), key, double.context())
    assert.ok(outcome?.outcome === 'done')
    assert.deepEqual([outcome.snapshot.status, outcome.snapshot.captured], ['canceled', 0])
    double.answerWith({ type: 'TELEPORTED' })
    const odd = await transbank.cancel?.(createRef(manual), key, double.context())
    assert.equal(odd?.outcome === 'done' && odd.snapshot.status, 'unknown')
    const taken = await transbank.cancel?.(createRef({ ...manual, captured: 1 }), key, double.context())
    assert.equal(taken?.outcome, 'refused')
  })

  const codes: Array<[code: number, outcome: string, kind: string]> = [
    [304, 'refused', 'content'],
    [245, 'refused', 'config'],
    [22, 'refused', 'account'],
    [316, 'refused', 'config'],
    [308, 'refused', 'account'],
    [274, 'refused', 'config'],
    [16, 'refused', 'content'],
    [292, 'refused', 'state'],
    [284, 'refused', 'content'],
    [310, 'refused', 'state'],
    [309, 'refused', 'state'],
    [311, 'refused', 'state'],
    [312, 'unknown', 'transient'],
    [315, 'unknown', 'transient'],
    [53, 'refused', 'content'],
  ]
  for (const [code, expected, kind] of codes) {
    test(`${code} is ${expected} (${kind}), wherever it stands`, async () => {
      const answers: Array<[status: number, body: unknown]> = [
        [422, { error_message: `No se puede (${code})` }],
        [422, { error_message: `Error ${code}: no` }],
        [422, { error_message: 'No', response_code: code }],
        [200, { response_code: code }],
        [200, { type: 'NULLIFIED', response_code: String(code) }],
      ]
      for (const [status, body] of answers) {
        double.answerWith(body, status)
        const refunded = await transbank.refund(createRef(), command, double.context())
        const captured = await transbank.capture?.(createRef(held), 600, key, double.context())
        for (const outcome of [refunded, captured]) {
          assert.ok(outcome && outcome.outcome !== 'done')
          assert.deepEqual([outcome.outcome, outcome.error.code], [expected, String(code)])
          assert.equal(outcome.error.kind, kind, JSON.stringify([status, body]))
        }
      }
    })
  }
})

describe('errors', () => {
  const rows: Array<[status: number, message: string, outcome: string, kind: string]> = [
    [400, 'Invalid JSON', 'refused', 'content'],
    [401, 'Not Authorized', 'refused', 'auth'],
    [404, 'Not Found', 'refused', 'config'],
    [405, 'Method Not Allowed', 'refused', 'config'],
    [406, 'Not Acceptable', 'refused', 'config'],
    [415, 'Unsupported Media Type', 'refused', 'content'],
    [422, 'buy_order is required!', 'refused', 'content'],
    [422, 'Transaction already locked by another process', 'refused', 'state'],
    [422, "Invalid status '0' for transaction while authorizing.", 'refused', 'state'],
    [422, 'Transaction is unfinished, it is not possible to refund it yet', 'refused', 'state'],
    [422, 'Transaction already exists', 'refused', 'state'],
    [422, 'Transaction not found', 'refused', 'config'],
    [422, 'Invalid value for parameter: Transaction Detail not found', 'refused', 'config'],
    [422, 'Amount to refund is bigger than authorized', 'refused', 'state'],
    [429, 'Too Many Requests', 'refused', 'rate_limited'],
    [408, 'Timeout', 'unknown', 'transient'],
    [500, 'Internal Server Error', 'unknown', 'transient'],
    [502, '<html>', 'unknown', 'transient'],
  ]
  for (const [status, message, expected, kind] of rows) {
    test(`HTTP ${status} ${message} is ${expected} (${kind})`, async () => {
      double.answerWith(message.startsWith('<') ? message : { error_message: message }, status)
      const command = { refundId: 'rfd_1', amount: 1, isFull: false, key }
      for (const outcome of [
        await transbank.createPayment?.(createChargeCommand(), double.context()),
        await transbank.refund(createRef(), command, double.context()),
        await transbank.commit?.(createRef(), double.context()),
      ]) {
        assert.ok(outcome && outcome.outcome !== 'done')
        assert.deepEqual([outcome.outcome, outcome.error.kind], [expected, kind])
        assert.equal(outcome.error.httpStatus, status)
      }
    })
  }

  test('a number in a refusal of a charge is no code of a refund', async () => {
    double.answerWith({ error_message: 'Invalid value for parameter: amount 312' }, 422)
    const outcome = await transbank.createPayment?.(createChargeCommand(), double.context())
    assert.equal(outcome?.outcome, 'refused')
  })

  test('a payment or card that can not be one of ours is refused before any call', async () => {
    const start = double.calls.length
    const odd = [
      await transbank.createPayment?.(createChargeCommand({ paymentId: 'pay_../x' }), double.context()),
      await transbank.createPayment?.(
        createChargeCommand({ method: { kind: 'saved', token: { tbk_user: 'x' }, customer: {} } }),
        double.context(),
      ),
      await transbank.createPayment?.(
        createChargeCommand({ method: { kind: 'token', token: savedCard.tbk_user } }),
        double.context(),
      ),
      await transbank.read(createRef({ ...direct, paymentId: `${paymentId}/../x` }), double.context()),
      await transbank.read(createRef(direct), double.context(withoutOneclick)),
    ]
    for (const outcome of odd) assert.equal(outcome?.outcome, 'refused')
    assert.equal(double.calls.length, start)
  })

  test('the order of the shop is never that of the whole', () => {
    assert.notEqual(shopOrder, order)
    assert.equal(shopOrder.length, 26)
  })

  test('whatever is answered, no verb throws and nothing strange becomes money', async () => {
    const names = [
      'status',
      'amount',
      'response_code',
      'type',
      'details',
      'buy_order',
      'session_id',
      'balance',
    ]
    const word = fc.constantFrom<unknown>('AUTHORIZED', 'CAPTURED', 'NULLIFIED', 'REVERSED', 0, 10_000, '0')
    const body = fc.oneof(
      fc.dictionary(
        fc.constantFrom(...names, 'token', 'url', 'error_message'),
        fc.oneof(word, fc.jsonValue()),
      ),
      fc.jsonValue(),
    )
    const refund = { refundId: 'rfd_1', amount: 1, isFull: false, key }
    const ref = createRef({ details: { authorization_code: '1' } })
    const answers = fc.asyncProperty(body, fc.constantFrom(200, 404, 422), async (answer, status) => {
      double.answerWith(answer, status)
      const context = double.context()
      const outcomes = [
        await transbank.read(ref, context),
        await transbank.commit?.(ref, context),
        await transbank.createPayment?.(createChargeCommand(), context),
      ]
      for (const outcome of outcomes) {
        const isMoney = outcome?.outcome === 'done' && (outcome.snapshot?.captured ?? 0) > 0
        assert.ok(!isMoney, JSON.stringify(outcome))
      }
      await transbank.capture?.(ref, 1, key, context)
      await transbank.refund(ref, refund, context)
      await transbank.check(context)
    })
    await fc.assert(answers, { numRuns: 60 })
  })
})
