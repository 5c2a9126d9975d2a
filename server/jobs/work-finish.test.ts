import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import { pino } from 'pino'
import { createTestDatabase } from '#core/testing/database.ts'
import { addWork, countWork, startLoop, until } from './testing/work.ts'
import type { Claim } from './work.ts'
import { createFinisher } from './work-finish.ts'
import { extendWork, finishWork } from './work-queries.ts'

const { database, urls, ownerUrl } = await createTestDatabase({ after })

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

test('what is extended or ends is found by its key, also when the table was taken to be empty', async (t) => {
  const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  t.after(() => owner.end())
  await addWork(database, [{ id: 'gone' }])
  await owner.query('delete from work')
  await owner.query('vacuum (analyze, truncate off) work')
  const ids = Array.from({ length: 2_000 }, (_, index) => `waiting ${index}`)
  await addWork(
    database,
    ids.map((id) => ({ id })),
  )
  const token = randomUUID()
  const claims = ids.slice(0, 100).map((id) => ({ ...claimOf(id), token }))
  await owner.query('update work set token = $1', [token])
  const results = [{ kind: 'done' }, { kind: 'dead', error: 'no' }, { kind: 'release' }] as const
  const endings = claims.map((claim, index) => ({ claim, result: results[index % 3] ?? results[0] }))
  const read = await database.asSystem(async (db) => {
    assert.ok((await extendWork(db, claims, 30)).every(Boolean))
    assert.ok((await finishWork(db, endings, new Date())).every(Boolean))
    const { rows } = await sql<{ read: number }>`
      select pg_stat_get_xact_tuples_returned('work_pkey'::regclass)::int as read`.execute(db)
    return rows[0]?.read ?? Infinity
  })
  // Of each an entry or several, by what older snapshots still keep: 428 as a rule.
  assert.ok(read <= 1_000, `${read} entries were read to extend and end 100 among 2,000`)
  assert.equal(await countWork(database), 2_000 - 67)
  await owner.query('delete from work')
})

test('tells once that its table can not be vacuumed, and when it can be again', async (t) => {
  const owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
  t.after(() => owner.end())
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const finisher = createFinisher({
    database,
    log,
    now: () => new Date(),
    finish: async (_db, ended) => ended.map(() => true),
  })
  t.after(async () => finisher.close())
  const finishMany = () =>
    Promise.all(
      Array.from({ length: 25_000 }, (_, index) => finisher.giveBack(claimOf(`work ${index}`), 'release')),
    )
  const login = pg.escapeIdentifier(new URL(urls.upkeep).username)

  await owner.query(`alter role ${login} nologin`)
  await finishMany()
  await until(async () => lines.length > 0)
  assert.match(lines[0] ?? '', /"level":40.*not permitted to log in.*work can not be vacuumed/)
  await finishMany()
  // Connects later than the vacuum does, and is refused later.
  for (const _ of [1, 2])
    await assert.rejects(
      database.asSystemAlone(async () => undefined),
      /not permitted/,
    )
  await owner.query(`alter role ${login} login`)
  await until(async () => {
    await finishMany()
    return lines.length > 1
  })
  assert.match(lines[1] ?? '', /work is vacuumed again/)
})

function claimOf(id: string): Claim {
  const item = {
    id,
    kind: 'job' as const,
    lane: '*',
    series: null,
    number: null,
    ordered: false,
    tenantId: null,
    productId: null,
    ref: id,
    runAt: new Date(),
    attempt: 1,
  }
  return { item, limits: undefined, token: '', claimedAt: 0 }
}
