import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import pg from 'pg'
import { type Database, openDatabase } from '#core/database.ts'
import type { TestDatabase } from '#core/testing/database.ts'
import { testSeries } from './conformance-series.ts'
import { addWork, countWork, createClock, hang, itemsOf, readWork, type StartLoop, until } from './work.ts'
import { wakeWork } from '../wake.ts'
import { claimWork, finishWork } from '../work-queries.ts'
import type { WorkItem } from '../work.ts'

const done = { kind: 'done' as const }

function claim(db: Database, token: string, leaseSeconds: number) {
  const request = {
    kind: 'delivery' as const,
    from: '',
    total: 10,
    perLane: 10,
    rooms: new Map<string, number>(),
  }
  return claimWork(db.system, { ...request, token, leaseSeconds, now: new Date() })
}

const tokens = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'] as const

export interface Engine {
  /** Started loops end with their test. */
  startLoop: StartLoop
  /** For the process that is killed. */
  queueUrl?: string
}

/** What every way of sharing work among processes promises. */
export function testWorkLoop(
  { database, urls, ownerUrl }: TestDatabase,
  { startLoop, queueUrl }: Engine,
): void {
  describe('work of a process that was killed', () => {
    test('runs again after its lease, and nothing is lost or doubled', { timeout: 20_000 }, async (t) => {
      const quick = itemsOf('quick', 20)
      const slow = itemsOf('slow', 20)
      await addWork(database, [...quick, ...slow])
      const script = new URL('./hanging-worker.ts', import.meta.url).pathname
      const worker = spawn(process.execPath, [script, JSON.stringify(urls), '1', queueUrl ?? ''], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const started = new Set<string>()
      createInterface({ input: worker.stdout }).on('line', (id) => started.add(id))
      await until(async () => started.size > quick.length && (await countWork(database)) === slow.length)
      worker.kill('SIGKILL')
      const interrupted = [...started].filter((id) => id.startsWith('slow'))
      const runs: WorkItem[] = []
      startLoop(t, database, async (item) => {
        runs.push(item)
        return done
      })
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(
        runs.map((item) => item.id).toSorted(),
        slow.map((item) => item.id),
      )
      const attempts = new Map(runs.map((item) => [item.id, item.attempt]))
      for (const id of interrupted) assert.equal(attempts.get(id), 2)
    })

    test('is refused from the late finisher once it was taken over', async () => {
      await addWork(database, [{ id: 'late' }])
      const [first] = (await claim(database, tokens[0], 0)).claims
      const [second] = (await claim(database, tokens[1], 30)).claims
      assert.ok(first && second)
      assert.equal(second.item.attempt, 2)
      assert.deepEqual(await finishWork(database.system, [{ claim: first, result: done }], new Date()), [
        false,
      ])
      assert.ok(await readWork(database, 'late'))
      const both = [first, second].map((claimed) => ({ claim: claimed, result: done }))
      assert.deepEqual(await finishWork(database.system, both, new Date()), [false, true])
      assert.equal(await readWork(database, 'late'), undefined)
    })
  })

  describe('lanes', () => {
    test('do not wait behind the backlog of another', async (t) => {
      const backlog = 3000
      await addWork(database, itemsOf('noisy', backlog))
      const order: string[] = []
      startLoop(t, database, async (item) => {
        order.push(item.lane)
        await new Promise((resolve) => setImmediate(resolve))
        return done
      })
      await until(() => order.length > backlog / 20)
      await addWork(database, itemsOf('small', 10))
      const before = order.length
      wakeWork('delivery')
      await until(async () => (await countWork(database)) === 0)
      const behind = order.lastIndexOf('small') - before
      assert.equal(order.filter((lane) => lane === 'small').length, 10)
      assert.ok(behind < backlog / 4, `the last of ten ran after ${behind} others`)
    })

    test('that hang do not stop others, and never run more than their cap', async (t) => {
      await addWork(database, [
        ...itemsOf('hang-a', 50),
        ...itemsOf('hang-b', 50),
        ...itemsOf('healthy', 300),
      ])
      const running = new Map<string, number>()
      let most = 0
      const loop = startLoop(
        t,
        database,
        async (item, signal) => {
          if (!item.lane.startsWith('hang')) return done
          running.set(item.lane, (running.get(item.lane) ?? 0) + 1)
          most = Math.max(most, ...running.values())
          return hang(signal)
        },
        { slots: 16, laneCap: 8 },
      )
      await until(async () => (await countWork(database)) === 100)
      assert.deepEqual(running.keys().toArray().toSorted(), ['hang-a', 'hang-b'])
      assert.ok(most <= 8)
      await loop.stop(0)
      await database.system.deleteFrom('work').execute()
    })

    test('are all served when there are more than one claim looks at', async (t) => {
      const lanes = Array.from({ length: 600 }, (_, index) => itemsOf(`lane-${index}`, 2))
      await addWork(database, lanes.flat())
      const ran = new Set<string>()
      startLoop(t, database, async (item) => {
        ran.add(item.id)
        return done
      })
      await until(async () => (await countWork(database)) === 0)
      assert.equal(ran.size, 1200)
    })
  })

  describe('a result', () => {
    test('"retry" runs again at its time and not before, as the next attempt', async (t) => {
      const clock = createClock()
      const attempts: number[] = []
      await addWork(database, [
        { id: 'retried' },
        { id: 'other', runAt: new Date(clock.now().getTime() + 60_000) },
      ])
      startLoop(
        t,
        database,
        async (item) => {
          if (item.id === 'other') return done
          attempts.push(item.attempt)
          if (item.attempt === 2) return done
          return { kind: 'retry', runAt: new Date(clock.now().getTime() + 120_000), counts: true }
        },
        { now: () => clock.now() },
      )
      await until(async () => {
        const row = await readWork(database, 'retried')
        return row?.attempts === 1 && row.token === null
      })
      clock.advance(60_000)
      await until(async () => (await readWork(database, 'other')) === undefined)
      assert.deepEqual(attempts, [1])
      clock.advance(60_000)
      await until(async () => (await readWork(database, 'retried')) === undefined)
      assert.deepEqual(attempts, [1, 2])
    })

    test('"retry" that does not count gives the attempt back', async (t) => {
      const attempts: number[] = []
      await addWork(database, [{ id: 'throttled' }])
      startLoop(t, database, async (item) => {
        attempts.push(item.attempt)
        return attempts.length === 3 ? done : { kind: 'retry', runAt: new Date(), counts: false }
      })
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(attempts, [1, 1, 1])
    })

    test('"dead" leaves the hot table and keeps what is needed to send it back', async (t) => {
      await addWork(database, [{ id: 'hopeless', lane: 'x', tenantId: 'tenant_1' }])
      startLoop(t, database, async () => ({ kind: 'dead', error: 'no\0 such address' }))
      await until(async () => (await countWork(database)) === 0)
      const dead = await database.system.selectFrom('dead_work').selectAll().executeTakeFirstOrThrow()
      assert.deepEqual(
        {
          id: dead.id,
          lane: dead.lane,
          tenant: dead.tenant_id,
          ref: dead.ref,
          attempts: dead.attempts,
          error: dead.error,
        },
        {
          id: 'hopeless',
          lane: 'x',
          tenant: 'tenant_1',
          ref: 'hopeless',
          attempts: 1,
          error: 'no such address',
        },
      )
    })

    test('is recorded in the transaction that ends the work, and not when the fence refuses it', async (t) => {
      await addWork(database, [{ id: 'kept' }, { id: 'stolen' }])
      const recorded: string[] = []
      let inTransaction = true
      startLoop(
        t,
        database,
        async (item) => {
          if (item.id === 'stolen') {
            await database.system
              .updateTable('work')
              .set({ token: tokens[0] })
              .where('id', '=', 'stolen')
              .execute()
          }
          return done
        },
        {
          record: async (db, finished) => {
            const seen = await db.selectFrom('work').select('id').where('id', '=', 'kept').executeTakeFirst()
            inTransaction =
              inTransaction && seen === undefined && (await readWork(database, 'kept')) !== undefined
            recorded.push(...finished.map((entry) => entry.item.id))
          },
        },
      )
      await until(async () => (await readWork(database, 'kept')) === undefined)
      assert.deepEqual(recorded, ['kept'])
      assert.ok(inTransaction)
      assert.ok(await readWork(database, 'stolen'))
      await database.system.deleteFrom('work').execute()
    })

    test('that can not be recorded becomes dead work and holds up no other', async (t) => {
      await addWork(database, [{ id: 'poison' }, ...itemsOf('fine', 20)])
      startLoop(t, database, async () => done, {
        record: async (_db, finished) => {
          if (finished.some((entry) => entry.item.id === 'poison')) throw new Error('bad row')
        },
      })
      await until(async () => (await countWork(database)) === 0)
      const dead = await database.system
        .selectFrom('dead_work')
        .selectAll()
        .where('id', '=', 'poison')
        .executeTakeFirst()
      assert.equal(dead?.error, 'The result could not be recorded: bad row')
    })

    test('is "retry" when the run throws', async (t) => {
      await addWork(database, [{ id: 'thrown' }])
      startLoop(t, database, () => {
        throw new Error('bug')
      })
      await until(
        async () => ((await readWork(database, 'thrown'))?.run_at ?? 0) > new Date(Date.now() + 30_000),
      )
      assert.equal((await readWork(database, 'thrown'))?.attempts, 1)
      await database.system.deleteFrom('work').execute()
    })
  })

  describe('a lease', () => {
    test('is prolonged while a long run goes on', { timeout: 20_000 }, async (t) => {
      await addWork(database, [{ id: 'long' }])
      const runs: WorkItem[] = []
      const end = Promise.withResolvers<typeof done>()
      const run = (item: WorkItem) => {
        runs.push(item)
        return end.promise
      }
      for (const _ of [1, 2]) startLoop(t, database, run, { leaseSeconds: 1 })
      await until(() => runs.length === 1)
      const first = (await readWork(database, 'long'))?.lease_until ?? new Date()
      await until(async () => {
        const lease = (await readWork(database, 'long'))?.lease_until
        return lease !== undefined && lease !== null && lease.getTime() > first.getTime() + 1500
      })
      end.resolve(done)
      await until(async () => (await countWork(database)) === 0)
      assert.equal(runs.length, 1)
    })

    test('that was lost aborts the run and its result is refused', { timeout: 20_000 }, async (t) => {
      await addWork(database, [{ id: 'lost' }])
      let reason: unknown
      startLoop(
        t,
        database,
        async (_item, signal) => {
          await database.system
            .updateTable('work')
            .set({ token: tokens[0] })
            .where('id', '=', 'lost')
            .execute()
          await hang(signal).catch((error: unknown) => {
            reason = error
          })
          return done
        },
        { leaseSeconds: 1 },
      )
      await until(() => reason !== undefined)
      assert.equal((reason as Error).name, 'LeaseLost')
      assert.equal((await readWork(database, 'lost'))?.token, tokens[0])
    })
  })

  describe('loops', () => {
    test('of several processes never run an item twice', async (t) => {
      await database.system.deleteFrom('work').execute()
      const other = openDatabase({ urls, onError: () => {} })
      t.after(() => other.close())
      const items = Array.from({ length: 20 }, (_, lane) => itemsOf(`lane-${lane}`, 60)).flat()
      await addWork(database, items)
      const runs: string[] = []
      for (const db of [database, other]) {
        startLoop(t, db, async (item) => {
          runs.push(item.id)
          await new Promise((resolve) => setImmediate(resolve))
          return done
        })
      }
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(runs.toSorted(), items.map((item) => item.id).toSorted())
    })

    test('that stop let running work end and hand the rest back', { timeout: 10_000 }, async (t) => {
      await addWork(database, itemsOf('stopped', 12))
      const end = Promise.withResolvers<typeof done>()
      const started: string[] = []
      const run = async (item: WorkItem, signal: AbortSignal) => {
        started.push(item.id)
        if (started.length === 1) return end.promise
        if (started.length === 2)
          return hang(signal).catch(() => ({ kind: 'retry' as const, runAt: new Date(0), counts: true }))
        return new Promise<never>(() => {})
      }
      const loop = startLoop(t, database, run, { slots: 6, laneCap: 3 })
      await until(() => started.length === 3)
      const stopped = loop.stop(100)
      end.resolve(done)
      await stopped
      const rows = await database.system.selectFrom('work').selectAll().orderBy('id').execute()
      assert.equal(rows.length, 11)
      assert.ok(rows.every((row) => row.lease_until === null && row.token === null))
      const counted = rows.filter((row) => row.attempts === 1).map((row) => row.id)
      assert.deepEqual(counted, started.slice(1).toSorted(), 'only what was started has used an attempt')
      await database.system.deleteFrom('work').execute()
    })

    test('survive that the database drops all their connections', { timeout: 20_000 }, async (t) => {
      const items = itemsOf('outage-a', 400).concat(itemsOf('outage-b', 400))
      await addWork(database, items)
      const own = openDatabase({ urls, onError: () => {} })
      t.after(() => own.close())
      const runs = new Set<string>()
      startLoop(t, own, async (item) => {
        runs.add(item.id)
        await new Promise((resolve) => setImmediate(resolve))
        return done
      })
      const killer = new pg.Client({ connectionString: ownerUrl })
      await killer.connect()
      t.after(() => killer.end())
      for (let round = 1; round <= 5; round += 1) {
        await until(() => runs.size >= round * 100)
        await killer.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and datname = current_database()`,
          [new URL(urls.system).username],
        )
      }
      await until(async () => {
        wakeWork('delivery')
        return (await countWork(database).catch(() => 1)) === 0
      })
      assert.equal(runs.size, items.length)
    })
  })

  testSeries(database, startLoop)
}
