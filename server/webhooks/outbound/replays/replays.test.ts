import assert from 'node:assert/strict'
import { before, beforeEach, describe, test } from 'node:test'
import { sql } from 'kysely'
import type { TestApi } from '../../../testing/api.ts'
import { type Receiver, startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Replay, ReplayForecast, ReplaySummary } from './schema.ts'
import { until } from '../testing.ts'
import { happen, untilReplay } from './testing.ts'

interface Problem {
  code: string
  errors?: Array<{ field: string }>
}

const from = new Date(Date.now() - 3_600_000).toISOString()

let server: TestServer
let own: TestApi
let tenant: TestApi
let stranger: TestApi
let receiver: Receiver
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  for (const id of ['a', 'b']) {
    await server.api.call('POST', '/products', { id: `product_${id}`, name: id })
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: `product_${id}`, name: id })
  }
  await server.api.call('POST', '/tenants', { id: 'tenant_a2', product_id: 'product_a', name: 'a2' })
  own = await callerWith('/products/product_a/keys')
  tenant = await callerWith('/tenants/tenant_a/keys')
  stranger = await callerWith('/products/product_b/keys')
})

beforeEach(async () => {
  receiver = await startReceiver(keep)
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function callerWith(path: string): Promise<TestApi> {
  return server.api.as((await server.api.call<{ key: string }>('POST', path, {})).body.key)
}

async function createEndpoint(input: object): Promise<string> {
  const answer = await own.call<{ id: string }>('POST', '/webhooks/endpoints', {
    url: receiver.url,
    tenant_id: 'tenant_a',
    ...input,
  })
  assert.equal(answer.status, 201, JSON.stringify(answer.body))
  return answer.body.id
}

async function start(body: object, api = own, headers: Record<string, string> = {}): Promise<Replay> {
  const answer = await api.call<Replay>('POST', '/webhooks/replays', { from, ...body }, headers)
  assert.equal(answer.status, 202, JSON.stringify(answer.body))
  return answer.body
}

async function forecast(body: object, api = own): Promise<ReplayForecast> {
  const plan = { from, dry_run: true, ...body }
  const answer = await api.call<ReplayForecast>('POST', '/webhooks/replays', plan)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

function countsOf({ counts }: ReplayForecast): Record<string, number> {
  return Object.fromEntries(counts.map(({ type, state, events }) => [`${type} ${state}`, events]))
}

function received(type: string): number {
  return receiver.events.filter(({ body }) => body.event === type).length
}

function arrived(type: string, count: number): Promise<void> {
  return until(() => received(type) >= count, `${received(type)} of ${count} ${type} arrived`)
}

async function countWork(endpointId: string, table: 'work' | 'dead_work'): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from ${sql.table(table)} where series = ${endpointId}`.execute(
    server.server.context.database.system,
  )
  return rows[0]?.count ?? 0
}

async function countTried(endpointId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(distinct delivery_id)::int as count from delivery_attempts where endpoint_id = ${endpointId}`.execute(
    server.server.context.database.system,
  )
  return rows[0]?.count ?? 0
}

/** The job of the next step has come and gone. */
function noStepIsLeft(): Promise<void> {
  return until(async () => {
    const { rows } = await sql<{ count: number }>`
      select count(*)::int as count from work join jobs on jobs.id = work.ref
      where jobs.name = 'webhooks.replay_endpoint'`.execute(server.server.context.database.system)
    return rows[0]?.count === 0
  }, 'a step is left')
}

/** Events of every state at one endpoint: 2 delivered, 3 dead, 2 late, 4 never fanned out, and one it does not want. */
async function makeEveryState(): Promise<string> {
  const { context } = server.server
  await happen(context, 'old.thing', 4)
  const id = await createEndpoint({ events: ['old.*', 'good.*', 'bad.*', 'late.*'] })
  await happen(context, 'good.thing', 2)
  await happen(context, 'other.thing')
  await arrived('good.thing', 2)
  receiver.answerWith(429, { 'retry-after': '0' })
  await happen(context, 'bad.thing', 3)
  await until(async () => (await countTried(id)) >= 5, 'not all were tried')
  offsetMs += 4 * 86_400_000
  await until(async () => (await countWork(id, 'dead_work')) === 3, 'not all are dead')
  receiver.answerWith(500)
  await happen(context, 'late.thing', 2)
  await arrived('late.thing', 2)
  const { system } = context.database
  const postpone = sql`
    update work set run_at = ${new Date(context.now().getTime() + 86_400_000)} where series = ${id} and lease_until is null and attempts > 0`
  await until(async () => ((await postpone.execute(system)).numAffectedRows ?? 0n) === 2n, 'none is late')
  receiver.answerWith(204)
  return id
}

describe('a replay', () => {
  test('sends exactly what its dry run told, each once, and leaves out what was acknowledged', async () => {
    const id = await makeEveryState()
    const told = await forecast({ endpoint_ids: [id] })
    assert.deepEqual(countsOf(told), {
      'old.thing never_fanned_out': 4,
      'good.thing delivered': 2,
      'bad.thing dead': 3,
      'late.thing pending_late': 2,
    })
    assert.deepEqual([told.to_send, told.complete], [9, true])
    const before = receiver.events.length
    const ids = new Set(receiver.events.map(({ body }) => body.id))
    const { id: replayId } = await start({ endpoint_ids: [id] })
    const done = await untilReplay(own, replayId, ({ state }) => state === 'done')
    assert.deepEqual([done.sent, done.looked_at], [9, told.looked_at])
    await until(async () => (await countWork(id, 'work')) === 0, 'not all arrived')
    const again = receiver.events.slice(before)
    assert.equal(again.length, 9)
    assert.equal(new Set(again.map(({ body }) => body.id)).size, 9)
    assert.equal(again.filter(({ body }) => ids.has(body.id)).length, 5, 'replayed events keep their ids')
    assert.equal(received('good.thing'), 2)
    assert.equal(await countWork(id, 'dead_work'), 0)
    const after = await forecast({ endpoint_ids: [id] })
    assert.equal(after.to_send, 0)
    assert.deepEqual(new Set(after.counts.map(({ state }) => state)), new Set(['delivered']))
  })

  test('sends what was acknowledged when it is asked to, of the types and states it names', async () => {
    const id = await createEndpoint({ events: ['twice.*', 'once.*'] })
    await happen(server.server.context, 'twice.thing', 2)
    await happen(server.server.context, 'once.thing', 2)
    await arrived('once.thing', 2)
    await arrived('twice.thing', 2)
    await until(async () => (await countWork(id, 'work')) === 0, 'not all arrived')
    const plan = { endpoint_ids: [id], types: ['twice.*'], states: ['delivered'] }
    const refused = await own.call<Problem>('POST', '/webhooks/replays', { from, ...plan })
    assert.deepEqual([refused.status, refused.body.errors?.[0]?.field], [422, 'include_delivered'])
    const { id: replayId } = await start({ ...plan, include_delivered: true })
    await untilReplay(own, replayId, ({ state, sent }) => state === 'done' && sent === 2)
    await arrived('twice.thing', 4)
    assert.equal(received('once.thing'), 2)
  })

  test('sends only what passes the filter of the endpoint', async () => {
    await happen(server.server.context, 'sieved.thing', 4)
    const id = await createEndpoint({ events: ['sieved.*'], filter: { place: { $gte: 2 } } })
    const told = await forecast({ endpoint_ids: [id] })
    assert.deepEqual(countsOf(told), { 'sieved.thing never_fanned_out': 2 })
    const { id: replayId } = await start({ endpoint_ids: [id] })
    await untilReplay(own, replayId, ({ state }) => state === 'done')
    await arrived('sieved.thing', 2)
    assert.deepEqual(new Set(receiver.events.map(({ body }) => body['place'])), new Set([2, 3]))
  })

  test('of two at once each event goes out once', async () => {
    await happen(server.server.context, 'both.thing', 60)
    const id = await createEndpoint({ events: ['both.*'] })
    const plan = { endpoint_ids: [id], rate: 1000 }
    const replays = await Promise.all([start(plan), start(plan)])
    const ended = await Promise.all(
      replays.map((replay) => untilReplay(own, replay.id, ({ state }) => state === 'done')),
    )
    assert.equal(
      ended.reduce((sum, { sent }) => sum + sent, 0),
      60,
    )
    await until(async () => (await countWork(id, 'work')) === 0, 'not all arrived')
    assert.equal(received('both.thing'), 60)
  })

  test('leaves out what was acknowledged through the feed', async () => {
    const id = await createEndpoint({ events: ['taken.*'] })
    receiver.answerWith(429, { 'retry-after': '3600' })
    await happen(server.server.context, 'taken.thing', 3)
    await until(async () => (await countTried(id)) > 0, 'nothing was tried')
    await own.call('GET', `/webhooks/endpoints/${id}/events`)
    await own.call('POST', `/webhooks/endpoints/${id}/events/ack`, { through: 3 })
    const told = await forecast({ endpoint_ids: [id] })
    assert.deepEqual([countsOf(told), told.to_send], [{ 'taken.thing delivered': 3 }, 0])
  })

  test('begins at an endpoint whose pause is over, also when nothing else waits there', async () => {
    await happen(server.server.context, 'quiet.old', 4)
    const id = await createEndpoint({ events: ['quiet.*'] })
    receiver.answerWith(500)
    await happen(server.server.context, 'quiet.new', 5)
    const health = async () =>
      (await own.call<{ health: { state: string } }>('GET', `/webhooks/endpoints/${id}`)).body.health.state
    await until(async () => (await health()) === 'open', 'it was not paused')
    await own.call('GET', `/webhooks/endpoints/${id}/events`)
    await own.call('POST', `/webhooks/endpoints/${id}/events/ack`, { through: 5 })
    receiver.answerWith(204)
    offsetMs += 3_600_000
    await start({ endpoint_ids: [id], types: ['quiet.old'], rate: 1000 })
    await arrived('quiet.old', 1)
    offsetMs += 60_000
    await arrived('quiet.old', 4)
  })

  test('leaves alone what is on its way', async () => {
    await happen(server.server.context, 'slow.thing', 3)
    const id = await createEndpoint({ events: ['slow.*'], max_per_second: 0.01 })
    const { id: first } = await start({ endpoint_ids: [id] })
    await untilReplay(own, first, ({ state }) => state === 'done')
    const told = await forecast({ endpoint_ids: [id], include_delivered: true })
    assert.ok((countsOf(told)['slow.thing waiting'] ?? 0) >= 2, JSON.stringify(told))
  })

  test('obeys its rate, and stops at a pause until it is resumed', async () => {
    await happen(server.server.context, 'paced.thing', 14)
    const id = await createEndpoint({ events: ['paced.*'] })
    const { id: replayId } = await start({ endpoint_ids: [id], rate: 2 })
    const first = await untilReplay(own, replayId, ({ sent }) => sent > 0)
    assert.equal(first.sent, 10, 'five seconds ahead')
    const paused = await own.call<Replay>('POST', `/webhooks/replays/${replayId}/pause`)
    assert.equal(paused.body.state, 'paused')
    await arrived('paced.thing', 3)
    const { rows } = await sql<{ seconds: number }>`
      select extract(epoch from max(run_at) - min(run_at))::float as seconds from work where series = ${id}`.execute(
      server.server.context.database.system,
    )
    assert.ok((rows[0]?.seconds ?? 0) >= 2, 'they are spread over the time that the rate asks for')
    offsetMs += 10_000
    await arrived('paced.thing', 10)
    await noStepIsLeft()
    const { body: still } = await own.call<Replay>('GET', `/webhooks/replays/${replayId}`)
    assert.deepEqual([still.state, still.sent], ['paused', 10])
    await own.call('POST', `/webhooks/replays/${replayId}/resume`)
    await untilReplay(own, replayId, ({ state, sent }) => state === 'done' && sent === 14)
    await arrived('paced.thing', 14)
    assert.equal(received('paced.thing'), 14)
  })

  test('ends at a cancel, for good', async () => {
    await happen(server.server.context, 'ended.thing', 14)
    const id = await createEndpoint({ events: ['ended.*'] })
    const { id: replayId } = await start({ endpoint_ids: [id], rate: 2 })
    await untilReplay(own, replayId, ({ sent }) => sent === 10)
    const canceled = await own.call<Replay>('POST', `/webhooks/replays/${replayId}/cancel`)
    assert.equal(canceled.body.state, 'canceled')
    assert.notEqual(canceled.body.ended_at, null)
    const resumed = await own.call<Problem>('POST', `/webhooks/replays/${replayId}/resume`)
    assert.deepEqual([resumed.status, resumed.body.code], [409, 'replay_ended'])
    offsetMs += 60_000
    await arrived('ended.thing', 10)
    await noStepIsLeft()
    const { body: still } = await own.call<Replay>('GET', `/webhooks/replays/${replayId}`)
    assert.equal(still.sent, 10)
  })

  test('never floods an endpoint that takes little, and waits for one that is off', async () => {
    await happen(server.server.context, 'many.thing', 300)
    const id = await createEndpoint({ events: ['many.*'], max_per_second: 0.01 })
    const { id: replayId } = await start({ endpoint_ids: [id], rate: 20 })
    await untilReplay(own, replayId, ({ sent }) => sent > 0)
    const waits = (reason: string) =>
      untilReplay(own, replayId, ({ endpoints }) => endpoints[0]?.waiting_for === reason)
    offsetMs += 60_000
    const waiting = await waits('backlog')
    assert.ok(waiting.sent <= 100 && (await countWork(id, 'work')) <= 100, JSON.stringify(waiting))
    await own.call('PATCH', `/webhooks/endpoints/${id}`, { active: false })
    offsetMs += 60_000
    await waits('endpoint_off')
    await own.call('POST', `/webhooks/replays/${replayId}/cancel`)
    await own.call('DELETE', `/webhooks/endpoints/${id}`)
  })

  test('keeps the order of an entity at an ordered endpoint, also when its first event fails', async () => {
    const types = ['row.first', 'row.second', 'row.third']
    for (const type of types) await happen(server.server.context, type)
    const id = await createEndpoint({ events: ['row.*'], ordered: true })
    receiver.answerWith(500)
    await start({ endpoint_ids: [id], rate: 1000 })
    await until(async () => (await countTried(id)) > 0, 'the first did not fail')
    receiver.answerWith(204)
    offsetMs += 60_000
    await arrived('row.third', 1)
    assert.deepEqual(
      receiver.events.map(({ body }) => body.event),
      ['row.first', ...types],
    )
  })
})

describe('starting a replay', () => {
  test('under a key makes one, however often it is asked for', async () => {
    await happen(server.server.context, 'keyed.thing', 3)
    const id = await createEndpoint({ events: ['keyed.*'] })
    const headers = { 'idempotency-key': 'replay-1' }
    const made = await Promise.all([1, 2, 3].map(() => start({ endpoint_ids: [id] }, own, headers)))
    assert.equal(new Set(made.map((replay) => replay.id)).size, 1)
    const other = { from, endpoint_ids: [id], rate: 7 }
    const reused = await own.call<Problem>('POST', '/webhooks/replays', other, headers)
    assert.deepEqual([reused.status, reused.body.code], [422, 'idempotency_key_reused'])
    await arrived('keyed.thing', 3)
    assert.equal(received('keyed.thing'), 3)
  })

  test('names what is wrong with it and starts nothing', async () => {
    const id = await createEndpoint({ events: ['off.*'] })
    await own.call('PATCH', `/webhooks/endpoints/${id}`, { active: false })
    const cases: Array<[body: object, field: string, api?: TestApi]> = [
      [{ from: undefined }, 'from'],
      [{ to: '2020-01-01T00:00:00Z' }, 'to'],
      [{ from: '2099-01-01T00:00:00Z' }, 'from'],
      [{ states: ['waiting'] }, 'states.0'],
      [{ rate: 0 }, 'rate'],
      [{ types: ['Not.It'] }, 'types.0'],
      [{ endpoint_ids: [id] }, 'endpoint_ids.0'],
      [{}, 'product_id', server.api],
    ]
    for (const [body, field, api = own] of cases) {
      const answer = await api.call<Problem>('POST', '/webhooks/replays', { from, ...body })
      assert.deepEqual([answer.status, answer.body.errors?.[0]?.field], [422, field], JSON.stringify(body))
    }
  })

  test('is nobody else’s business: what is foreign does not exist', async () => {
    await happen(server.server.context, 'mine.thing')
    await happen(server.server.context, 'mine.thing', 1, { tenant: 'tenant_a2' })
    const ofProduct = await createEndpoint({
      tenant_id: undefined,
      product_id: 'product_a',
      events: ['mine.*'],
    })
    const ofTenant = await createEndpoint({ events: ['mine.*'] })
    const replay = await start({ endpoint_ids: [ofTenant] })
    for (const api of [stranger, tenant]) {
      for (const [method, path] of [
        ['GET', ''],
        ['POST', '/pause'],
        ['POST', '/resume'],
        ['POST', '/cancel'],
      ] as const) {
        const answer = await api.call<Problem>(method, `/webhooks/replays/${replay.id}${path}`)
        assert.deepEqual([answer.status, answer.body.code], [404, 'replay_not_found'])
      }
      const { body } = await api.call<{ data: ReplaySummary[] }>('GET', '/webhooks/replays')
      assert.deepEqual(body.data, [])
    }
    const foreign: Array<[api: TestApi, body: object]> = [
      [stranger, { endpoint_ids: [ofTenant] }],
      [stranger, { tenant_ids: ['tenant_a'] }],
      [stranger, { product_id: 'product_a' }],
      [tenant, { endpoint_ids: [ofProduct] }],
      [tenant, { tenant_ids: ['tenant_a2'] }],
      [server.api, { product_id: 'product_b', endpoint_ids: [ofTenant] }],
      [server.api, { product_id: 'product_b', tenant_ids: ['tenant_a'] }],
    ]
    for (const [api, body] of foreign) {
      const answer = await api.call('POST', '/webhooks/replays', { from, dry_run: true, ...body })
      assert.equal(answer.status, 404, JSON.stringify(body))
    }
    const told = await forecast({ types: ['mine.*'], include_delivered: true }, tenant)
    assert.deepEqual(
      told.counts.map((count) => [count.endpoint_id, count.events]),
      [[ofTenant, 1]],
    )
    const whole = await forecast({ endpoint_ids: [ofProduct], include_delivered: true })
    assert.equal(whole.counts[0]?.events, 2)
    const one = { endpoint_ids: [ofProduct], tenant_ids: ['tenant_a2'], include_delivered: true }
    assert.equal((await forecast(one)).counts[0]?.events, 1)
    const mine = await start({}, tenant)
    assert.equal((await tenant.call('GET', `/webhooks/replays/${mine.id}`)).status, 200)
    assert.equal((await own.call('GET', `/webhooks/replays/${mine.id}`)).status, 200)
  })
})
