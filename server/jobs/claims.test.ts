import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Tables } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { listOldestDue, readBacklog } from './backlog-queries.ts'
import { hurryWork } from './new-work.ts'
import { numberSeries, removeFromSeries } from './series-queries.ts'
import { addWork, countWork, createClock, itemsOf, readWork, startLoop, until } from './testing/work.ts'
import { wakeWork } from './wake.ts'
import type { WorkItem } from './work.ts'
import { changeSeries, type ClaimRequest, claimWork, finishWork } from './work-queries.ts'

const { database } = await createTestDatabase({ after })

const done = { kind: 'done' as const }
const hourMs = 3_600_000

const request = {
  kind: 'delivery' as const,
  from: '',
  total: 10,
  perLane: 10,
  rooms: new Map(),
  leaseSeconds: 30,
}

function claim(given: Partial<ClaimRequest> = {}) {
  const own = { token: randomUUID(), now: new Date(), worker: randomUUID() }
  return claimWork(database.system, { ...request, ...own, ...given })
}

async function countLooks(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ looks: number }>`
    select pg_stat_get_xact_numscans('work_due'::regclass)::int as looks`.execute(db)
  return rows[0]?.looks ?? 0
}

const lanesOf = ({ claims }: Awaited<ReturnType<typeof claim>>) => claims.map(({ item }) => item.lane)

/** A row each in so many lanes, whose names sort in order. */
function oneEach(prefix: string, count: number, runAt?: Date) {
  return Array.from({ length: count }, (_, index) => {
    const lane = `${prefix}-${String(index).padStart(4, '0')}/x`
    return { id: lane, lane, series: lane.slice(0, -2), ...(runAt && { runAt }) }
  })
}

afterEach(async () => {
  await database.system.deleteFrom('work').execute()
  await database.system.deleteFrom('work_series').execute()
})

describe('a claim', () => {
  test('looks at no more lanes than fill it, and the next one goes on behind them', async () => {
    const lanes = Array.from({ length: 30 }, (_, index) => `lane-${String(index).padStart(2, '0')}`)
    await addWork(
      database,
      lanes.flatMap((lane) => itemsOf(lane, 6)),
    )
    const served: string[] = []
    let from = ''
    for (let round = 0; round < 15; round += 1) {
      const answer = await claim({ from, perLane: 5 })
      served.push(...lanesOf(answer))
      assert.equal(answer.complete, false)
      from = answer.from
    }
    for (const lane of lanes) assert.equal(served.filter((one) => one === lane).length, 5)
    assert.equal(from, '', 'the round is over')
    const looks = await database.asSystem(async (db) => {
      const before = await countLooks(db)
      await claimWork(db, { ...request, total: 4, perLane: 4, token: randomUUID(), now: new Date() })
      return (await countLooks(db)) - before
    })
    assert.ok(looks <= 9, `${looks} looks into the index for 4 rows of 4 lanes`)
  })

  test('steps over a paused series as a whole, and over one whose limits belong to another', async () => {
    const now = new Date()
    const many = Array.from({ length: 100 }, (_, index) => String(index).padStart(2, '0'))
    await addWork(
      database,
      ['paused', 'limited', 'room'].flatMap((series) =>
        many.map((lane) => ({ id: `${series}${lane}`, lane: `${series}/${lane}`, series })),
      ),
    )
    // What sorts next to the lanes that are stepped over.
    await addWork(
      database,
      ['limited0', 'paused-', 'paused0', 'room0'].map((lane) => ({ id: lane, lane })),
    )
    await changeSeries(database.system, 'paused', { pausedUntil: new Date(now.getTime() + 60_000) })
    await changeSeries(database.system, 'limited', { mostRunning: 3 })
    const rooms = new Map([['room', 0]])
    const answer = await claim({ now, rooms })
    assert.deepEqual(lanesOf(answer).toSorted(), ['limited0', 'paused-', 'paused0', 'room0'])
    assert.deepEqual(answer.ownable, ['limited'])
    assert.ok(answer.complete)
  })

  test('takes no more of a series than it has room for, and begins behind the lane it is told', async () => {
    const lanes = ['a', 'b', 'c', 'd'].map((lane) => `end/${lane}`)
    await addWork(
      database,
      lanes.flatMap((lane) => itemsOf(lane, 3).map((item) => ({ ...item, series: 'end' }))),
    )
    const rooms = new Map([['end', 4]])
    const first = await claim({ rooms })
    assert.deepEqual(lanesOf(first), ['end/a', 'end/a', 'end/a', 'end/b'])
    const behind = new Map([['end', 'end/b']])
    assert.deepEqual(lanesOf(await claim({ rooms, behind })), ['end/c', 'end/c', 'end/c', 'end/d'])
  })

  test('leaves what is tried again where it is when there is no room for it', async () => {
    const again = ['a', 'b', 'c'].flatMap((lane) =>
      itemsOf(`end/${lane}/retry`, 3).map((item) => ({ ...item, series: 'end' })),
    )
    await addWork(database, [
      ...again,
      { id: 'first', lane: 'end/d', series: 'end' },
      { id: 'orphan', lane: 'end/e', series: 'end' },
    ])
    await sql`update work set attempts = 1 where id <> 'first'`.execute(database.system)
    assert.deepEqual(lanesOf(await claim({ retries: 0 })), ['end/d'])
    const some = lanesOf(await claim({ retries: 4 }))
    assert.deepEqual(
      some,
      ['a', 'a', 'a', 'b'].map((lane) => `end/${lane}/retry`),
    )
    assert.ok(lanesOf(await claim()).includes('end/e'))
  })

  test('numbers what it takes without gaps, however many lanes and workers there are', async () => {
    await addWork(
      database,
      Array.from({ length: 20 }, (_, lane) =>
        itemsOf(`end/${lane}`, 10).map((item) => ({ ...item, series: 'end' })),
      ).flat(),
    )
    const answers = await Promise.all(Array.from({ length: 8 }, () => claim({ total: 40, perLane: 3 })))
    const numbers = answers.flatMap(({ claims }) => claims.map(({ item }) => item.number ?? 0))
    assert.ok(numbers.length > 40)
    assert.deepEqual(
      numbers.toSorted((left, right) => left - right),
      numbers.map((_, index) => index + 1),
    )
  })

  test('that only set work aside is followed by another at once', async (t) => {
    const behind = Array.from({ length: 1500 }, (_, index) => ({
      id: `deep-${String(index).padStart(5, '0')}`,
      lane: 'deep/x',
      series: 'deep',
      orderKey: 'one',
    }))
    await addWork(database, [...behind, { id: 'last', lane: 'deep/x', series: 'deep' }])
    const began = performance.now()
    let waited = Infinity
    startLoop(t, database, async ({ id }, signal) => {
      if (id === 'last') waited = performance.now() - began
      else await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return done
    })
    await until(() => waited < Infinity)
    assert.ok(waited < 1_000, `${waited} ms`)
  })
})

describe('work whose time has not come', () => {
  const later = () => new Date(Date.now() + hourMs)

  test('costs a claim nothing, in however many lanes it waits', async () => {
    await addWork(database, [...oneEach('later', 600, later()), { id: 'now', lane: 'now' }])
    assert.deepEqual(lanesOf(await claim()), ['now'])
    assert.equal((await claim()).complete, true)
  })

  test('is claimed when it comes, by whoever claims first', async () => {
    const at = later()
    await addWork(database, oneEach('later', 50, at))
    assert.deepEqual(lanesOf(await claim({ now: new Date(at.getTime() - 1) })), [])
    const answers = await Promise.all([0, 1, 2].map(() => claim({ now: at, total: 100 })))
    const again = await claim({ now: at, total: 100 })
    assert.equal([...answers, again].flatMap(lanesOf).length, 50)
  })

  test('is brought back a thousand at a time, and another claim follows', async () => {
    const at = later()
    await addWork(database, oneEach('later', 1200, at))
    assert.equal((await claim({ now: at })).stirred, true)
    assert.equal((await claim({ now: at })).stirred, false)
    const { rows } = await sql`select from work where dormant`.execute(database.system)
    assert.equal(rows.length, 0)
  })

  test('is on time after a retry, and when it is brought forward', async () => {
    const at = later()
    await addWork(database, [{ id: 'again', lane: 'end/x', series: 'end' }])
    const { claims } = await claim()
    const result = { kind: 'retry' as const, runAt: at, counts: true }
    await finishWork(
      database.system,
      claims.map((one) => ({ claim: one, result })),
      new Date(),
    )
    assert.equal((await readWork(database, 'again'))?.dormant, true)
    await hurryWork(database.system, [{ id: 'again', runAt: new Date() }])
    assert.equal((await readWork(database, 'again'))?.dormant, false)
    assert.deepEqual(lanesOf(await claim()), ['end/x/retry'])
  })

  test('starts within the poll of a loop', async (t) => {
    const clock = createClock()
    await addWork(database, oneEach('later', 20, new Date(clock.now().getTime() + hourMs)))
    startLoop(t, database, async () => done, { now: clock.now })
    await until(async () => (await countWork(database)) === 20)
    clock.advance(hourMs)
    const came = performance.now()
    await until(async () => (await countWork(database)) === 0)
    assert.ok(performance.now() - came < 2_000)
  })

  test('keeps its order, behind other work and before it', async () => {
    const at = later()
    const row = { lane: 'end/x', series: 'end', orderKey: 'one' }
    await addWork(database, [
      { id: 'first', ...row, runAt: at },
      { id: 'second', ...row },
    ])
    assert.deepEqual(lanesOf(await claim()), [])
    const ids = async () => (await claim({ now: at })).claims.map(({ item }) => item.id)
    assert.deepEqual(await ids(), ['first'])
    await database.system.deleteFrom('work').where('id', '=', 'first').execute()
    assert.deepEqual(await ids(), ['second'])
  })

  test('is found by who reads a series, counts what waits, or looks for what is late', async () => {
    const at = later()
    await addWork(database, [
      { id: 'later', lane: 'end/x', series: 'end', tenantId: 'tenant_a', runAt: at },
      { id: 'now', lane: 'end/x', series: 'end', tenantId: 'tenant_a', runAt: at },
    ])
    await database.system.updateTable('work').set({ run_at: new Date() }).where('id', '=', 'now').execute()
    const [share] = await readBacklog(database.system, { kind: 'delivery', now: new Date(), most: 1 })
    assert.deepEqual([share?.due, share?.later], [1, 1])
    const after = { kind: 'delivery' as const, before: new Date(at.getTime() + 1) }
    assert.equal((await listOldestDue(database.system, after))[0]?.tenant_id, 'tenant_a')
    await database.system.deleteFrom('work').where('id', '=', 'now').execute()
    assert.deepEqual(
      (await listOldestDue(database.system, after))[0]?.oldest_due,
      at,
      'no claim has woken it',
    )
    assert.equal(await numberSeries(database.system, 'delivery', 'end', 10), 1)
    const { rows } = await sql`select from numbered_work('delivery', 'end', 0)`.execute(database.system)
    assert.equal(rows.length, 1)
    assert.equal((await removeFromSeries(database.system, 'delivery', 'end', { through: 1 }, 10)).length, 1)
  })
})

describe('a loop', () => {
  test('holds no more than its slots and what it looks ahead, whatever is tried again and hangs', async (t) => {
    const lanes = Array.from({ length: 100 }, (_, index) => `end-${index}/x/retry`)
    const again = lanes.flatMap((lane) =>
      itemsOf(lane, 10).map((item) => ({ ...item, series: lane.slice(0, -8) })),
    )
    await addWork(database, again)
    await database.system.updateTable('work').set({ attempts: 1 }).execute()
    let hanging = 0
    startLoop(
      t,
      database,
      async (item, signal) => {
        if (item.lane === 'first') return done
        hanging += 1
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
      { slots: 16 },
    )
    await until(() => hanging === 8)
    await addWork(database, itemsOf('first', 200))
    await until(async () => (await countWork(database)) === again.length)
    const { rows } = await sql`select from work where lease_until is not null`.execute(database.system)
    assert.ok(rows.length <= 16 + 32, `${rows.length} claimed`)
    assert.equal(hanging, 8)
  })

  test('that gathers claims together what comes within a moment', async (t) => {
    const claimed: string[][] = []
    const gathering = {
      // Longer than between looks for work of others, so that each nudge waits for a while.
      gatherMs: 600,
      expect: (items: readonly WorkItem[]) => void claimed.push(items.map(({ id }) => id)),
    }
    startLoop(t, database, async () => done, gathering)
    const pairs = ['one', 'two', 'three', 'four', 'five'].map((name) => itemsOf(name, 2))
    for (const pair of pairs) {
      for (const item of pair) {
        await addWork(database, [item])
        wakeWork('delivery')
        await delay(30)
      }
      await until(async () => (await countWork(database)) === 0)
    }
    // The first has no claim before it, and a look for work of others may come between the two.
    const together = claimed.filter(({ length }) => length === 2)
    assert.ok(together.length >= 3, JSON.stringify(claimed))
  })
})
