import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, afterEach, describe, test, type TestContext } from 'node:test'
import { createTestDatabase } from '#core/testing/database.ts'
import { addWork, countWork, itemsOf, startLoop, until } from './testing/work.ts'
import { changeSeries, type SeriesChange } from './work-queries.ts'

const { database } = await createTestDatabase({ after })

const done = { kind: 'done' as const }

afterEach(async () => {
  await database.system.deleteFrom('work').execute()
  await database.system.deleteFrom('work_series').execute()
})

/** Work of an endpoint, `series/tenant`. */
function deliveriesOf(lane: string, count: number) {
  const [series] = lane.split('/')
  return itemsOf(lane, count).map((item) => ({ ...item, series }))
}

async function haveBeenTried(): Promise<void> {
  await database.system.updateTable('work').set({ attempts: 1 }).where('lane', 'like', '%/retry').execute()
}

/** Runs all there is. @returns the lanes of what ran, in order. */
async function runAll(t: TestContext, runMs: number, slots = 64): Promise<string[]> {
  const lanes: string[] = []
  startLoop(
    t,
    database,
    async ({ lane }) => {
      lanes.push(lane)
      await delay(runMs)
      return done
    },
    { slots },
  )
  await until(async () => (await countWork(database)) === 0)
  return lanes
}

describe('a series with limits', () => {
  const limits: SeriesChange[] = [
    { mostRunning: 1 },
    { mostRunning: 4 },
    { perSecond: 20 },
    { perSecond: 60 },
  ]
  for (const limit of limits) {
    test(`of ${JSON.stringify(limit)} lets its lanes take turns`, async (t) => {
      await addWork(database, [
        ...deliveriesOf('end/a', 40),
        ...deliveriesOf('end/b', 2),
        ...deliveriesOf('end/c', 2),
      ])
      await changeSeries(database.system, 'end', limit)
      const lanes = await runAll(t, 5)
      for (const lane of ['end/b', 'end/c'])
        assert.ok(lanes.indexOf(lane) < 15, `${lane} at ${lanes.indexOf(lane)}`)
    })
  }

  test('starts what waits for its rate on time, not when it looks for more', async (t) => {
    const gaps: number[] = []
    for (const series of ['end0', 'end1', 'end2', 'end3', 'end4']) {
      const end = Promise.withResolvers<typeof done>()
      const began: number[] = []
      const loop = startLoop(t, database, () => {
        began.push(performance.now())
        return end.promise
      })
      await changeSeries(database.system, series, { perSecond: 15 })
      await addWork(database, deliveriesOf(`${series}/a`, 2))
      await until(() => began.length === 2)
      gaps.push((began[1] ?? 0) - (began[0] ?? 0))
      end.resolve(done)
      await until(async () => (await countWork(database)) === 0)
      await loop.stop(0)
    }
    // It starts with one and a half: half of one is due after 33 ms, and claims come after 20 and 50.
    assert.ok(Math.min(...gaps) < 45, gaps.join(', '))
  })

  test('comes to what is tried again beside a backlog of first attempts', async (t) => {
    await addWork(database, [...deliveriesOf('end/a', 40), ...deliveriesOf('end/a/retry', 2)])
    await haveBeenTried()
    await changeSeries(database.system, 'end', { mostRunning: 1 })
    const lanes = await runAll(t, 5)
    assert.ok(lanes.indexOf('end/a/retry') < 15, `at ${lanes.indexOf('end/a/retry')}`)
  })
})

describe('what is tried again', () => {
  test('has its turn at every endpoint, however much of it another one has', async (t) => {
    await addWork(database, [...deliveriesOf('aend/x/retry', 100), ...deliveriesOf('bend/x/retry', 2)])
    await haveBeenTried()
    const lanes = await runAll(t, 20, 16)
    assert.ok(lanes.indexOf('bend/x/retry') < 40, `at ${lanes.indexOf('bend/x/retry')}`)
  })

  test('is not the first attempts of a tenant called retry', async (t) => {
    await addWork(database, deliveriesOf('aend/x/retry', 40))
    await haveBeenTried()
    const ran = new Set<string>()
    let hanging = 0
    startLoop(
      t,
      database,
      async ({ lane }) => {
        ran.add(lane)
        if (lane !== 'aend/x/retry') return done
        hanging += 1
        await delay(3_000)
        return done
      },
      { slots: 16 },
    )
    await until(() => hanging >= 8)
    const began = performance.now()
    await addWork(database, deliveriesOf('bend/retry', 1))
    await until(() => ran.has('bend/retry'))
    assert.ok(performance.now() - began < 1_500, `after ${performance.now() - began} ms`)
  })

  test('moves to a lane of its own for a tenant called retry as well', async (t) => {
    await addWork(database, deliveriesOf('end/retry', 1))
    startLoop(t, database, async () => ({
      kind: 'retry',
      runAt: new Date(Date.now() + 60_000),
      counts: true,
    }))
    await until(async () => {
      const rows = await database.system.selectFrom('work').select('lane').execute()
      return rows[0]?.lane === 'end/retry/retry'
    })
  })

  test('may be tried more often than the counter goes', async (t) => {
    await addWork(database, [...deliveriesOf('end/x/retry', 1), ...deliveriesOf('other/x', 1)])
    await database.system
      .updateTable('work')
      .set({ attempts: 32_767 })
      .where('lane', '=', 'end/x/retry')
      .execute()
    assert.deepEqual((await runAll(t, 1)).toSorted(), ['end/x/retry', 'other/x'])
  })
})
