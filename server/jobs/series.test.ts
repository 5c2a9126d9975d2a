import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { after, afterEach, describe, test } from 'node:test'
import { sql } from 'kysely'
import { createTestDatabase } from '#core/testing/database.ts'
import { addWork, countWork, itemsOf, startLoop, until, type WorkSeed } from './testing/work.ts'
import { changeSeries, claimWork, disownSeries, finishWork, ownSeries } from './work-queries.ts'

const { database } = await createTestDatabase({ after })

const done = { kind: 'done' as const }

/** A run that ends only when it is told to stop. */
function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

function claim(worker: string, total = 10) {
  return claimWork(database.system, {
    kind: 'delivery',
    from: '',
    total,
    perLane: total,
    rooms: new Map(),
    token: randomUUID(),
    leaseSeconds: 30,
    now: new Date(),
    worker,
  })
}

function inOrder(series: string, key: string, count: number): WorkSeed[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `${series}-${key}-${String(index).padStart(5, '0')}`,
    lane: `${series}/x`,
    series,
    orderKey: key,
  }))
}

async function idsOf(worker: string): Promise<string[]> {
  return (await claim(worker)).claims.map(({ item }) => item.id)
}

async function countAside(series: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from work where series = ${series} and blocked`.execute(database.system)
  return rows[0]?.count ?? 0
}

// After the loops of the test, which end before this.
afterEach(async () => {
  await database.system.deleteFrom('work').execute()
})

describe('the owner of a series with limits', () => {
  const [first, second] = [randomUUID(), randomUUID()]

  test('is told of series that nobody owns, and claims only its own', async () => {
    await changeSeries(database.system, 'owned', { mostRunning: 5 })
    await addWork(database, [
      { id: 'owned-1', lane: 'owned/x', series: 'owned' },
      { id: 'other-1', lane: 'other/x', series: 'other' },
    ])
    const before = await claim(first)
    assert.deepEqual(
      before.claims.map(({ item }) => item.id),
      ['other-1'],
    )
    assert.deepEqual(before.ownable, ['owned'])
    assert.deepEqual(await ownSeries(database.system, first, ['owned', 'other'], 30), ['owned'])
    assert.deepEqual(await ownSeries(database.system, second, ['owned'], 30), [])
    assert.deepEqual(await idsOf(second), [])
    assert.deepEqual(await idsOf(first), ['owned-1'])
  })

  test('is another as soon as its time is over or it gives the series back', async () => {
    await changeSeries(database.system, 'handed', { mostRunning: 5 })
    await ownSeries(database.system, first, ['handed'], 30)
    await disownSeries(database.system, first)
    assert.deepEqual(await ownSeries(database.system, second, ['handed'], 0), ['handed'])
    assert.deepEqual(await ownSeries(database.system, first, ['handed'], 30), ['handed'])
  })

  test('is replaced within the lease when its process is gone', { timeout: 20_000 }, async (t) => {
    await changeSeries(database.system, 'crashed', { mostRunning: 1 })
    await ownSeries(database.system, first, ['crashed'], 2)
    await addWork(database, [{ id: 'crashed-1', lane: 'crashed/x', series: 'crashed' }])
    const began = Date.now()
    startLoop(t, database, async () => done, { leaseSeconds: 2 })
    await until(async () => (await countWork(database)) === 0)
    assert.ok(Date.now() - began < 4_000)
  })

  test('stays while its calls take all slots and longer than the lease', { timeout: 20_000 }, async (t) => {
    await changeSeries(database.system, 'long', { mostRunning: 2 })
    await addWork(
      database,
      itemsOf('long/x', 4).map((item) => ({ ...item, series: 'long' })),
    )
    let running = 0
    const run = async (_: unknown, signal: AbortSignal) => {
      running += 1
      return hang(signal)
    }
    startLoop(t, database, run, { leaseSeconds: 2, slots: 4, laneCap: 4 })
    await until(() => running === 2)
    await addWork(database, [...itemsOf('one', 1), ...itemsOf('another', 1)])
    await until(() => running === 4)
    startLoop(t, database, run, { leaseSeconds: 2 })
    await delay(5_000)
    assert.equal(running, 4)
  })

  test('neither waits for who changes several series nor makes them wait in a circle', async (t) => {
    const names = Array.from({ length: 12 }, (_, index) => `circle-${String(index).padStart(2, '0')}`)
    for (const name of names) await changeSeries(database.system, name, { mostRunning: 3 })
    await addWork(
      database,
      names.flatMap((name) => itemsOf(`${name}/x`, 20).map((item) => ({ ...item, series: name }))),
    )
    let faults = 0
    let over = false
    const change = async () => {
      while (!over) {
        await database
          .asSystem(async (db) => {
            for (const name of names) await changeSeries(db, name, { mostRunning: 3 })
          })
          .catch(() => (faults += 1))
      }
    }
    const changes = [change(), change()]
    for (let loop = 0; loop < 3; loop += 1) startLoop(t, database, async () => done)
    await until(async () => (await countWork(database)) === 0)
    over = true
    await Promise.all(changes)
    assert.equal(faults, 0)
  })
})

describe('work that has to stay behind other work', () => {
  test('is looked at once: then only the first of its key is due', async () => {
    const worker = randomUUID()
    await addWork(database, [...inOrder('deep', 'a', 1000), ...inOrder('deep', 'b', 1)])
    const ids: string[] = []
    for (let round = 0; round < 12; round += 1) ids.push(...(await idsOf(worker)))
    assert.deepEqual(ids, ['deep-a-00000', 'deep-b-00000'])
    assert.equal(await countAside('deep'), 999)
  })

  test('comes back one by one, whoever deletes what stands before it', async () => {
    const worker = randomUUID()
    await addWork(database, inOrder('back', 'a', 3))
    assert.deepEqual(await idsOf(worker), ['back-a-00000'])
    await database.system.deleteFrom('work').where('id', '=', 'back-a-00000').execute()
    assert.deepEqual(await idsOf(worker), ['back-a-00001'])
    // From the middle: the last one stays behind what is left.
    await database.system
      .updateTable('work')
      .set({ lease_until: null })
      .where('series', '=', 'back')
      .execute()
    await addWork(database, [{ id: 'back-a-00003', lane: 'back/x', series: 'back', orderKey: 'a' }])
    await database.system.deleteFrom('work').where('id', '=', 'back-a-00002').execute()
    assert.deepEqual(await idsOf(worker), ['back-a-00001'])
  })

  test('is not forgotten when the row before it is being deleted from the middle', async () => {
    const worker = randomUUID()
    await addWork(database, inOrder('middle', 'a', 3))
    const [first] = (await claim(worker, 1)).claims
    await sql`update work set blocked = false where series = 'middle'`.execute(database.system)
    const deleted = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    const deleting = database.asSystem(async (db) => {
      await db.deleteFrom('work').where('id', '=', 'middle-a-00001').execute()
      deleted.resolve()
      await ended.promise
    })
    await deleted.promise
    await claim(worker)
    assert.ok(first)
    await finishWork(database.system, [{ claim: first, result: done }], new Date())
    ended.resolve()
    await deleting
    await until(async () => (await idsOf(worker)).includes('middle-a-00002'))
  })

  test('is not rewritten when the first is tried again', async () => {
    const worker = randomUUID()
    await addWork(database, inOrder('still', 'a', 50))
    const { claims } = await claim(worker)
    const read = async () => {
      const { rows } = await sql<{ id: string; xmin: string }>`
        select id, xmin::text from work where series = 'still' and blocked order by id`.execute(
        database.system,
      )
      return rows
    }
    const before = await read()
    const retry = { kind: 'retry' as const, runAt: new Date(Date.now() + 60_000), counts: true }
    await finishWork(
      database.system,
      claims.map((one) => ({ claim: one, result: retry })),
      new Date(),
    )
    assert.equal(before.length, 49)
    assert.deepEqual(await read(), before)
  })

  test(
    'is never lost and never early, whatever is stored, tried again and given up meanwhile',
    { timeout: 60_000 },
    async (t) => {
      const keys = ['a', 'b', 'c', 'd']
      const started = new Map<string, string[]>(keys.map((key) => [key, []]))
      const stored = new Map<string, string[]>(keys.map((key) => [key, []]))
      const running = new Set<string>()
      let overlaps = 0
      const run = async ({ id }: { id: string }) => {
        const key = id.split('-')[1] ?? ''
        if (running.has(key)) overlaps += 1
        running.add(key)
        await delay(Math.random() * 3)
        running.delete(key)
        const dice = Math.random()
        if (dice < 0.3)
          return { kind: 'retry' as const, runAt: new Date(Date.now() + dice * 50), counts: true }
        started.get(key)?.push(id)
        return dice < 0.4 ? { kind: 'dead' as const, error: 'given up' } : done
      }
      for (let loop = 0; loop < 3; loop += 1) startLoop(t, database, run)
      const storing = keys.map(async (key) => {
        for (let place = 0; place < 60; place += 1) {
          const id = `mixed-${key}-${String(place).padStart(3, '0')}`
          stored.get(key)?.push(id)
          await addWork(database, [{ id, lane: `mixed/${place % 2}`, series: 'mixed', orderKey: key }])
          if (Math.random() < 0.3) await delay(Math.random() * 20)
        }
      })
      await Promise.all(storing)
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(started, stored)
      assert.equal(overlaps, 0)
    },
  )
})

test('a pause is not cut short by a shorter one, and ends when it is told to', async () => {
  const longer = new Date('2026-01-01T00:01:00Z')
  const read = async () => {
    const row = await database.system
      .selectFrom('work_series')
      .select('paused_until')
      .where('series', '=', 'twice')
      .executeTakeFirstOrThrow()
    return row.paused_until
  }
  await changeSeries(database.system, 'twice', { pausedUntil: longer })
  await changeSeries(database.system, 'twice', { pausedUntil: new Date('2026-01-01T00:00:10Z') })
  assert.deepEqual(await read(), longer)
  await changeSeries(database.system, 'twice', { pausedUntil: null })
  assert.equal(await read(), null)
})
