import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Payment, Refund } from '../schema.ts'
import { countEvents, type Stage } from './stage.ts'

const day = 24 * 60 * 60 * 1000

export function testMoneyBack(stage: Stage): void {
  testRefunds(stage)
  testRefundFaults(stage)
  testRefundLimits(stage)
}

function testRefunds(stage: Stage): void {
  const { fixture, server } = stage
  const { provider, amount } = fixture

  test('all of a payment is given back, once, and told once', async () => {
    const payment = await paid(stage)
    const { status, body } = await refund(stage, payment.id, { reason: 'El cliente no llegó' })
    assert.equal(status, 201, JSON.stringify(body))
    assert.deepEqual([body.status, body.amount], ['succeeded', amount])
    const books = await server().books(provider, payment)
    assert.deepEqual([books.refunds, books.refunded], [1, amount])
    const counts = await countEvents(server(), payment.id, ['payment.refunded', 'refund.succeeded'])
    assert.deepEqual(
      [counts['payment.refunded'], counts['refund.succeeded'], counts['payment.confirmed']],
      [1, 1, 1],
    )
    assert.equal((await server().read(payment.id)).refunded, amount)
    const again = await refund(stage, payment.id)
    assert.deepEqual([again.status, again.body.code], [409, 'payment_refunded'])
  })

  test('parts add up, and no more than was taken is given back', async () => {
    const payment = await paid(stage)
    const part = Math.floor(amount / 3)
    assert.equal((await refund(stage, payment.id, { amount: part })).status, 201)
    assert.equal((await refund(stage, payment.id, { amount: part })).status, 201)
    const tooMuch = await refund(stage, payment.id, { amount })
    assert.deepEqual([tooMuch.status, tooMuch.body.code], [422, 'amount_too_large'])
    assert.equal((await refund(stage, payment.id)).body.amount, amount - 2 * part)
    const books = await server().books(provider, payment)
    assert.deepEqual([books.refunds, books.refunded], [3, amount])
  })

  test('refunds that are asked for at once never exceed what was taken', async () => {
    const payment = await paid(stage)
    const part = Math.floor(amount * 0.6)
    await Promise.all(Array.from({ length: 4 }, () => refund(stage, payment.id, { amount: part })))
    const books = await server().books(provider, payment)
    assert.deepEqual([books.refunds, books.refunded], [1, part])
  })

  test('one Idempotency-Key is one refund', async () => {
    const payment = await paid(stage)
    const part = Math.floor(amount / 4)
    const headers = { 'idempotency-key': `refund-${payment.id}` }
    const answers = await Promise.all(
      Array.from({ length: 3 }, () => refund(stage, payment.id, { amount: part }, headers)),
    )
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1, JSON.stringify(answers))
    assert.equal((await server().books(provider, payment)).refunds, 1)
  })
}

function testRefundFaults(stage: Stage): void {
  const { fixture, server } = stage
  const { provider, amount } = fixture

  test('a refund whose answer was lost is found, not repeated', async () => {
    const payment = await paid(stage)
    await server().control('POST', 'payment-faults', {
      provider,
      fault: 'hang_after',
      operation: 'refund',
      times: 2,
    })
    const { body } = await refund(stage, payment.id, { amount: Math.floor(amount / 2) })
    assert.ok(['unknown', 'succeeded'].includes(body.status), JSON.stringify(body))
    await settled(stage, payment.id)
    const books = await server().books(provider, payment)
    assert.deepEqual([books.refunds, books.refunded], [1, Math.floor(amount / 2)])
    const counts = await countEvents(server(), payment.id, ['payment.refunded', 'refund.succeeded'])
    assert.deepEqual([counts['payment.refunded'], counts['refund.succeeded']], [1, 1])
  })

  test('a refund that never arrived is made after all, once', async () => {
    const payment = await paid(stage)
    await server().control('POST', 'payment-faults', {
      provider,
      fault: 'hang',
      operation: 'refund',
      times: 2,
    })
    const asked = await refund(stage, payment.id)
    if (asked.body.status === 'unknown') {
      const { under_way: underWay } = await server().read(payment.id)
      assert.deepEqual(underWay, { operation: 'refund', state: 'unknown' })
    }
    await settled(stage, payment.id)
    const books = await server().books(provider, payment)
    assert.deepEqual([books.refunds, books.refunded], [1, amount])
  })
}

function testRefundLimits(stage: Stage): void {
  const { fixture, server } = stage
  const { provider, amount } = fixture

  test('a refund made at the provider is found and told', async () => {
    await server().control('POST', 'payment-faults', {
      provider,
      fault: 'webhook_dropped',
      operation: 'create',
    })
    const payment = await paid(stage)
    await server().control('DELETE', 'payment-faults')
    const part = Math.floor(amount / 2)
    await server().control('POST', 'act', {
      provider,
      action: 'refund',
      payment: payment.provider_payment_id,
      amount: part,
      ...(fixture.webhooks && { webhook: false }),
    })
    const { body } = await server().api.call<{ id: string }>('POST', '/payments/reconciliations', {
      tenant_id: 'tableflow_123',
      provider,
    })
    assert.ok(body.id)
    const found = await server().until(payment.id, ({ refunded }) => refunded === part)
    assert.equal(found.status, 'confirmed')
    const counts = await countEvents(server(), payment.id, ['payment.drift_detected', 'payment.refunded'])
    assert.deepEqual([counts['payment.drift_detected'], counts['payment.refunded']], [1, 1])
  })

  test('what is too late is refused before any call', async () => {
    const payment = await paid(stage)
    const until = payment.possible.refund?.until
    assert.ok(until)
    await server().passTime(Date.parse(until) - Date.parse(payment.created_at) + day)
    const late = await refund(stage, payment.id)
    assert.deepEqual([late.status, late.body.code], [409, 'refund_too_late'])
    assert.equal((await server().books(provider, payment)).refunds, 0)
  })
}

async function paid({ fixture, server, sell }: Stage): Promise<Payment> {
  const payment = await sell(await fixture.direct(server()))
  return server().until(payment.id, ({ status }) => status === 'confirmed')
}

function refund({ server }: Stage, id: string, body: object = {}, headers?: Record<string, string>) {
  return server().api.call<Refund & { code: string }>('POST', `/payments/${id}/refunds`, body, headers)
}

/** Lets the janitor look until the operation has an end. */
function settled({ server }: Stage, id: string): Promise<Payment> {
  return server().waitFor(id, ({ under_way: underWay }) => underWay === null)
}
