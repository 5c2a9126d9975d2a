import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countEvents, type Stage } from './stage.ts'

const day = 24 * 60 * 60 * 1000

export function testSales(stage: Stage): void {
  testDirectSales(stage)
  testPages(stage)
  testHolds(stage)
  testHoldsLetGo(stage)
  testLimits(stage)
}

function testDirectSales(stage: Stage): void {
  const { fixture, server, sell } = stage
  const { provider, amount } = fixture

  test('a direct payment is confirmed, charged once and told once', async () => {
    const payment = await sell({ ...(await fixture.direct(server())), reference: 'order_42' })
    const confirmed = await server().until(payment.id, ({ status }) => status === 'confirmed')
    assert.equal(confirmed.captured, amount)
    const books = await server().books(provider, payment)
    assert.deepEqual([books.charges, books.charged], [1, amount])
    const counts = await countEvents(server(), payment.id, ['payment.created', 'payment.confirmed'])
    assert.deepEqual(counts, { 'payment.created': 1, 'payment.confirmed': 1 })
    const [event] = (await server().eventsOf(payment.id)).filter((one) => one.event === 'payment.confirmed')
    assert.deepEqual(
      [event?.['payment_id'], event?.['amount'], event?.['status'], event?.['reference']],
      [payment.id, amount, 'confirmed', 'order_42'],
    )
  })

  test('a declined payment is failed, with a reason in words for the customer', async () => {
    const { fields, code } = await fixture.declined(server())
    const payment = await sell(fields)
    assert.equal(payment.status, 'failed', JSON.stringify(payment))
    assert.equal(payment.failure?.code, code)
    assert.match(payment.failure?.message_es ?? '', /\p{L}{4}/u)
    assert.equal((await server().books(provider, payment)).charges, 0)
    const counts = await countEvents(server(), payment.id, ['payment.created', 'payment.failed'])
    assert.deepEqual(counts, { 'payment.created': 1, 'payment.failed': 1 })
  })
}

function testPages(stage: Stage): void {
  const { fixture, server, openPage } = stage
  const { provider, amount } = fixture

  test('a customer pays on the page and comes back to the shop with the payment id', async () => {
    const payment = await openPage()
    assert.equal(payment.status, 'requires_action')
    assert.ok(payment.next_action !== null)
    const shop = await server().customer(provider, payment, 'approve')
    assert.equal(shop?.origin, 'https://shop.example.com')
    assert.deepEqual(
      ['payment_id', 'order'].map((name) => shop.searchParams.get(name)),
      [payment.id, '42'],
    )
    const confirmed = await server().until(payment.id, ({ status }) => status === 'confirmed')
    assert.equal(confirmed.captured, amount)
    const counts = await countEvents(server(), payment.id, ['payment.confirmed'])
    assert.equal(counts['payment.confirmed'], 1)
    assert.equal((await server().books(provider, payment)).charges, 1)
  })

  test('a customer who is declined on the page leaves no charge', async () => {
    const payment = await openPage()
    await server().customer(provider, payment, fixture.decline.choice, fixture.decline.extra)
    const after = await server().read(payment.id)
    assert.ok(['failed', 'requires_action'].includes(after.status), after.status)
    assert.equal((await server().books(provider, payment)).charges, 0)
  })

  test('a customer who gives up goes where the shop said', async () => {
    const payment = await openPage()
    const shop = await server().customer(provider, payment, 'abort')
    assert.equal(shop?.pathname, '/cart')
    assert.equal(shop.searchParams.get('status'), 'canceled')
    assert.equal((await server().books(provider, payment)).charges, 0)
  })

  test('a customer who pays and never comes back has paid', async () => {
    const payment = await openPage()
    await server().customer(provider, payment, 'approve', { follow: false })
    await server().passTime(3 * day)
    const ended = await server().until(payment.id, ({ status }) => status !== 'requires_action')
    const books = await server().books(provider, payment)
    assert.equal(
      ended.status === 'confirmed',
      books.charges === 1,
      `${ended.status}, ${books.charges} charges`,
    )
  })

  test('a page that nobody uses expires', async () => {
    const payment = await openPage()
    await server().passTime(40 * day)
    const ended = await server().until(payment.id, ({ status }) => status !== 'requires_action')
    assert.ok(['expired', 'canceled'].includes(ended.status), ended.status)
    const counts = await countEvents(server(), payment.id, [`payment.${ended.status}`])
    assert.equal(counts[`payment.${ended.status}`], 1)
  })
}

function testHolds(stage: Stage): void {
  const { fixture, server } = stage
  const { provider, amount } = fixture

  test('held money is taken by a capture, once however often it is asked for', async () => {
    const held = await fixture.hold(server())
    assert.equal(held.status, 'authorized', JSON.stringify(held))
    assert.equal((await server().books(provider, held)).charges, 0)
    const capture = () => server().api.call('POST', `/payments/${held.id}/capture`, {})
    const answers = await Promise.all([capture(), capture(), capture()])
    assert.ok(
      answers.some(({ status }) => status === 200),
      JSON.stringify(answers.map(({ body }) => body)),
    )
    const books = await server().books(provider, held)
    assert.deepEqual([books.charges, books.charged], [1, amount])
    const counts = await countEvents(server(), held.id, ['payment.confirmed'])
    assert.deepEqual([counts['payment.authorized'], counts['payment.confirmed']], [1, 1])
  })

  test(
    'a part of held money can be taken where the provider can',
    { skip: !fixture.partialCapture },
    async () => {
      const held = await fixture.hold(server())
      const part = Math.floor(amount / 2)
      const { body } = await server().api.call<{ captured: number; status: string }>(
        'POST',
        `/payments/${held.id}/capture`,
        { amount: part },
      )
      assert.deepEqual([body.status, body.captured], ['confirmed', part])
      assert.equal((await server().books(provider, held)).charged, part)
    },
  )

  test('more than is held is refused before any call', async () => {
    const held = await fixture.hold(server())
    const refused = await server().refuse('POST', `/payments/${held.id}/capture`, { amount: amount + 1 })
    assert.deepEqual([refused.status, refused.code], [422, 'amount_too_large'])
  })
}

function testHoldsLetGo(stage: Stage): void {
  const { fixture, server } = stage
  const { provider } = fixture

  test('held money is let go by a cancel, and then it can not be taken', async () => {
    const held = await fixture.hold(server())
    const { body } = await server().api.call<{ status: string }>('POST', `/payments/${held.id}/cancel`)
    assert.equal(body.status, 'canceled')
    const refused = await server().refuse('POST', `/payments/${held.id}/capture`, {})
    assert.equal(refused.status, 409)
    assert.equal((await server().books(provider, held)).charges, 0)
    const counts = await countEvents(server(), held.id, ['payment.canceled'])
    assert.equal(counts['payment.canceled'], 1)
  })

  test('held money that nobody takes in time can not be taken any more', async () => {
    const held = await fixture.hold(server())
    assert.ok(held.possible.capture?.until)
    await server().passTime(Date.parse(held.possible.capture.until) - Date.parse(held.created_at) + 2 * day)
    const refused = await server().refuse('POST', `/payments/${held.id}/capture`, {})
    assert.equal(refused.status, 409)
    const ended = await server().until(held.id, ({ status }) => status !== 'authorized')
    assert.ok(['expired', 'canceled'].includes(ended.status), ended.status)
  })
}

function testLimits(stage: Stage): void {
  const { fixture, server, sell } = stage
  const { provider, amount, currency } = fixture

  test('an amount or currency the provider can not carry is refused in words', async () => {
    const direct = await fixture.direct(server())
    const bad = await server().refuse('POST', '/payments/create', {
      tenant_id: 'tableflow_123',
      provider,
      amount,
      currency: 'XTS',
      ...direct,
    })
    assert.deepEqual([bad.status, bad.code], [422, 'request_invalid'])
    const zero = await server().refuse('POST', '/payments/create', {
      tenant_id: 'tableflow_123',
      provider,
      amount: 0.5,
      currency,
      ...direct,
    })
    assert.equal(zero.status, 422)
  })

  test('one Idempotency-Key is one payment, however many calls carry it', async () => {
    const fields = await fixture.direct(server())
    const headers = { 'idempotency-key': `sale-${provider}-${Date.now()}` }
    const payments = await Promise.all(Array.from({ length: 5 }, () => sell(fields, headers)))
    assert.equal(new Set(payments.map(({ id }) => id)).size, 1)
    const [first] = payments
    assert.ok(first !== undefined)
    await server().until(first.id, ({ status }) => status === 'confirmed')
    assert.equal((await server().books(provider, first)).charges, 1)
    const other = await server().api.call<{ code: string }>(
      'POST',
      '/payments/create',
      { tenant_id: 'tableflow_123', provider, amount: amount + 1, currency, ...fields },
      headers,
    )
    assert.deepEqual([other.status, other.body.code], [422, 'idempotency_key_reused'])
  })
}
