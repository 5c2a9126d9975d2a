import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { createId, firstIdOf } from '#core/ids.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { recordEvents } from './events.ts'
import { type EventFilter, listEvents } from './queries.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
const now = new Date('2026-11-29T12:00:00Z')
const minute = 60_000
const acme = { tenantId: 'acme', entity: 'ORD-1', limit: 200 }

owner.on('error', () => undefined)
before(() => owner.connect())
after(() => owner.end())

/** An event of the past; `early` is one from before there were stretches. */
async function store(
  minutesAgo: number,
  { tenant = 'acme', entity = 'ORD-1', early = false } = {},
): Promise<string> {
  const id = createId('evt', new Date(now.getTime() - minutesAgo * minute))
  await owner.query(
    `insert into events (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at, stretch)
     values ($1, $2, 'shop', $3, $4, '{}', '', now(), case when not $5 then stretch_of($1) end)`,
    [id, tenant, minutesAgo % 2 === 0 ? 'even' : 'odd', entity, early],
  )
  return id
}

function stretchOf(moment: Date): string {
  const lengthMs = 2 ** 21
  return firstIdOf('evt', new Date(Math.floor(moment.getTime() / lengthMs) * lengthMs)).slice(4, 10)
}

async function found(filter: EventFilter): Promise<string[]> {
  return (await listEvents(database.system, filter)).map(({ id }) => id)
}

test('an entity has all of its events, the newest first, whatever stretch of time they are of', async () => {
  const ages = [...Array.from({ length: 80 }, (_, index) => index * 9), 24 * 60, 9 * 24 * 60, 60 * 24 * 60]
  const ids: string[] = []
  for (const age of ages) ids.push(await store(age))
  const early = await store(61, { early: true })
  await store(1, { entity: 'ORD-2' })
  await store(1, { tenant: 'other' })
  const expected = [...ids, early].toSorted().toReversed()
  assert.deepEqual(await found(acme), expected)
  assert.deepEqual(await found({ ...acme, limit: 4 }), expected.slice(0, 4))
  assert.deepEqual(await found({ ...acme, before: expected[4] ?? '' }), expected.slice(5))
  assert.deepEqual(await found({ ...acme, before: firstIdOf('evt', new Date(0)) }), [])
  assert.deepEqual(
    await found({ ...acme, type: 'odd' }),
    expected.filter((id) => id === early || (ages[ids.indexOf(id)] ?? 0) % 2 === 1),
  )
  assert.deepEqual(await found({ ...acme, productId: 'another' }), [])
  assert.deepEqual(await found({ ...acme, tenantId: 'nobody' }), [])
  const own = await database.asTenant({ tenantId: 'acme', productId: 'shop', traceId: '' }, (db) =>
    listEvents(db, acme),
  )
  assert.deepEqual(
    own.map(({ id }) => id),
    expected,
  )
})

test('what is recorded is found by its stretch of time', async () => {
  const scope = { tenantId: 'acme', productId: 'shop', traceId: '' }
  const event = { type: 'thing.done', entity: 'ORD-3', occurredAt: now, data: {} }
  await database.asTenant(scope, (db) => recordEvents(db, scope, [event], now))
  const { rows } = await owner.query<{ id: string; stretch: string }>(
    `select id, stretch from events where entity = 'ORD-3'`,
  )
  assert.deepEqual(
    rows.map(({ id, stretch }) => [id, stretch]),
    [[(await found({ ...acme, entity: 'ORD-3' }))[0], stretchOf(now)]],
  )
})

test('a cursor that is no event’s has nobody look through millions of stretches', async () => {
  await store(5, { entity: 'ORD-9' })
  const began = performance.now()
  assert.deepEqual(await found({ ...acme, entity: 'ORD-9', before: 'evs_zzzzzzzzzz' }), [])
  assert.ok(performance.now() - began < 5_000)
})

test('events whose clock was years off have nobody look through the stretches between', async () => {
  const decade = 10 * 365 * 24 * 60
  const minutesAgo = [-8 * decade, -2 * decade, 3, 12 * 24 * 60, 5 * decade]
  const ids: string[] = []
  for (const age of minutesAgo) ids.push(await store(age, { tenant: 'late', entity: 'ORD-8' }))
  const late = { tenantId: 'late', entity: 'ORD-8', limit: 200 }
  const began = performance.now()
  assert.deepEqual(await found(late), ids)
  assert.deepEqual(await found({ ...late, before: ids[1] ?? '' }), ids.slice(2))
  assert.ok(performance.now() - began < 5_000)
})
