import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { createTestDatabase } from '#core/testing/database.ts'
import { addWork, countWork, startLoop, until } from './testing/work.ts'

const { database } = await createTestDatabase({ after })

test('a result is not given up while the disk is full', { timeout: 20_000 }, async (t) => {
  await addWork(database, [{ id: 'delivered' }])
  let attempts = 0
  startLoop(t, database, async () => ({ kind: 'done' }), {
    record: async (db) => {
      attempts += 1
      const full = `raise exception using errcode = 'disk_full'`
      if (attempts <= 5) await sql.raw(`do $$ begin ${full}; end $$`).execute(db)
    },
  })
  await until(async () => (await countWork(database)) === 0)
  assert.equal(attempts, 6)
  const { rows } = await sql`select from dead_work where id = 'delivered'`.execute(database.system)
  assert.deepEqual(rows, [])
})
