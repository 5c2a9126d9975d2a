import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Payment } from './schema.ts'
import type { Stats } from './stats.ts'
import { type PaymentsServer, startPaymentsServer, tenantId } from './testing/server.ts'

const dayMs = 24 * 60 * 60 * 1000
const sale = { amount: 10_000, currency: 'CLP', provider: 'mercadopago' }
const card = { token: 'tok_apro', brand: 'visa', customer: { email: 'ana@example.com' } }
let server: PaymentsServer
let startedAt: string
const cleanups: Array<() => Promise<void>> = []
const made: Record<string, Payment> = {}

before(async () => {
  server = await startPaymentsServer({ after: (work) => void cleanups.push(work) })
  startedAt = server.server.context.now().toISOString()
  made.first = await server.pay({ ...sale, ...card })
  made.declined = await server.pay({ ...sale, ...card, token: 'tok_fund' })
  await server.passTime(dayMs)
  made.second = await server.pay({ ...sale, ...card })
  await server.api.call('POST', `/payments/${made.second.id}/refunds`, { amount: 4_000 })
  made.held = await server.pay({ ...sale, ...card, capture: 'manual' })
  await server.api.call('POST', `/payments/${made.held.id}/cancel`)
  made.closed = await server.pay({ ...sale, return_url: 'https://shop.example.com/back' })
  await server.api.call('POST', `/payments/${made.closed.id}/cancel`)
  made.left = await server.pay({
    ...sale,
    provider: 'transbank',
    return_url: 'https://shop.example.com/back',
  })
  await server.customer('transbank', made.left, 'abort')
  made.open = await server.pay({
    ...sale,
    provider: 'transbank',
    return_url: 'https://shop.example.com/back',
  })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function stats(query = ''): Promise<Stats> {
  const answer = await server.api.call<Stats>('GET', `/payments/stats/${tenantId}?${query}`)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

const dayOf = (name: string) => made[name]?.created_at.slice(0, 10) ?? ''

test('payments are counted by day, provider and status', async () => {
  const { counts, totals } = await stats()
  const wanted = [
    { day: dayOf('first'), provider: 'mercadopago', status: 'confirmed', count: 1 },
    { day: dayOf('declined'), provider: 'mercadopago', status: 'failed', count: 1 },
    { day: dayOf('held'), provider: 'mercadopago', status: 'canceled', count: 2 },
    { day: dayOf('second'), provider: 'mercadopago', status: 'confirmed', count: 1 },
    { day: dayOf('left'), provider: 'transbank', status: 'canceled', count: 1 },
    { day: dayOf('open'), provider: 'transbank', status: 'requires_action', count: 1 },
  ]
  assert.deepEqual(counts, wanted)
  assert.equal(totals.payments, 7)
})

test('amounts are what was taken, given back and left of it, per currency', async () => {
  const { totals, amounts } = await stats()
  assert.deepEqual(totals.amounts, [{ currency: 'CLP', confirmed: 20_000, refunded: 4_000, net: 16_000 }])
  assert.deepEqual(amounts.at(-1), {
    day: dayOf('second'),
    provider: 'mercadopago',
    currency: 'CLP',
    confirmed: 10_000,
    refunded: 4_000,
    net: 6_000,
  })
})

test('the approval rate leaves out who gave up, and counts held money that was let go', async () => {
  const { totals, approvals } = await stats()
  const { approved, declined, gave_up: gaveUp, approval_rate: rate } = totals
  assert.deepEqual([approved, declined, gaveUp, rate], [3, 1, 2, 0.75])
  assert.deepEqual(
    approvals.find(({ provider }) => provider === 'transbank'),
    {
      day: dayOf('left'),
      provider: 'transbank',
      approved: 0,
      declined: 0,
      gave_up: 1,
      approval_rate: null,
    },
  )
})

test('declines are counted by their reason', async () => {
  assert.deepEqual((await stats()).declines, [
    { provider: 'mercadopago', code: 'insufficient_funds', count: 1 },
  ])
})

test('latencies are of the calls to a provider, by what was asked', async () => {
  const { latency_ms: latencies } = await stats()
  const created = latencies.find(
    ({ provider, action }) => provider === 'mercadopago' && action === 'create_payment',
  )
  assert.equal(created?.calls, 4)
  assert.ok(created.p50 !== null && created.p99 !== null && created.p50 <= created.p99)
  assert.ok(latencies.some(({ action }) => action === 'refund_payment'))
})

test('the span and the provider can be chosen', async () => {
  const first = await stats(`since=${startedAt}&until=${made.second?.created_at}`)
  assert.equal(first.totals.payments, 2)
  assert.equal(first.latency_ms.find(({ action }) => action === 'create_payment')?.calls, 2)
  const transbank = await stats('provider=transbank')
  assert.deepEqual([transbank.totals.payments, transbank.totals.amounts], [2, []])
  assert.deepEqual(new Set(transbank.latency_ms.map(({ provider }) => provider)), new Set(['transbank']))
  const refused = await server.refuse('GET', `/payments/stats/${tenantId}?since=2020-01-01T00:00:00Z`)
  assert.deepEqual([refused.status, refused.code], [422, 'request_invalid'])
})
