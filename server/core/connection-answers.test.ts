import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { type Database, openDatabase, type Tables } from './database.ts'
import { createTestDatabase } from './testing/database.ts'
import { grownOld } from './testing/memory.ts'

const { urls } = await createTestDatabase({ after })
const scope = { tenantId: 'acme', productId: 'shop', traceId: 'trace' }
let database: Database

before(() => {
  database = openDatabase({ urls, appConnections: 1, systemConnections: 1, onError: () => undefined })
})
after(() => database.close())

type Work = (db: Kysely<Tables>) => Promise<unknown>

describe('what a statement was asked with and answered is not kept until a whole collection', () => {
  for (const [kind, run] of [
    ['a single statement', (work: Work) => work(database.system)],
    ['a transaction', (work: Work) => database.asSystem(work)],
    ['a transaction of a tenant', (work: Work) => database.asTenant(scope, work)],
    ['a reading of a tenant', (work: Work) => database.readAsTenant(scope, work)],
    ["a tenant's only statement", (work: Work) => database.asTenantOnce(scope, work)],
  ] as const) {
    test(`in ${kind}`, async () => {
      const ask = (count: number) => run((db) => sql`select ${'x'.repeat(20_000) + count}::text`.execute(db))
      const askAll = async () => {
        for (let count = 0; count < 200; count += 1) await ask(count)
      }
      await askAll()
      const grown = await grownOld(askAll)
      assert.ok(grown < 4_000_000, `${grown} bytes`)
    })
  }
})

test('an error has the stack of who asked', async () => {
  async function askInVain() {
    await sql`select 1 / 0`.execute(database.system)
  }
  await assert.rejects(askInVain(), ({ stack }: Error) => stack?.includes('askInVain') === true)
})

async function readBackend(db: Kysely<Tables>) {
  const { rows } = await sql<{ id: number }>`select pg_backend_pid() as id`.execute(db)
  return rows[0]?.id
}

test('a connection that answers one statement after the other is not broken, however long all take together', async (t) => {
  const patient = openDatabase({ urls, systemConnections: 1, answerSeconds: 1, onError: () => undefined })
  t.after(() => patient.close())
  const backend = await readBackend(patient.system)
  await patient.asSystem((db) => Promise.all([1, 2, 3, 4].map(() => sql`select pg_sleep(0.4)`.execute(db))))
  assert.equal(await readBackend(patient.system), backend)
})

test('silence is noticed after whatever was asked before, and only where an answer is due', async (t) => {
  const hasty = openDatabase({ urls, systemConnections: 1, answerSeconds: 0.5, onError: () => undefined })
  t.after(() => hasty.close())
  const backend = await readBackend(hasty.system)
  const circular: { self?: unknown } = {}
  circular.self = circular
  for (const statement of [
    sql`select 1 / 0`,
    sql`no statement`,
    sql``,
    sql`select ${circular}::jsonb`,
    sql.raw('select 1; select 2'),
    sql.raw('select 1; select 1 / 0; select 2'),
  ]) {
    await hasty.asSystem((db) => statement.execute(db)).catch(() => undefined)
  }
  await delay(1_000)
  assert.equal(await readBackend(hasty.system), backend)
  await assert.rejects(sql`select pg_sleep(5)`.execute(hasty.system), /no answer within/)
})
