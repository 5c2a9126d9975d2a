import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { PaymentCommand } from './provider.ts'
import { createPaymentCommand, type Double, errorOf, fail, payment } from './testing/mercadopago.ts'
import { paymentId, returnUrl, savedChoice, snapshotOf, startDouble } from './testing/mercadopago.ts'

let double: Double

before(async () => void (double = await startDouble()))
after(() => double.close())
beforeEach(() => double.reset())

function pay(changes: Partial<PaymentCommand> = {}, account: Record<string, unknown> = {}) {
  return mercadopago.createPayment?.(createPaymentCommand(changes), double.context(account))
}

const path = 'POST /v1/card_tokens'

test('a saved card is charged by a token made of it, in the name of its customer', async () => {
  double.on(path, { status: 201, body: { id: 'tok_of_card' } })
  double.on('POST /v1/payments', { status: 201, body: payment() })
  await pay({ method: savedChoice, offSession: true, customer: {} }, { threeDSecure: 'mandatory' })
  const [made, charged] = double.calls
  assert.deepEqual(made?.body, { card_id: '9876', customer_id: '123-cus' })
  assert.equal(made.headers['x-idempotency-key'], `${paymentId}-token`)
  const body = charged?.body as Record<string, unknown>
  assert.deepEqual(
    [body.token, body.payment_method_id, body.issuer_id, body.payer],
    ['tok_of_card', 'master', 24, { type: 'customer', id: '123-cus' }],
  )
  assert.equal('three_d_secure_mode' in body, false, 'nobody is there to answer the bank')
})

test('a saved card without a token is a payment that certainly did not happen', async () => {
  for (const status of [500, 429]) {
    double.on(path, { status, body: { message: 'internal_error' } })
    const { outcome, retry } = errorOf(await pay({ method: savedChoice }))
    assert.deepEqual([outcome, retry], ['refused', 'backoff'])
  }
  assert.ok(double.calls.every(({ target }) => target === '/v1/card_tokens'))
})

test('a saved card that wants its security code says so', async () => {
  double.on(path, { status: 400, body: fail('E302', 'invalid parameter security_code') })
  assert.match(errorOf(await pay({ method: savedChoice })).message, /let the customer enter it/)
  double.on(path, { status: 201, body: { id: 'tok_of_card' } })
  const body = fail(2062, 'Card token was generated without cvv validation')
  double.on('POST /v1/payments', { status: 400, body })
  assert.match(errorOf(await pay({ method: savedChoice })).message, /let the customer enter it/)
  assert.doesNotMatch(errorOf(await pay()).message, /let the customer enter it/)
})

test('a card is saved by a token, for the customer who has the address or for a new one', async () => {
  const card = {
    id: 9876,
    last_four_digits: '2580',
    payment_method: { id: 'master', payment_type_id: 'credit_card' },
    issuer: { id: 24 },
  }
  const command = {
    methodId: 'pmt_1',
    tenantId: 't_1',
    customer: { email: 'ana@example.com', name: 'Ana Pérez' },
    token: 'tok_fake',
    returnUrl,
    key: 'key_1',
  }
  double.on('POST /v1/customers/123-cus/cards', { status: 201, body: card })
  double.on('GET /v1/customers/search', { results: [{ id: '123-cus' }] })
  const snapshot = snapshotOf(await mercadopago.saveMethod?.(command, double.context()))
  assert.deepEqual(snapshot, {
    status: 'active',
    token: { customer: '123-cus', card: '9876', brand: 'master', issuer: '24' },
    summary: { type: 'card', brand: 'mastercard', last4: '2580' },
  })
  assert.equal(double.calls[0]?.target, '/v1/customers/search?email=ana%40example.com')
  double.on('GET /v1/customers/search', { results: [] })
  double.on('POST /v1/customers', { status: 201, body: { id: '123-cus' } })
  snapshotOf(await mercadopago.saveMethod?.(command, double.context()))
  const [customer, saved] = double.calls.slice(-2)
  assert.deepEqual(customer?.body, { email: 'ana@example.com', first_name: 'Ana', last_name: 'Pérez' })
  assert.deepEqual(
    [customer.headers['x-idempotency-key'], saved?.headers['x-idempotency-key'], saved?.body],
    ['key_1-customer', 'key_1-card', { token: 'tok_fake' }],
  )
})

test('a card that is gone already is removed, and no other path is ever called', async () => {
  const ref = { methodId: 'pmt_1', customer: {} }
  const { customer, card } = savedChoice.token
  const gone = await mercadopago.removeMethod?.({ customer, card }, ref, double.context())
  assert.deepEqual(gone, { outcome: 'done' })
  double.on(`DELETE /v1/customers/${customer}/cards/${card}`, { body: '' })
  assert.equal((await mercadopago.removeMethod?.({ customer, card }, ref, double.context()))?.outcome, 'done')
  double.calls.length = 0
  const wrong: Array<Record<string, string>> = [
    {},
    { customer, card: '' },
    { customer, card: '../../payments' },
  ]
  for (const token of wrong) {
    const outcome = await mercadopago.removeMethod?.(token, ref, double.context())
    assert.equal(errorOf(outcome).outcome, 'refused')
  }
  assert.equal(double.calls.length, 0)
})
