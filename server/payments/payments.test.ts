import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { paymentProviders } from './providers/index.ts'
import type { Payment, Refund } from './schema.ts'
import { accounts, type PaymentsServer, startPaymentsServer, tenantId } from './testing/server.ts'

const server = await startPaymentsServer({ after }, { PIPECORE_PROVIDER_TIMEOUT_MS: '1000' })
const sale = { provider: 'stripe', amount: 15_990, currency: 'CLP', token: 'pm_card_visa' }
const sell = (extra: object = {}) => server.pay({ ...sale, ...extra })
const breakCalls = (fault: string, rest: object = {}) =>
  server.control('POST', 'payment-faults', { provider: 'stripe', fault, operation: 'create', ...rest })
const mend = () => server.control('DELETE', 'payment-faults')
const refund = (id: string, body: object = {}) =>
  server.api.call<Refund & { code: string }>('POST', `/payments/${id}/refunds`, body)
const isEnded = ({ under_way: underWay }: Payment) => underWay === null

describe('a refusal tells nothing of the call before it', () => {
  for (const second of ['rate_limited', 'unauthorized']) {
    test(`a charge whose answer was lost and whose repetition is ${second} is no failure`, async () => {
      await breakCalls('reset_after', { times: 1 })
      await breakCalls(second, { times: 8, retry_after: 0 })
      const payment = await sell()
      // A provider may know the key before it refuses.
      assert.ok(['unknown', 'confirmed'].includes(payment.status), JSON.stringify(payment.failure))
      const stuck = await server.waitFor(payment.id, ({ status }) => status === 'confirmed')
      await mend()
      assert.equal(stuck.captured, sale.amount)
      assert.equal((await server.books('stripe', payment)).charges, 1)
    })
  }

  test('a refund whose answer was lost and whose repetition is refused is no failure', async () => {
    const payment = await sell()
    await breakCalls('reset_after', { operation: 'refund', times: 1 })
    await breakCalls('rate_limited', { operation: 'refund', times: 4, retry_after: 0 })
    const asked = await refund(payment.id, { amount: 5_000 })
    assert.notEqual(asked.body.status, 'failed')
    await server.waitFor(payment.id, isEnded)
    await mend()
    const books = await server.books('stripe', payment)
    assert.deepEqual([books.refunds, books.refunded], [1, 5_000])
    assert.equal((await server.read(payment.id)).refunded, 5_000)
  })
})

test('a refund that was spent in the dashboard meanwhile fails, and what is left can still be given back', async () => {
  // A webhook about the sale that is read late would tell of the refund as well.
  await breakCalls('webhook_dropped')
  const { id } = await sell()
  await mend()
  const payment = await server.until(id, ({ status }) => status === 'confirmed')
  const elsewhere = { provider: 'stripe', action: 'refund', payment: payment.provider_payment_id }
  await server.control('POST', 'act', { ...elsewhere, amount: 10_000, webhook: false })
  await refund(payment.id)
  const after = await server.waitFor(payment.id, isEnded)
  assert.equal(after.refunded, 10_000)
  const rest = await refund(payment.id)
  assert.deepEqual([rest.status, rest.body.status, rest.body.amount], [201, 'succeeded', 5_990])
  assert.equal((await server.books('stripe', payment)).refunded, sale.amount)
})

test('a payment names what is missing, every fault at once, and stores nothing', async () => {
  const before = await countPayments(server)
  const refused = await server.refuse('POST', '/payments/create', {
    tenant_id: tenantId,
    provider: 'mercadopago',
    amount: 1_299_050,
    currency: 'COP',
  })
  assert.deepEqual([refused.status, refused.code], [422, 'request_invalid'])
  const text = JSON.stringify(refused)
  assert.match(text, /COP 12990\.50 can't be sent to MercadoPago/)
  assert.match(text, /return_url/)
  assert.equal(await countPayments(server), before)
})

describe('where a payment goes', () => {
  test('to the first by priority that takes the currency', async () => {
    const page = await server.pay({ amount: 9_990, currency: 'CLP', return_url: 'https://shop.example.com' })
    assert.equal(page.provider, 'mercadopago')
    const dollars = await server.pay({ amount: 9_990, currency: 'KWD', token: 'pm_card_visa' })
    assert.equal(dollars.provider, 'stripe')
  })

  test('not to a provider that was switched off', async () => {
    const path = `/payments/config/${tenantId}/${server.connections.mercadopago}`
    await server.api.call('PATCH', path, { isActive: false })
    const page = await server.pay({ amount: 9_990, currency: 'CLP', return_url: 'https://shop.example.com' })
    await server.api.call('PATCH', path, { isActive: true })
    assert.equal(page.provider, 'transbank')
  })

  test('saving another provider switches none off', async () => {
    const { body } = await server.api.call<{ data: Array<{ provider: string; isActive: boolean }> }>(
      'GET',
      `/payments/config/${tenantId}`,
    )
    assert.deepEqual(body.data.map(({ provider, isActive }) => `${provider} ${isActive}`).toSorted(), [
      'mercadopago true',
      'stripe true',
      'transbank true',
    ])
  })
})

test('a payment is refunded with the keys that replaced those it was made with', async () => {
  const payment = await sell()
  await server.until(payment.id, ({ status }) => status === 'confirmed')
  const second = 'sk_test_tableflow_second'
  await server.control('PUT', `accounts/stripe/${accounts.stripe}`, { secret_key: second })
  const credentials = { secretKey: second }
  await server.api.call('POST', '/payments/config/provider', { tenantId, provider: 'stripe', credentials })
  // Those it was made with are forgotten after three days.
  await server.passTime(5 * 24 * 60 * 60 * 1000)
  const { status, body } = await refund(payment.id, { amount: 1_000 })
  assert.deepEqual([status, body.status], [201, 'succeeded'], JSON.stringify(body))
})

test('keys that replace others of the same account are used at once', () => {
  const same: Array<[string, object, object]> = [
    ['stripe', { secretKey: 'sk_test_51FakeAccountId0aaaa' }, { secretKey: 'rk_test_51FakeAccountId0bbbb' }],
    ['mercadopago', { accessToken: 'APP_USR-1-fake-44444' }, { accessToken: 'APP_USR-2-fake-44444' }],
    ['transbank', { commerceCode: accounts.webpay }, { commerceCode: accounts.webpay, apiKey: 'other' }],
  ]
  for (const [id, before, after] of same) {
    const provider = paymentProviders.find((one) => one.id === id)
    const account = provider?.accountOf?.(before)
    assert.ok(account)
    assert.equal(provider?.accountOf?.(after), account)
  }
})

test('of several processes that look at once, one tells', async () => {
  await breakCalls('hang_after', { times: 1 })
  await breakCalls('webhook_duplicate', { times: 4 })
  const payment = await sell()
  await Promise.all(
    Array.from({ length: 6 }, () =>
      server.api.call('POST', '/payments/reconciliations', { tenant_id: tenantId, provider: 'stripe' }),
    ),
  )
  await server.waitFor(payment.id, ({ status }) => status === 'confirmed')
  await mend()
  const events = await server.eventsOf(payment.id, ['payment.created', 'payment.confirmed'])
  const confirmed = events.filter(({ event }) => event === 'payment.confirmed')
  assert.equal(confirmed.length, 1)
})

async function countPayments({ api }: PaymentsServer): Promise<number> {
  const { body } = await api.call<{ data: unknown[] }>('GET', `/payments?tenant_id=${tenantId}&limit=200`)
  return body.data.length
}
