import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { transbank } from './transbank.ts'
import {
  approved,
  createRef,
  oneclick,
  order,
  paymentId,
  returnUrl,
  savedCard,
  startDouble,
  token,
  webpay,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const other = '02cd'.repeat(16)
const session = { TBK_ID_SESION: paymentId, TBK_ORDEN_COMPRA: order }

describe('the return of a checkout', () => {
  const read = (parameters: Record<string, string> | string, changes = {}) =>
    transbank.readReturn?.(createRef(changes), new URLSearchParams(parameters))

  const rows: Array<[name: string, parameters: Record<string, string>, reading: object]> = [
    ['the normal end', { token_ws: token }, { next: 'commit' }],
    ['the token in capitals', { token_ws: token.toUpperCase() }, { next: 'commit' }],
    ['the customer gave up', { TBK_TOKEN: token, ...session }, { next: 'read', otherwise: 'canceled' }],
    ['the form timed out', session, { next: 'read', otherwise: 'expired' }],
    [
      'the other spelling',
      { TBK_ID_SESSION: paymentId, TBK_ORDEN_COMPRA: order },
      { next: 'read', otherwise: 'expired' },
    ],
    [
      'the form broke',
      { token_ws: token, TBK_TOKEN: token, ...session },
      { next: 'read', otherwise: 'failed' },
    ],
    ['nothing', {}, { next: 'read' }],
    ['something else', { utm_source: 'mail' }, { next: 'read' }],
  ]
  for (const [name, parameters, reading] of rows) {
    test(name, () => assert.deepEqual(read(parameters), reading))
  }

  const strange: Array<[name: string, parameters: Record<string, string> | string, changes?: object]> = [
    ['another token', { token_ws: other }],
    ['a token that climbs', { token_ws: 'x/../../../../oneclick/v1.2/transactions/other' }],
    ['an empty token', { token_ws: '' }],
    ['another aborted token', { TBK_TOKEN: other, ...session }],
    ['ours and another', { token_ws: token, TBK_TOKEN: other, ...session }],
    ['the same name twice', `token_ws=${token}&token_ws=${other}`],
    ['another order', { ...session, TBK_ORDEN_COMPRA: 'order-1' }],
    ['another session', { ...session, TBK_ID_SESION: 'pay_other' }],
    ['another session in the other spelling', { ...session, TBK_ID_SESSION: 'pay_other' }],
    ['a token before one was made', { token_ws: token }, { providerCheckoutId: undefined }],
    ['no token, before one was made', { token_ws: '' }, { providerCheckoutId: undefined }],
    ['a return of a charge', { token_ws: token }, { flow: 'direct' }],
  ]
  for (const [name, parameters, changes] of strange) {
    test(`refused: ${name}`, () => assert.equal(read(parameters, changes)?.next, 'refuse'))
  }
})

describe('a commit', () => {
  async function commit(message: string, status = 422) {
    double.answerWith({ error_message: message }, status)
    return transbank.commit?.(createRef(), double.context())
  }

  test('confirms what the customer agreed to', async () => {
    double.answerWith(approved())
    const outcome = await transbank.commit?.(createRef(), double.context())
    assert.ok(outcome?.outcome === 'done')
    assert.deepEqual([outcome.snapshot.status, outcome.snapshot.captured], ['confirmed', 10_000])
    const { method, path, body } = double.calls.at(-1) ?? {}
    assert.deepEqual([method, path, body], ['PUT', `${webpay}/transactions/${token}`, {}])
  })

  test('a second one, or one too early, is read instead', async () => {
    for (const message of [
      'Transaction already locked by another process',
      "Invalid status '0' for transaction while authorizing. Transaction should be in state 7",
      "Invalid status '7' for transaction",
    ]) {
      const outcome = await commit(message)
      assert.equal(outcome?.outcome === 'refused' && outcome.error.kind, 'state', message)
    }
  })

  const ends: Array<[message: string, status: string, code: string]> = [
    ["Invalid status '10' for transaction while authorizing.", 'canceled', 'canceled_by_customer'],
    ["Invalid status '19' for transaction while authorizing.", 'failed', 'authentication_failed'],
    ['Transaction has an invalid finished state: aborted', 'expired', 'timed_out'],
  ]
  for (const [message, status, code] of ends) {
    test(`${message} is ${status}, without a payment`, async () => {
      const outcome = await commit(message)
      assert.ok(outcome?.outcome === 'done')
      const { snapshot } = outcome
      assert.deepEqual([snapshot.status, snapshot.captured, snapshot.failure?.code], [status, 0, code])
      assert.deepEqual([snapshot.providerCheckoutId, snapshot.providerPaymentId], [token, undefined])
    })
  }

  test('a 5xx, and an answer that never comes, leave it unknown', async () => {
    assert.equal((await commit('Internal Server Error', 500))?.outcome, 'unknown')
    double.answerWith(undefined)
    const outcome = await transbank.commit?.(createRef(), double.context({}, { timeoutMs: 1_500 }))
    assert.equal(outcome?.outcome, 'unknown')
  })
})

describe('saving a card', () => {
  const method = { methodId: 'pmt_1', customer: { email: 'ana@example.com' } }
  const command = { ...method, tenantId: 't_1', returnUrl, key: 'pmt_1' }
  const ref = { ...method, providerInscriptionId: token }
  const url = 'https://webpay3gint.transbank.cl/webpayserver/bp_inscription.cgi'

  async function finish(parameters: Record<string, string>, changes = {}) {
    return transbank.finishMethod?.({ ...ref, ...changes }, new URLSearchParams(parameters), double.context())
  }

  test('the customer is sent to Transbank with a form that holds the token', async () => {
    double.answerWith({ token, url_webpay: url })
    assert.deepEqual(await transbank.saveMethod?.(command, double.context()), {
      outcome: 'done',
      snapshot: {
        status: 'pending',
        providerInscriptionId: token,
        action: { kind: 'redirect', method: 'POST', url, fields: { TBK_TOKEN: token } },
      },
    })
  })

  test('without an e-mail address, a username or Oneclick it is refused before any call', async () => {
    const start = double.calls.length
    const bare = {
      oneclickCommerceCode: undefined,
      oneclickChildCommerceCode: undefined,
      oneclickApiKey: undefined,
    }
    const odd = [
      await transbank.saveMethod?.({ ...command, customer: {} }, double.context()),
      await transbank.saveMethod?.(
        { ...command, customer: { email: `${'a'.repeat(100)}@b.cl` } },
        double.context(),
      ),
      await transbank.saveMethod?.({ ...command, methodId: `pmt_${'1'.repeat(40)}` }, double.context()),
      await transbank.saveMethod?.(command, double.context(bare)),
    ]
    for (const outcome of odd) assert.equal(outcome?.outcome, 'refused')
    assert.equal(double.calls.length, start)
  })

  const brands: Array<[card_type: string, type: string, brand: string]> = [
    ['Visa', 'card', 'visa'],
    ['AmericanExpress', 'card', 'americanexpress'],
    ['Redcompra', 'debit', 'redcompra'],
    ['Prepago', 'prepaid', 'prepago'],
  ]
  for (const [card_type, type, brand] of brands) {
    test(`a finished inscription is a saved ${type} (${brand})`, async () => {
      const { tbk_user } = savedCard
      double.answerWith({ response_code: 0, tbk_user, card_type, card_number: 'XXXXXXXXXXXX6623' })
      assert.deepEqual(await finish({ TBK_TOKEN: token }), {
        outcome: 'done',
        snapshot: {
          status: 'active',
          providerInscriptionId: token,
          token: savedCard,
          summary: { type, brand, last4: '6623' },
        },
      })
      assert.equal(double.calls.at(-1)?.path, `${oneclick}/inscriptions/${token}`)
    })
  }

  test('a customer who gave up is not finished', async () => {
    const start = double.calls.length
    const outcome = await finish({ TBK_TOKEN: token, TBK_ORDEN_COMPRA: 'x', TBK_ID_SESION: 'y' })
    assert.ok(outcome?.outcome === 'done')
    assert.deepEqual(
      [outcome.snapshot.status, outcome.snapshot.failure?.code],
      ['canceled', 'canceled_by_customer'],
    )
    assert.equal(double.calls.length, start)
  })

  test('a return of another inscription is refused before any call', async () => {
    const start = double.calls.length
    const odd: Array<[Record<string, string>, object]> = [
      [{}, {}],
      [{ TBK_TOKEN: other }, {}],
      [{ TBK_TOKEN: '../transactions' }, { providerInscriptionId: '../transactions' }],
      [{ TBK_TOKEN: token }, { providerInscriptionId: undefined }],
    ]
    for (const [parameters, changes] of odd) {
      assert.equal((await finish(parameters, changes))?.outcome, 'refused', JSON.stringify(parameters))
    }
    assert.equal(double.calls.length, start)
  })

  const ends: Array<[name: string, status: number, body: unknown, outcome: string, code?: string]> = [
    ['declined', 200, { response_code: -1 }, 'failed', 'invalid_data'],
    ['too late', 422, { error_message: 'Invalid status' }, 'failed', 'timed_out'],
    ['forgotten', 404, { error_message: 'Inscription not found' }, 'failed', 'timed_out'],
    ['being finished elsewhere', 422, { error_message: 'already locked by another process' }, 'refused'],
    ['not authorized', 401, { error_message: 'Not Authorized' }, 'refused'],
    ['broken', 500, { error_message: 'Internal Server Error' }, 'unknown'],
    ['approved without a card', 200, { response_code: 0 }, 'unknown'],
  ]
  for (const [name, status, body, expected, code] of ends) {
    test(`an inscription that is ${name}: ${expected}`, async () => {
      double.answerWith(body, status)
      const outcome = await finish({ TBK_TOKEN: token })
      const found = outcome?.outcome === 'done' ? outcome.snapshot.status : outcome?.outcome
      assert.equal(found, expected)
      if (outcome?.outcome === 'done') assert.equal(outcome.snapshot.failure?.code, code)
    })
  }

  test('a card is removed once, and one that is gone is removed as well', async () => {
    for (const [status, body] of [
      [204, ''],
      [404, { error_message: 'Inscription not found' }],
      [422, { error_message: 'Transaction not found' }],
    ] as const) {
      double.answerWith(body, status)
      assert.deepEqual(await transbank.removeMethod?.(savedCard, method, double.context()), {
        outcome: 'done',
      })
    }
    double.answerWith({}, 500)
    assert.equal((await transbank.removeMethod?.(savedCard, method, double.context()))?.outcome, 'unknown')
    assert.equal((await transbank.removeMethod?.({}, method, double.context()))?.outcome, 'refused')
  })
})
