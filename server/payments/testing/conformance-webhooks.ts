import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countEvents, type Stage } from './stage.ts'

const day = 24 * 60 * 60 * 1000

export function testWebhooks(stage: Stage): void {
  testReports(stage)
  testReturns(stage)
}

function testReports(stage: Stage): void {
  const { fixture, server, sell, openPage } = stage
  const { provider } = fixture
  const skip = !fixture.webhooks

  for (const fault of ['webhook_duplicate', 'webhook_reordered', 'webhook_late', 'webhook_early']) {
    test(`${fault}: every event comes once`, { skip }, async () => {
      const fields = await fixture.direct(server())
      await server().control('PATCH', 'settings', { late_ms: 300 })
      await server().control('POST', 'payment-faults', { provider, fault, operation: 'create', times: 1 })
      const payment = await sell(fields)
      await server().until(payment.id, ({ status }) => status === 'confirmed')
      await taken(stage)
      const counts = await countEvents(server(), payment.id, ['payment.created', 'payment.confirmed'])
      assert.deepEqual(counts, { 'payment.created': 1, 'payment.confirmed': 1 })
    })
  }

  test('webhook_dropped: what nobody reported is found by looking', { skip }, async () => {
    const payment = await openPage()
    await server().control('POST', 'payment-faults', { provider, fault: 'webhook_dropped', times: 1 })
    await server().customer(provider, payment, 'approve', { follow: false })
    await server().passTime(3 * day)
    const ended = await server().until(payment.id, ({ status }) => status !== 'requires_action')
    const { charges } = await server().books(provider, payment)
    assert.equal(ended.status === 'confirmed', charges === 1)
    await server().control('DELETE', 'payment-faults')
  })

  test('a forged webhook is refused, and nothing is read', { skip }, async () => {
    const before = await countWebhooks(stage, 'refused')
    const refused = await fetch(
      `${server().server.url}/webhooks/payment?tenant_id=tableflow_123&provider=${provider}&data.id=1&type=payment`,
      { method: 'POST', body: '{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{}}}' },
    )
    assert.equal(refused.status, 403)
    assert.equal(await countWebhooks(stage, 'refused'), before + 1)
  })
}

function testReturns(stage: Stage): void {
  const { fixture, server, openPage } = stage
  const { provider } = fixture

  test('two browsers that come back at once confirm one payment', async () => {
    const payment = await openPage()
    const id = payment.next_action
    assert.ok(id !== null)
    await Promise.all([
      server().customer(provider, payment, 'approve'),
      server()
        .customer(provider, payment, 'approve')
        .catch(() => undefined),
    ])
    await server().until(payment.id, ({ status }) => status === 'confirmed')
    const counts = await countEvents(server(), payment.id, ['payment.confirmed'])
    assert.equal(counts['payment.confirmed'], 1)
    assert.equal((await server().books(provider, payment)).charges, 1)
  })

  test('a return link that was made up leads nowhere', async () => {
    const answer = await fetch(`${server().server.url}/payments/return/made_up?token_ws=${'a'.repeat(64)}`, {
      redirect: 'manual',
    })
    assert.equal(answer.status, 404)
    assert.equal(answer.headers.get('location'), null)
  })

  test('a return link of one payment does not confirm another', async () => {
    const [mine, other] = [await openPage(), await openPage()]
    await server().customer(provider, other, 'approve')
    const seen = await server().read(mine.id)
    assert.equal(seen.status, 'requires_action')
    assert.equal((await server().books(provider, mine)).charges, 0)
  })
}

async function countWebhooks({ server }: Stage, state: string): Promise<number> {
  const path = `/webhooks/inbound?tenant_id=tableflow_123&state=${state}&limit=200`
  const { body } = await server().api.call<{ data: unknown[] }>('GET', path)
  return body.data.length
}

/** Waits until the provider's webhooks were all taken. */
async function taken({ server }: Stage): Promise<void> {
  for (;;) {
    const { total } = await server().control<{ total: number }>('GET', 'callbacks?state=pending&limit=1')
    if (total === 0) return
  }
}
