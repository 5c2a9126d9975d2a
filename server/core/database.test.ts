import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import { type Database, openDatabase, type Tables } from './database.ts'
import { createTestDatabase } from './testing/database.ts'

const { urls, ownerUrl } = await createTestDatabase({ after })
const scope = { tenantId: 'acme', productId: 'shop', traceId: 'trace' }
let database: Database

before(async () => {
  const owner = new pg.Client(ownerUrl)
  await owner.connect()
  await owner.query('create table pipecore.notes (text text)')
  await owner.query('grant select, insert on pipecore.notes to pipecore_app, pipecore_system')
  await owner.end()
  // One connection each: what one user leaves behind would meet the next one.
  database = openDatabase({ urls, appConnections: 1, systemConnections: 1, onError: () => undefined })
})
after(() => database.close())

const write = (db: Kysely<Tables>, text: string) => sql`insert into notes values (${text})`.execute(db)
const fail = (db: Kysely<Tables>) => sql`select 1 / 0`.execute(db)

async function notes(): Promise<string[]> {
  const { rows } = await sql<{ text: string }>`select text from notes order by text`.execute(database.system)
  return rows.map(({ text }) => text)
}

test('a statement on a connection of its own takes none of the pool, and ends with the database', async () => {
  const other = openDatabase({ urls, systemConnections: 1, onError: () => undefined })
  const { rows } = await other.asSystemAlone((db) =>
    sql<{ login: string; number: number }>`select current_user as login, 2::bigint as number`.execute(db),
  )
  assert.equal(rows[0]?.login, decodeURIComponent(new URL(urls.system).username))
  assert.equal(rows[0]?.number, 2)
  const long = other.asSystemAlone((db) => sql`select pg_sleep(600)`.execute(db))
  long.catch(() => undefined)
  await sql`select 1`.execute(other.system)
  await other.close()
  await assert.rejects(long, /Connection terminated|not connected|closed/i)
})

describe('a transaction', () => {
  for (const [kind, run] of [
    ['asTenant', (work: (db: Kysely<Tables>) => Promise<unknown>) => database.asTenant(scope, work)],
    ['asSystem', (work: (db: Kysely<Tables>) => Promise<unknown>) => database.asSystem(work)],
  ] as const) {
    test(`of ${kind} that failed runs nothing any more, not even in the next one`, async () => {
      let late: Promise<unknown> = Promise.resolve()
      const failed = run(async (db) => {
        late = delay(50).then(() => write(db, `late of ${kind}`))
        late.catch(() => undefined)
        await Promise.all([late, fail(db)])
      })
      await assert.rejects(failed, /division by zero/)
      await run(async (db) => {
        await delay(100)
        await sql`select 1`.execute(db)
      })
      await assert.rejects(late, /after the end of its transaction/)
      assert.equal((await notes()).includes(`late of ${kind}`), false)
    })

    test(`of ${kind} in which an error was overlooked is no success`, async () => {
      const overlooked = run(async (db) => {
        await write(db, `overlooked in ${kind}`)
        await fail(db).catch(() => undefined)
      })
      await assert.rejects(overlooked, /rolled back: one of its statements failed/)
      assert.equal((await notes()).includes(`overlooked in ${kind}`), false)
    })
  }

  test('of one statement tells its error, and the connection goes on', async () => {
    await assert.rejects(database.asTenantOnce(scope, fail), /division by zero/)
    await assert.rejects(
      database.asTenantOnce(scope, () => {
        throw new Error('before the statement')
      }),
      /before the statement/,
    )
    await database.asTenantOnce(scope, (db) => write(db, 'once'))
    assert.ok((await notes()).includes('once'))
  })

  test('that only reads can not write', async () => {
    await assert.rejects(
      database.readAsTenant(scope, (db) => write(db, 'read')),
      /read-only transaction/,
    )
  })

  test('that is rehearsed leaves nothing', async () => {
    await database.rehearseAsTenant(scope, (db) => write(db, 'rehearsed'))
    assert.equal((await notes()).includes('rehearsed'), false)
  })
})
