import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, describe, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import type { Tables } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { createClaimFloors } from './claim-floors.ts'
import { addWork, countWork, itemsOf, startLoop, until } from './testing/work.ts'
import type { Claim } from './work.ts'
import { claimWork } from './work-queries.ts'

const { database } = await createTestDatabase({ after })

const second = 1_000
const start = Date.parse('2026-11-30T12:00:00Z')

afterEach(async () => void (await database.system.deleteFrom('work').execute()))

describe('claims with floors', () => {
  const claim = (db: Kysely<Tables>, floors: Record<string, Date>, given = {}) =>
    claimWork(db, {
      kind: 'delivery',
      from: '',
      total: 10,
      perLane: 10,
      rooms: new Map(),
      token: randomUUID(),
      leaseSeconds: 30,
      now: new Date(start),
      floors: new Map(Object.entries(floors)),
      ...given,
    })
  const idsOf = ({ claims }: { claims: Claim[] }) => claims.map(({ item }) => item.id)

  test('walk over nothing below a floor', async () => {
    const early = new Date(start - 60 * second)
    const floor = new Date(start - 10 * second)
    const old = itemsOf('busy/t', 600).map((item) => ({ ...item, runAt: early }))
    await addWork(database, [...old, { id: 'fresh', lane: 'busy/t', runAt: floor }])
    await sql`update work set lease_until = now() + interval '1 hour' where id <> 'fresh'`.execute(
      database.system,
    )
    const walked = (floors: Record<string, Date>) =>
      database.asSystem(async (db) => {
        const before = await countEntries(db)
        assert.deepEqual(idsOf(await claim(db, floors)), ['fresh'])
        const count = (await countEntries(db)) - before
        await sql`update work set lease_until = null where id = 'fresh'`.execute(db)
        return count
      })
    const all = await walked({})
    assert.ok(all > 600, `${all} entries without a floor`)
    const few = await walked({ 'busy/t': floor })
    assert.ok(few < 20, `${few} entries with a floor`)
  })

  test('find lanes before, between and behind those that have one, in order', async () => {
    const at = (seconds: number) => new Date(start + seconds * second)
    await addWork(database, [
      { id: 'a', lane: 'a/x', runAt: at(-9) },
      { id: 'b-hidden', lane: 'b/x', runAt: at(-9) },
      { id: 'b', lane: 'b/x', runAt: at(-1) },
      { id: 'c', lane: 'c/x', runAt: at(-9) },
      { id: 'd-hidden', lane: 'd/x', runAt: at(-9) },
      { id: 'e', lane: 'e/x', runAt: at(-9) },
    ])
    const floors = { 'aa/x': at(-2), 'b/x': at(-2), 'd/x': at(-2), 'f/x': at(-2) }
    const whole = await claim(database.system, floors)
    assert.deepEqual(idsOf(whole).toSorted(), ['a', 'b', 'c', 'e'])
    assert.ok(whole.complete)
    const rest = await claim(database.system, {})
    assert.deepEqual(idsOf(rest).toSorted(), ['b-hidden', 'd-hidden'])
  })

  test('go on where the last claim ended', async () => {
    const lanes = ['a', 'b', 'c', 'd'].map((name) => `${name}/x`)
    await addWork(
      database,
      lanes.map((lane) => ({ id: lane, lane, runAt: new Date(start) })),
    )
    const floors = Object.fromEntries(lanes.map((lane) => [lane, new Date(start - second)]))
    const first = await claim(database.system, floors, { total: 2 })
    assert.deepEqual([idsOf(first), first.from], [['a/x', 'b/x'], 'c/x'])
    const next = await claim(database.system, floors, { total: 2, from: first.from })
    assert.deepEqual([idsOf(next), next.from], [['c/x', 'd/x'], ''])
  })

  test('never hide for long what comes below one', async (t) => {
    const lane = 'busy/t'
    let ran = 0
    const ids = new Set<string>()
    startLoop(t, database, async ({ id }) => {
      ran += 1
      ids.add(id)
      return { kind: 'done' }
    })
    // So that there is a floor whatever the loop has seen of the clock.
    for (let round = 0; round < 4; round += 1) {
      const items = Array.from({ length: 300 }, () => ({ id: randomUUID(), lane, runAt: new Date() }))
      await addWork(database, items)
      await until(async () => (await countWork(database)) === 0)
      await new Promise((resolve) => setTimeout(resolve, 400))
    }
    await addWork(database, [{ id: 'late', lane, runAt: new Date(Date.now() - 60 * second) }])
    await until(() => ids.has('late'))
    assert.equal(ran, 1_201)
  })
})

describe('floors', () => {
  function create() {
    let now = 100 * second
    const floors = createClaimFloors(() => now)
    let sinceStart = 0
    return {
      pass(ms: number) {
        now += ms
        sinceStart += ms
      },
      /** A claim of a round that it ends, taking so long. */
      claim(claims: Claim[], tookMs = 20) {
        const told = floors.forClaim('')
        floors.noteClaim(claims, tookMs, '')
        return Object.fromEntries(
          [...told].map(([lane, floor]) => [lane, (floor.getTime() - start) / second]),
        )
      },
      claims: (lane: string, count: number, item: Partial<Claim['item']> = {}) =>
        Array.from({ length: count }, () => makeClaim(lane, new Date(start + sinceStart), item)),
      floors,
    }
  }

  test('trail what was claimed of busy lanes by a second', () => {
    const world = create()
    world.claim([])
    for (let count = 0; count < 8; count += 1) {
      world.claim([...world.claims('busy', 100), ...world.claims('calm', 10)], 1)
      world.pass(100)
    }
    assert.deepEqual(world.claim(world.claims('busy', 10)), {}, 'nothing is old enough')
    world.pass(1_150)
    world.claim([], 20)
    assert.deepEqual(world.claim([]), { busy: 0.6, calm: 0.6 })
  })

  test('are told to no claim of a round that looks at everything, once a second', () => {
    const world = create()
    world.claim(world.claims('busy', 600))
    const told: boolean[] = []
    for (let count = 0; count < 20; count += 1) {
      world.pass(250)
      told.push('busy' in world.claim(world.claims('busy', 5)))
    }
    assert.deepEqual(
      told.slice(8),
      [1, 2, 3].flatMap(() => [true, true, true, false]),
    )
  })

  test('are left aside for a twentieth of the time at most', () => {
    const world = create()
    world.claim(world.claims('busy', 600), 500)
    const full: number[] = []
    for (let at = 0; at < 60 * second; at += 500) {
      world.pass(500)
      const isFull = !('busy' in world.claim(world.claims('busy', 5), 500))
      if (isFull && at > 3 * second) full.push(at)
    }
    assert.ok(full.length >= 5 && full.length <= 6, `full rounds: ${full.join()}`)
  })

  test('are left out once nothing is walked, and known again when something is', () => {
    const world = create()
    world.claim(world.claims('busy', 600))
    world.pass(1_100)
    assert.deepEqual(world.claim([], 20), {}, 'a full round, which took long')
    assert.deepEqual(world.claim([]), { busy: 0 })
    world.pass(1_100)
    assert.deepEqual(world.claim([], 2), {}, 'a full round, which was quick')
    assert.deepEqual(world.claim([]), {})
    world.pass(1_100)
    assert.deepEqual(world.claim([], 20), {}, 'a full round, which took long')
    assert.deepEqual(world.claim([]), { busy: 0 })
  })

  test('are forgotten where something comes back', () => {
    const world = create()
    world.claim(world.claims('busy', 600))
    world.pass(1_100)
    world.claim([], 20)
    assert.deepEqual(world.claim([]), { busy: 0 })
    world.floors.forget('busy')
    assert.deepEqual(world.claim([]), {})
  })

  test('fall to what came below them, which may be the first of many', () => {
    const world = create()
    world.claim(world.claims('busy', 600))
    for (let count = 0; count < 8; count += 1) {
      world.pass(250)
      world.claim(world.claims('busy', 5))
    }
    world.pass(1_100)
    const late = new Date(start - 5 * second)
    world.claim([...world.claims('busy', 1, { runAt: late }), ...world.claims('busy', 5)])
    for (let count = 0; count < 3; count += 1) {
      assert.deepEqual(world.claim(world.claims('busy', 5)), { busy: -5 })
      world.pass(250)
    }
    world.pass(1_100)
    world.claim([])
    assert.deepEqual(world.claim([]), { busy: 3.6 }, 'as before once nothing came there for a second')
  })

  test('fall to what a dead process had claimed', () => {
    const world = create()
    world.claim(world.claims('busy', 600))
    world.pass(1_100)
    const again = { series: 'busy', attempt: 2, runAt: new Date(start - 5 * second) }
    world.claim(world.claims('busy', 1, again))
    assert.deepEqual(world.claim([]), { busy: -5 })
  })

  test('are none of what is ordered or tried again, and of a hundred lanes at most', () => {
    const world = create()
    world.claim([
      ...world.claims('in order', 600, { ordered: true }),
      ...world.claims('again/retry', 600, { series: 'again', attempt: 2 }),
      ...Array.from({ length: 120 }, (_, lane) => world.claims(`lane ${lane}`, 500)).flat(),
    ])
    world.pass(1_100)
    world.claim([], 20)
    const told = Object.keys(world.claim([]))
    assert.equal(told.length, 100)
    assert.ok(told.every((lane) => lane.startsWith('lane')))
    assert.ok(told.includes('lane 119') && !told.includes('lane 0'), 'the last that were claimed')
  })
})

/** Entries of the index that the transaction has looked at. */
async function countEntries(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select pg_stat_get_xact_tuples_returned('work_due'::regclass)::int as count`.execute(db)
  return rows[0]?.count ?? 0
}

function makeClaim(lane: string, runAt: Date, item: Partial<Claim['item']>): Claim {
  const id = randomUUID()
  const known = {
    id,
    kind: 'delivery',
    lane,
    tenantId: null,
    productId: null,
    ref: id,
    runAt,
    attempt: 1,
  } as const
  return {
    item: { ...known, series: null, number: null, ordered: false, ...item },
    limits: undefined,
    token: randomUUID(),
    claimedAt: 0,
  }
}
