import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { createTestDatabase } from '#core/testing/database.ts'
import { openWay } from './testing/outage.ts'
import { addWork, countWork, loopOptions, readWork, startLoop, until } from './testing/work.ts'
import { claimWork } from './work-queries.ts'
import { createRunner } from './work-runs.ts'

const { database, urls } = await createTestDatabase({ after })
const done = { kind: 'done' as const }

test('a result that waits to be stored keeps the lease of its work', { timeout: 20_000 }, async (t) => {
  await addWork(database, [{ id: 'waits' }])
  const runs: string[] = []
  let isLocked = true
  const run = async ({ id }: { id: string }) => {
    runs.push(id)
    return done
  }
  const options = {
    leaseSeconds: 1,
    record: async (db: typeof database.system) => {
      const locked = `raise exception using errcode = 'lock_not_available'`
      if (isLocked) await sql.raw(`do $$ begin ${locked}; end $$`).execute(db)
    },
  }
  for (const _ of [1, 2]) startLoop(t, database, run, options)
  await until(() => runs.length > 0)
  const first = (await readWork(database, 'waits'))?.lease_until?.getTime() ?? 0
  await until(async () => ((await readWork(database, 'waits'))?.lease_until?.getTime() ?? 0) > first + 1_500)
  isLocked = false
  await until(async () => (await countWork(database)) === 0)
  assert.deepEqual(runs, ['waits'])
})

test(
  'after an outage results are stored before their work is claimed anew',
  { timeout: 30_000 },
  async (t) => {
    const [mine, others] = [openWay(t, urls), openWay(t, urls)]
    await addWork(database, [{ id: 'posted' }])
    const runs: string[] = []
    const run = async ({ id }: { id: string }) => {
      mine.isAway = runs.length === 0
      runs.push(id)
      return done
    }
    const runner = createRunner({ ...loopOptions(mine.database), run }, 8)
    t.after(() => runner.stop(0))
    const { claims } = await claimWork(database.system, {
      kind: 'delivery',
      from: '',
      total: 1,
      perLane: 1,
      rooms: new Map(),
      token: randomUUID(),
      leaseSeconds: 30,
      now: new Date(),
    })
    for (const claim of claims) runner.run(claim)
    startLoop(t, others.database, run, { leaseSeconds: 1 })
    await until(() => mine.lostEnds === 6)
    others.isAway = true
    await until(() => mine.lostEnds === 7)
    await sql`update work set lease_until = now() - interval '1 second'`.execute(database.system)
    mine.isAway = false
    others.isAway = false
    await until(async () => (await countWork(database)) === 0)
    assert.deepEqual(runs, ['posted'])
  },
)
