import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { PaymentCommand } from './provider.ts'
import { accessToken, createPaymentCommand, createRef } from './testing/mercadopago.ts'
import { createSubscriptionCommand, type Double, errorOf, fail, startDouble } from './testing/mercadopago.ts'

let double: Double

before(async () => void (double = await startDouble()))
after(() => double.close())
beforeEach(() => double.reset())

function pay(changes: Partial<PaymentCommand> = {}, account: Record<string, unknown> = {}) {
  return mercadopago.createPayment?.(createPaymentCommand(changes), double.context(account))
}

const causes: Array<[status: number, code: number | string, kind: string]> = [
  ...[1, 2060, 2062, 2067, 2072, 2131, 3003, 3024, 3028, 3029, 3030, 4001, 4006, 4040, 4041, 4292].map(
    (code): [number, number, string] => [400, code, 'content'],
  ),
  [400, 2006, 'content'],
  [404, 2000, 'content'],
  [404, 2002, 'content'],
  [404, 2032, 'content'],
  [404, 3008, 'content'],
  [400, 2024, 'content'],
  [400, 15_016, 'content'],
  [400, 3, 'config'],
  [400, 2034, 'config'],
  [400, 2077, 'account'],
  [400, 3005, 'state'],
  [400, 2063, 'state'],
  [400, 2017, 'state'],
  [400, 4296, 'state'],
  [403, 4, 'auth'],
  [403, 3002, 'auth'],
]
for (const [status, code, kind] of causes) {
  test(`HTTP ${status} with cause ${code} is ${kind}, and nothing happened`, async () => {
    double.on('POST /v1/payments', { status, body: fail(code, 'No') })
    const message = `MercadoPago: No (${code})`
    const error = errorOf(await pay())
    assert.deepEqual(
      [error.outcome, error.kind, error.code, error.message, error.httpStatus],
      ['refused', kind, String(code), message, status],
    )
  })
}

test('without a cause the HTTP status decides', async () => {
  const body = { message: 'No', error: 'x', cause: [] }
  const kinds = []
  for (const status of [400, 401, 403, 404, 422, 423, 429]) {
    double.on('POST /v1/payments', { status, body, headers: { 'retry-after': '7' } })
    const { outcome, kind, retry } = errorOf(await pay())
    kinds.push([status, outcome, kind, retry])
  }
  assert.deepEqual(kinds, [
    [400, 'refused', 'content', 'never'],
    [401, 'refused', 'auth', 'never'],
    [403, 'refused', 'auth', 'never'],
    [404, 'refused', 'config', 'never'],
    [422, 'refused', 'content', 'never'],
    [423, 'refused', 'state', 'backoff'],
    [429, 'refused', 'rate_limited', { afterMs: 7_000 }],
  ])
})

test('nobody knows after 402, 408, 409, 424, every 5xx, HTML and nothing: the key may be sent again', async () => {
  const body = { message: 'The call is being processed', error: 'conflict' }
  for (const status of [402, 408, 409, 424, 500, 502, 503, 504]) {
    double.on('POST /v1/payments', { status, body })
    const { outcome, retry } = errorOf(await pay())
    assert.deepEqual([status, outcome, retry], [status, 'unknown', 'backoff'])
  }
  for (const text of ['<html>Bad Gateway</html>', '', '{"id":1}']) {
    double.on('POST /v1/payments', { status: 200, body: text })
    assert.equal(errorOf(await pay()).outcome, 'unknown', text)
  }
})

test('a key that met another body may have acted before, whatever the status', async () => {
  double.on('POST /v1/payments', {
    status: 400,
    body: fail(9999, 'Idempotency key was used with another body'),
  })
  assert.equal(errorOf(await pay()).outcome, 'unknown')
  double.on('POST /v1/payments', {
    status: 400,
    body: fail(4292, 'Header X-Idempotency-Key can’t be null'),
  })
  assert.equal(errorOf(await pay()).outcome, 'refused')
})

test('a subscription that may have been made is not to be made again: its key is not honoured', async () => {
  double.on('POST /preapproval/', { status: 502, body: '<html>' })
  const outcome = await mercadopago.subscriptions?.create(createSubscriptionCommand(), double.context())
  const { outcome: kind, retry } = errorOf(outcome)
  assert.deepEqual([kind, retry], ['unknown', 'never'])
})

test('no message repeats a secret, in the words or in the code', async () => {
  const echo = `token ${accessToken} is wrong, so is mp_secret_tenantA`
  double.on('POST /v1/payments', { status: 400, body: fail(accessToken, echo) })
  double.on('GET /users/me', { status: 401, body: { message: echo } })
  const texts = [
    JSON.stringify(await pay()),
    JSON.stringify(await pay({}, { currency: undefined })),
    JSON.stringify(await mercadopago.check(double.context())),
  ]
  for (const text of texts) {
    assert.doesNotMatch(text, /fake0fake0|mp_secret_tenantA/)
    assert.match(text, /is wrong/)
  }
})

test('an id that is none never becomes part of a path', async () => {
  for (const providerPaymentId of ['1/refunds', '../users/me', '1?x=1', '']) {
    const ref = createRef({ providerPaymentId })
    const context = double.context()
    const outcomes = [
      await mercadopago.read(ref, context),
      await mercadopago.capture?.(ref, 100, 'k', context),
      await mercadopago.cancel?.(ref, 'k', context),
      await mercadopago.refund(ref, { refundId: 'r', amount: 100, isFull: false, key: 'k' }, context),
    ]
    for (const outcome of outcomes) assert.equal(errorOf(outcome).outcome, 'refused')
  }
  assert.equal(double.calls.length, 0)
})

test('without a payment there is nothing to capture, cancel or refund: its state is read', async () => {
  const { providerPaymentId: _, ...ref } = createRef()
  const wish = { refundId: 'r', amount: 100, isFull: false, key: 'k' }
  for (const outcome of [
    await mercadopago.capture?.(ref, 100, 'k', double.context()),
    await mercadopago.cancel?.(ref, 'k', double.context()),
    await mercadopago.refund(ref, wish, double.context()),
  ]) {
    assert.equal(errorOf(outcome).kind, 'state')
  }
})
