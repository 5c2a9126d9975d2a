import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, describe, test } from 'node:test'
import pg from 'pg'
import { createTraceId } from '#core/trace.ts'
import type { TestApi } from '../../../testing/api.ts'
import { startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Endpoint, EventDetail } from '../schema.ts'
import { postEndpoint, recordFacts, until } from '../testing.ts'
import type { Acknowledged, Feed, FeedEntry } from './schema.ts'

let server: TestServer
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  await server.api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  for (const id of ['tenant_a', 'tenant_b'])
    await server.api.call('POST', '/tenants', { id, product_id: 'shop', name: id })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

const makeEndpoint = (input: object) =>
  postEndpoint<Endpoint>(server.api, { tenant_id: 'tenant_a', ...input })

/** Facts of one entity. */
async function record(type: string, facts: readonly object[], tenantId = 'tenant_a'): Promise<void> {
  const scope = { tenantId, productId: 'shop', traceId: createTraceId() }
  const events = facts.map((fact) => ({ type, entity: 'one', data: { ...fact } }))
  await recordFacts(server.server.context, scope, events)
}

/** Numbered facts, each recorded by itself. */
async function happen(type: string, count: number, { first = 0, tenantId = 'tenant_a' } = {}): Promise<void> {
  for (let nth = first; nth < first + count; nth += 1) await record(type, [{ nth }], tenantId)
}

async function read(id: string, query = '', api: TestApi = server.api): Promise<Feed> {
  const { status, body } = await api.call<Feed>('GET', `/webhooks/endpoints/${id}/events${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

/** Every page behind `after`, as a backend that catches up reads them. */
async function readAll(id: string, after: number, limit: number): Promise<FeedEntry[]> {
  const entries: FeedEntry[] = []
  for (let next = after; ;) {
    const page = await read(id, `?after=${next}&limit=${limit}`)
    assert.ok(page.data.length <= limit)
    if (page.data.length === 0) return entries
    entries.push(...page.data)
    next = page.next_after
  }
}

async function acknowledge(id: string, body: object): Promise<Acknowledged> {
  const path = `/webhooks/endpoints/${id}/events/ack`
  const answer = await server.api.call<Acknowledged>('POST', path, body)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

async function connectOwner(): Promise<pg.Client> {
  const owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  owner.on('error', () => undefined)
  keep.after(() => owner.end())
  return owner
}

function upTo(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, index) => first + index)
}

const sequencesOf = (entries: readonly FeedEntry[]) => entries.map(({ sequence }) => sequence)

describe('a backend that was down', () => {
  test('catches up through the feed, acknowledges, and is not pushed what it acknowledged', async () => {
    const receiver = await startReceiver(keep)
    receiver.answerWith(500)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['down.*'] })
    await happen('down.thing', 5)
    const health = async () =>
      (await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${id}`)).body.health.state
    await until(async () => (await health()) === 'open')
    // The endpoint is left alone: these are never claimed, and have no number yet.
    await happen('down.thing', 7, { first: 5 })
    const entries = await readAll(id, 0, 5)
    assert.deepEqual(sequencesOf(entries), upTo(12))
    assert.deepEqual(
      entries.map(({ body }) => Number(body?.nth)).toSorted((left, right) => left - right),
      upTo(12, 0),
    )
    assert.deepEqual(new Set(entries.map(({ state }) => state)), new Set(['pending']))
    assert.deepEqual(await acknowledge(id, { through: 12 }), { acknowledged_through: 12, ended: 12 })
    receiver.events.length = 0
    receiver.answerWith(204)
    offsetMs += 4 * 24 * 3_600_000
    await happen('down.thing', 1, { first: 12 })
    const pushed = await receiver.waitFor(({ body }) => body.nth === 12)
    assert.equal(pushed.headers['webhook-sequence'], '13')
    assert.deepEqual(
      receiver.events.map(({ body }) => body.nth),
      [12],
    )
    await until(async () => (await read(id)).data[0]?.state === 'delivered')
    const next = await read(id)
    assert.deepEqual([sequencesOf(next.data), next.last_sequence, next.acknowledged_through], [[13], 13, 12])
    const [first] = await readAll(id, 0, 5)
    assert.deepEqual([first?.state, first?.delivered_at], ['acknowledged', null])
    const { body: event } = await server.api.call<EventDetail>('GET', `/webhooks/events/${first?.event_id}`)
    assert.deepEqual(
      event.deliveries.map(({ state, next_attempt_at: next_ }) => [state, next_]),
      [['acknowledged', null]],
    )
  })

  test('finds what has to keep its order in that order', async () => {
    const receiver = await startReceiver(keep)
    receiver.answerWith(500)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['kept.*'], ordered: true })
    await record('kept.thing', [{ nth: 0 }, { nth: 1 }, { nth: 2 }])
    // The first one failed: the two behind it wait as long, and the next one is due before them.
    await until(async () => (await read(id, '?after=0&limit=1')).data[0]?.attempts === 1)
    await happen('kept.thing', 1, { first: 3 })
    const entries = await readAll(id, 0, 2)
    assert.deepEqual(
      entries.map(({ body }) => body?.nth),
      [0, 1, 2, 3],
    )
  })
})

describe('sequences', () => {
  test('are given in the order in which it happened, whatever the pages are', async () => {
    const receiver = await startReceiver(keep)
    receiver.answerWith(429, { 'retry-after': '3600' })
    const { id } = await makeEndpoint({ url: receiver.url, events: ['row.*'] })
    await happen('row.thing', 1)
    await until(async () => (await read(id, '?after=0')).data[0]?.attempts === 1)
    // Nothing is called meanwhile: these get their numbers where they are read.
    await happen('row.thing', 12, { first: 1 })
    const entries = await readAll(id, 0, 5)
    assert.deepEqual(
      entries.map(({ sequence, body }) => [sequence, body?.nth]),
      upTo(13).map((sequence) => [sequence, sequence - 1]),
    )
  })

  test('have no gap and no double in any page, while events come, are pushed and are read', async () => {
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({
      url: receiver.url,
      tenant_id: undefined,
      product_id: 'shop',
      events: ['many.*'],
    })
    let isOver = false
    const readers = Array.from({ length: 3 }, async () => {
      while (!isOver) {
        const { data } = await read(id, '?after=0&limit=200')
        assert.deepEqual(sequencesOf(data), upTo(data.length))
      }
    })
    await Promise.all(
      ['tenant_a', 'tenant_b'].flatMap((tenantId) =>
        upTo(4, 0).map((part) => happen('many.thing', 20, { first: part * 20, tenantId })),
      ),
    )
    await until(() => receiver.events.length >= 160)
    isOver = true
    await Promise.all(readers)
    await until(async () => (await readAll(id, 0, 50)).every(({ state }) => state === 'delivered'))
    const entries = await readAll(id, 0, 50)
    assert.deepEqual(sequencesOf(entries), upTo(160))
    assert.equal(new Set(entries.map(({ event_id: event }) => event)).size, 160)
    const pushed = new Map(
      receiver.events.map(({ headers, body }) => [Number(headers['webhook-sequence']), body.id]),
    )
    assert.deepEqual(
      entries.map(({ sequence, event_id: event }) => [sequence, event]),
      upTo(160).map((sequence) => [sequence, pushed.get(sequence)]),
    )
    assert.ok(entries.every(({ delivered_at: at }) => at !== null))
  })

  test('an event that is replayed gets another one', async () => {
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['twice.*'] })
    await happen('twice.thing', 1)
    const { body } = await receiver.waitFor(({ body: { event } }) => event === 'twice.thing')
    await server.api.call('POST', `/webhooks/events/${body.id}/replay`, {})
    await until(() => receiver.events.length === 2)
    const entries = await readAll(id, 0, 50)
    assert.deepEqual(
      entries.map(({ sequence, event_id: event }) => [sequence, event]),
      [
        [1, body.id],
        [2, body.id],
      ],
    )
  })
})

describe('an acknowledgement', () => {
  test('during a call makes that call the last one, however it ends', async () => {
    const held: ServerResponse[] = []
    const http = createServer((request, response) => {
      request.resume()
      request.on('end', () => held.push(response))
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    keep.after(async () => {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    })
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`
    const { id } = await makeEndpoint({ url, events: ['held.*'] })
    await happen('held.thing', 2)
    await until(() => held.length === 2)
    assert.equal((await acknowledge(id, { sequences: [2, 1] })).ended, 2)
    for (const response of held) response.writeHead(500).end()
    offsetMs += 4 * 24 * 3_600_000
    await happen('held.thing', 1, { first: 2 })
    await until(() => held.length === 3)
    held[2]?.writeHead(204).end()
    await until(async () => (await read(id)).data[2]?.state === 'delivered')
    const { data, acknowledged_through: through } = await read(id)
    assert.deepEqual(
      data.map(({ sequence, state }) => [sequence, state]),
      [
        [1, 'acknowledged'],
        [2, 'acknowledged'],
        [3, 'delivered'],
      ],
    )
    // A list moves no position: there may be others before.
    assert.equal(through, 0)
    assert.equal(held.length, 3)
  })

  test('comes twice, goes back and at once without harm; ahead of what was given it is refused', async () => {
    const receiver = await startReceiver(keep)
    receiver.answerWith(500)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['again.*'] })
    await happen('again.thing', 4)
    await until(async () => (await read(id)).last_sequence === 4)
    const answers = await Promise.all([2, 4, 3].map((through) => acknowledge(id, { through })))
    assert.equal(
      answers.reduce((sum, { ended }) => sum + ended, 0),
      4,
    )
    assert.deepEqual(await acknowledge(id, { through: 1 }), { acknowledged_through: 4, ended: 0 })
    const refused = async (body: object) => {
      const path = `/webhooks/endpoints/${id}/events/ack`
      const answer = await server.api.call<{ errors: Array<{ field: string }> }>('POST', path, body)
      return [answer.status, ...(answer.body.errors ?? []).map(({ field }) => field)]
    }
    assert.deepEqual(await refused({ through: 5 }), [422, 'through'])
    assert.deepEqual(await refused({ sequences: [1, 9] }), [422, 'sequences.1'])
    assert.deepEqual(await refused({}), [422, 'through'])
  })

  test('goes through when a worker and it wait for each other, and the database ends it', async () => {
    const receiver = await startReceiver(keep)
    receiver.answerWith(500)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['crossed.*'], ordered: true })
    await record('crossed.thing', [{ nth: 0 }, { nth: 1 }, { nth: 2 }])
    await until(async () => (await read(id, '?after=0')).data[0]?.attempts === 1)
    const [worker, watcher] = await Promise.all([connectOwner(), connectOwner()])
    // Whoever waits for longer is the one that looks for a deadlock first.
    const waiting = `select from pg_locks join pg_stat_activity using (pid)
      where datname = current_database() and not granted and waitstart < clock_timestamp() - interval '300 ms'`
    const { rows } = await worker.query<{ id: string }>('select id from work where series = $1 order by id', [
      id,
    ])
    const lock = (row: { id: string } | undefined) =>
      worker.query('select from work where id = $1 for update', [row?.id])
    await worker.query('begin')
    await lock(rows.at(-1))
    const acknowledged = acknowledge(id, { through: 3 })
    // It has the first of them now, and waits for the last.
    await until(async () => (await watcher.query(waiting)).rows.length > 0)
    await lock(rows[0])
    await worker.query('commit')
    assert.deepEqual(await acknowledged, { acknowledged_through: 3, ended: 3 })
  })

  test('and the feed are of who may see the endpoint', async () => {
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({ url: receiver.url, events: ['own.*'] })
    const other = await makeEndpoint({
      url: receiver.url,
      tenant_id: 'tenant_b',
      events: ['own.*'],
    })
    await happen('own.thing', 1)
    const { key } = (await server.api.call<{ key: string }>('POST', '/tenants/tenant_b/keys', {})).body
    const stranger = server.api.as(key)
    const path = `/webhooks/endpoints/${id}/events`
    assert.equal((await stranger.call('GET', path)).status, 404)
    assert.equal((await stranger.call('POST', `${path}/ack`, { through: 0 })).status, 404)
    assert.deepEqual((await read(other.id, '', stranger)).data, [])
  })
})

test('a page holds 4 MiB of bodies, and the next one goes on', async () => {
  const receiver = await startReceiver(keep)
  const { id } = await makeEndpoint({ url: receiver.url, events: ['large.*'] })
  await record(
    'large.thing',
    upTo(7).map(() => ({ text: 'x'.repeat(1_000_000) })),
  )
  // What a claim is taking just now has no number yet.
  await until(() => receiver.events.length === 7)
  const first = await read(id)
  assert.equal(first.data.length, 5)
  assert.deepEqual(sequencesOf(await readAll(id, 0, 50)), upTo(7))
})
