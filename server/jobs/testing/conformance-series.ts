import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '#core/database.ts'
import { changeSeries, finishWork } from '../work-queries.ts'
import type { WorkItem } from '../work.ts'
import { addWork, countWork, createClock, hang, itemsOf, type StartLoop, until } from './work.ts'

const done = { kind: 'done' as const }

/** What every way of sharing work promises of series. */
export function testSeries(database: Database, startLoop: StartLoop): void {
  describe('a series', () => {
    test('with limits is worked on by one process at a time', async (t) => {
      const items = Array.from({ length: 40 }, (_, index) => ({
        id: `limited-${String(index).padStart(3, '0')}`,
        lane: `limited/${index % 4}`,
        series: 'limited',
      }))
      await changeSeries(database.system, 'limited', { mostRunning: 2 })
      await addWork(database, items)
      let running = 0
      let most = 0
      const run = async () => {
        running += 1
        most = Math.max(most, running)
        await new Promise((resolve) => setTimeout(resolve, 5))
        running -= 1
        return done
      }
      for (let loop = 0; loop < 3; loop += 1) startLoop(t, database, run)
      await until(async () => (await countWork(database)) === 0)
      assert.equal(most, 2)
    })

    test('with a limit lets the next start once the end of the one before is stored', async (t) => {
      await changeSeries(database.system, 'counted', { mostRunning: 1 })
      await addWork(
        database,
        [1, 2, 3].map((place) => ({ id: `counted-${place}`, lane: 'counted/x', series: 'counted' })),
      )
      const steps: string[] = []
      const run = async ({ id }: WorkItem) => {
        steps.push(`${id} runs`)
        return done
      }
      startLoop(t, database, run, {
        finish: async (db, ended, now) => {
          await delay(100)
          const endings = ended.map(({ ending }) => ending)
          const held = await finishWork(db, endings, now)
          steps.push(...ended.flatMap(({ finished }) => (finished ? [`${finished.item.id} ended`] : [])))
          return held
        },
      })
      await until(() => steps.length >= 6)
      assert.deepEqual(
        steps,
        [1, 2, 3].flatMap((place) => [`counted-${place} runs`, `counted-${place} ended`]),
      )
    })

    test('that is paused gives nothing until then', async (t) => {
      const clock = createClock()
      await changeSeries(database.system, 'paused', { pausedUntil: new Date(clock.now().getTime() + 60_000) })
      await addWork(database, [
        { id: 'paused-1', lane: 'paused/a', series: 'paused' },
        { id: 'free-1', lane: 'free/a' },
      ])
      const runs: string[] = []
      startLoop(
        t,
        database,
        async (item) => {
          runs.push(item.id)
          return done
        },
        { now: clock.now },
      )
      await until(() => runs.length === 1)
      assert.deepEqual(runs, ['free-1'])
      clock.advance(61_000)
      await until(() => runs.length === 2)
      assert.deepEqual(runs, ['free-1', 'paused-1'])
    })

    test('keeps what shares a key in order while earlier work is tried again', async (t) => {
      const rows = ['a-1', 'b-1', 'a-2', 'b-2', 'a-3'].map((id) => ({
        id: `order-${id}`,
        lane: 'order/x',
        series: 'order',
        orderKey: id.slice(0, 1),
      }))
      await addWork(database, rows)
      const runs: string[] = []
      let failed = false
      startLoop(t, database, async (item) => {
        runs.push(item.id.slice('order-'.length))
        if (item.id !== 'order-a-1' || failed) return done
        failed = true
        return { kind: 'retry', runAt: new Date(Date.now() + 300), counts: true }
      })
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(
        runs.filter((id) => id.startsWith('a')),
        ['a-1', 'a-1', 'a-2', 'a-3'],
      )
      assert.deepEqual(
        runs.filter((id) => id.startsWith('b')),
        ['b-1', 'b-2'],
      )
      assert.ok(runs.indexOf('b-2') < runs.lastIndexOf('a-1'))
    })

    test('does not let attempts that are repeated take more than half of the slots', async (t) => {
      const old = Array.from({ length: 20 }, (_, index) => ({
        id: `old-${index}`,
        lane: `old-${index}/x`,
        series: `old-${index}`,
      }))
      await addWork(database, old)
      await database.system.updateTable('work').set({ attempts: 3 }).where('id', 'like', 'old-%').execute()
      let hanging = 0
      startLoop(
        t,
        database,
        (item, signal) => {
          if (!item.id.startsWith('old')) return Promise.resolve(done)
          hanging += 1
          return hang(signal)
        },
        { slots: 8, laneCap: 8 },
      )
      await until(() => hanging === 4)
      await addWork(database, itemsOf('fresh', 20))
      await until(async () => (await countWork(database)) === 20)
      assert.equal(hanging, 4)
    })
  })
}
