import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Payment } from '../schema.ts'
import { countEvents, type Stage } from './stage.ts'

export function testFaults(stage: Stage): void {
  testLostCalls(stage)
  testOddAnswers(stage)
  testLostChanges(stage)
}

function testLostCalls(stage: Stage): void {
  const { fixture, server, sell } = stage

  for (const fault of ['hang', 'hang_after', 'reset', 'reset_after', 'server_error', 'server_error_after']) {
    test(`${fault}: the payment ends with the truth, charged at most once`, async () => {
      const fields = await fixture.direct(server())
      await breakCalls(stage, fault)
      const payment = await sell(fields)
      const end = await ended(stage, payment.id)
      assert.ok(['confirmed', 'failed'].includes(end.status), end.status)
      if (fault.endsWith('_after')) assert.equal(end.status, 'confirmed')
      await agrees(stage, end)
      const { steps } = await server().story(payment.id)
      assert.ok(
        steps.length >= 3 && steps.every(({ text }) => text.length > 5),
        JSON.stringify(steps.map(({ text }) => text)),
      )
    })
  }

  test('rate_limited: it is tried again when the provider said, and charged once', async () => {
    const fields = await fixture.direct(server())
    await breakCalls(stage, 'rate_limited', { times: 1, retry_after: 1 })
    const payment = await sell(fields)
    await agrees(stage, await ended(stage, payment.id))
    assert.equal((await server().read(payment.id)).status, 'confirmed')
  })

  test('transient: an error in the provider’s own words ends with the truth', async () => {
    const fields = await fixture.direct(server())
    await breakCalls(stage, 'transient')
    await agrees(stage, await ended(stage, (await sell(fields)).id))
  })
}

function testOddAnswers(stage: Stage): void {
  const { fixture, server, sell } = stage

  test('unauthorized: the payment fails, and no credential shows anywhere', async () => {
    const fields = await fixture.direct(server())
    await breakCalls(stage, 'unauthorized')
    const payment = await sell(fields)
    await server().control('DELETE', 'payment-faults')
    assert.equal(payment.status, 'failed')
    assert.equal(payment.failure?.retry, 'never')
    const told = JSON.stringify([payment, await server().story(payment.id), server().receiver.events])
    for (const secret of fixture.secrets) assert.ok(!told.includes(secret), `${secret.slice(0, 6)}… shows`)
  })

  test('odd_status: a word nobody knows is no success, and the truth is found', async () => {
    const fields = await fixture.direct(server())
    await breakCalls(stage, 'odd_status', { times: 1 })
    const payment = await sell(fields)
    assert.notEqual(payment.status, 'failed')
    await agrees(stage, await server().waitFor(payment.id, ({ status }) => status === 'confirmed'))
  })
}

function testLostChanges(stage: Stage): void {
  const { fixture, server, sell } = stage
  const { provider } = fixture

  test('a capture whose answer was lost is found, not repeated', async () => {
    const held = await fixture.hold(server())
    await breakCalls(stage, 'reset_after', { operation: 'capture' })
    await server().api.call('POST', `/payments/${held.id}/capture`, {})
    await agrees(stage, await ended(stage, held.id))
    assert.equal((await server().read(held.id)).status, 'confirmed')
  })

  test('a cancel whose answer was lost is found', async () => {
    const held = await fixture.hold(server())
    await breakCalls(stage, 'hang_after', { operation: 'cancel' })
    await server().api.call('POST', `/payments/${held.id}/cancel`)
    const end = await ended(stage, held.id)
    assert.equal(end.status, 'canceled')
    assert.equal((await server().books(provider, held)).charges, 0)
  })

  test('a provider that answers nothing for a while delays the truth and changes nothing', async () => {
    const fields = await fixture.direct(server())
    await breakCalls(stage, 'hang_after')
    const payment = await sell(fields)
    await breakCalls(stage, 'server_error', { operation: 'read', times: 3 })
    await agrees(stage, await ended(stage, payment.id))
    assert.equal((await server().read(payment.id)).status, 'confirmed')
  })
}

function breakCalls({ fixture, server }: Stage, fault: string, rest: object = {}) {
  const rule = { provider: fixture.provider, fault, operation: 'create', times: 2, ...rest }
  return server().control('POST', 'payment-faults', rule)
}

/** Minutes pass until the end is known. */
async function ended({ server }: Stage, id: string): Promise<Payment> {
  const isKnown = ({ under_way: underWay, status }: Payment) => underWay === null && status !== 'unknown'
  const payment = await server().waitFor(id, isKnown)
  await server().control('DELETE', 'payment-faults')
  return payment
}

/** What the books say must be what the payment and its events say. */
async function agrees({ fixture, server }: Stage, payment: Payment): Promise<void> {
  const books = await server().books(fixture.provider, payment)
  const isPaid = payment.status === 'confirmed'
  const expected = isPaid ? [1, fixture.amount] : [0, 0]
  assert.deepEqual([books.charges, books.charged], expected, payment.status)
  const counts = await countEvents(server(), payment.id, [`payment.${payment.status}`])
  for (const [event, count] of Object.entries(counts)) assert.equal(count, 1, `${event} ${count} times`)
}
