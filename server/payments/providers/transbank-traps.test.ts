import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Options, WebpayPlus } from 'transbank-sdk'
import { transbank } from './transbank.ts'
import {
  apiKey,
  approved,
  createCheckoutCommand,
  createRef,
  oneclick,
  order,
  paymentId,
  readAccount,
  returnUrl,
  startDouble,
  token,
  webpay,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const { commerceCode } = readAccount()

function sdkTransaction(timeoutMs?: number) {
  return new WebpayPlus.Transaction(new Options(commerceCode, apiKey, double.url, timeoutMs))
}

describe('what the SDK does and we do not', () => {
  const climbing = 'x/../../../../oneclick/v1.2/transactions/other'

  test('a token from the browser climbs to another path with the keys of the tenant', async () => {
    double.answerWith(approved())
    await sdkTransaction(5_000).status(climbing)
    const call = double.calls.at(-1)
    assert.equal(call?.path, `${oneclick}/transactions/other`)
    assert.equal(call?.headers['tbk-api-key-secret'], apiKey)
    await sdkTransaction(5_000).status('a?x=1#z')
    assert.equal(double.calls.at(-1)?.path, `${webpay}/transactions/a?x=1`)
  })

  test('ours is refused before any call, in every verb', async () => {
    const start = double.calls.length
    for (const odd of [climbing, 'a?x=1#z', `${token}0`, token.slice(1), `${token.slice(1)}g`]) {
      const ref = createRef({ providerCheckoutId: odd, details: { authorization_code: '1' } })
      const context = double.context()
      const refund = { refundId: 'rfd_1', amount: 1, isFull: false, key: 'k' }
      for (const outcome of [
        await transbank.read(ref, context),
        await transbank.commit?.(ref, context),
        await transbank.capture?.(ref, 1, 'k', context),
        await transbank.cancel?.(ref, 'k', context),
        await transbank.refund(ref, refund, context),
      ]) {
        assert.equal(outcome?.outcome, 'refused', odd)
      }
    }
    assert.equal(double.calls.length, start)
  })

  test('its errors have neither a status nor a class: ours say what happened', async () => {
    double.answerWith({ error_message: 'Transaction already locked by another process' }, 422)
    const error = await sdkTransaction(5_000)
      .commit(token)
      .then(
        () => assert.fail('it was refused'),
        (caught: unknown) => caught as Error & Record<string, unknown>,
      )
    assert.deepEqual([error.name, error.constructor.name], ['TransbankError', 'Error'])
    assert.deepEqual(
      ['status', 'code', 'response'].map((name) => error[name]),
      [undefined, undefined, undefined],
    )
    const outcome = await transbank.commit?.(createRef(), double.context())
    assert.ok(outcome?.outcome === 'refused')
    const { kind, code, httpStatus } = outcome.error
    assert.deepEqual([kind, code, httpStatus], ['state', 'locked', 422])
  })

  test('it waits ten minutes for an answer: ours waits as long as it is told', async () => {
    assert.equal(new Options(commerceCode, apiKey, double.url).timeout, 10 * 60_000)
    double.answerWith(undefined)
    const outcome = await transbank.read(createRef(), double.context({}, { timeoutMs: 1_500 }))
    assert.equal(outcome.outcome, 'unknown')
  })

  test('it sends broken amounts, and amounts that are texts', async () => {
    double.answerWith({ token, url: 'https://webpay3gint.transbank.cl/' })
    for (const amount of [10.99, '10000', -1]) {
      await sdkTransaction(5_000).create(order, paymentId, amount as number, returnUrl)
      assert.ok(JSON.stringify(double.calls.at(-1)?.body).includes(`"amount":${JSON.stringify(amount)}`))
    }
    const start = double.calls.length
    for (const amount of [10.99, -1, 0, Number.NaN, Infinity]) {
      const outcome = await transbank.createCheckout(createCheckoutCommand({ amount }), double.context())
      assert.equal(outcome.outcome, 'refused', String(amount))
    }
    assert.equal(double.calls.length, start)
  })

  test('it believes an answer of another amount: ours confirms nothing', async () => {
    double.answerWith(approved({ amount: 1 }))
    const answer = (await sdkTransaction(5_000).commit(token)) as Record<string, unknown>
    assert.deepEqual([answer.status, answer.response_code], ['AUTHORIZED', 0])
    assert.equal((await transbank.commit?.(createRef(), double.context()))?.outcome, 'unknown')
  })
})
