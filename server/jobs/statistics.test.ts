import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import type { Tables } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { hurryWork } from './new-work.ts'
import { numberSeries, removeFromSeries } from './series-queries.ts'
import { addWork } from './testing/work.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const soon = new Date(Date.now() + 60_000)
const of = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix} ${index}`)

/** Once vacuumed while it was empty, the table is taken to have one row. */
async function fillWhatWasEmpty(): Promise<void> {
  const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  await addWork(database, [{ id: 'gone' }])
  await owner.query('delete from work')
  await owner.query('vacuum (analyze, truncate off) work')
  await addWork(
    database,
    of('other', 3_000).map((id) => ({ id, lane: id, runAt: soon })),
  )
  await addWork(
    database,
    of('mine', 100).map((id) => ({ id, lane: 'end/acme', series: 'end', runAt: soon })),
  )
  await owner.end()
}

async function countRead(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ read: number }>`
    select (pg_stat_get_xact_tuples_returned('work'::regclass) + (
      select sum(pg_stat_get_xact_tuples_returned(indexrelid)) from pg_index where indrelid = 'work'::regclass
    ))::int as read`.execute(db)
  return rows[0]?.read ?? Infinity
}

test('work is numbered, brought forward and removed without a look at all of it, whatever the statistics say', async () => {
  await fillWhatWasEmpty()
  const hurried = of('mine', 50).map((id) => ({ id, runAt: new Date() }))
  const steps = {
    numbered: async (db: Kysely<Tables>) => numberSeries(db, 'delivery', 'end', 100),
    hurried: async (db: Kysely<Tables>) => (await hurryWork(db, hurried)).length,
    removed: async (db: Kysely<Tables>) =>
      (await removeFromSeries(db, 'delivery', 'end', { through: 40 }, 100)).length,
  }
  const done: Record<string, number> = {}
  const read: Record<string, number> = {}
  for (const [name, step] of Object.entries(steps)) {
    await database.asSystem(async (db) => {
      const before = await countRead(db)
      done[name] = await step(db)
      read[name] = (await countRead(db)) - before
    })
  }
  assert.deepEqual(done, { numbered: 100, hurried: 50, removed: 40 })
  for (const [name, entries] of Object.entries(read))
    assert.ok(entries <= 1_000, `${name}: ${entries} entries were read, among 3,100`)
})
