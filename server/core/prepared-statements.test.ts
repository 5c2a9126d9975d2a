import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import { openDatabase, type Tables } from './database.ts'
import { createStatementNames } from './prepared-statements.ts'
import { createTestDatabase } from './testing/database.ts'

const often = 30
const { urls, ownerUrl } = await createTestDatabase({ after })
const database = openDatabase({ urls, appConnections: 1, systemConnections: 1, onError: () => undefined })
after(() => database.close())

async function repeat(times: number, ask: () => unknown): Promise<void> {
  for (let time = 0; time < times; time += 1) await ask()
}

async function preparedLike(pattern: string, db: Kysely<Tables> = database.system): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from pg_prepared_statements where statement like ${pattern}`.execute(db)
  return rows[0]?.count ?? Number.NaN
}

test('what is asked often is prepared once per connection, with its values as before', async () => {
  const ask = async (value: number) => {
    const { rows } = await sql<{ doubled: number }>`select ${value}::int * 2 as doubled`.execute(
      database.system,
    )
    return rows[0]?.doubled
  }
  await repeat(often - 1, () => ask(1))
  assert.equal(await preparedLike('select $1::int * 2%'), 0)
  assert.equal(await ask(21), 42)
  assert.equal(await ask(4), 8)
  assert.equal(await preparedLike('select $1::int * 2%'), 1)
})

test("a tenant's statements are prepared too, in the transaction that they belong to", async () => {
  const scope = { tenantId: 'acme', productId: 'shop', traceId: 'trace' }
  const ask = (db: Kysely<Tables>) =>
    sql<{ tenant: string }>`select current_setting('app.tenant_id') || ${'!'}::text as tenant`.execute(db)
  await repeat(often * 2, () => database.asTenantOnce(scope, ask))
  const other = await database.readAsTenant({ ...scope, tenantId: 'other' }, ask)
  assert.equal(other.rows[0]?.tenant, 'other!')
  assert.equal(await database.asTenant(scope, (db) => preparedLike('%app.tenant_id%||%', db)), 1)
})

test('whole rows are not prepared: another release may add a column', async () => {
  const owner = new pg.Client(ownerUrl)
  await owner.connect()
  await owner.query(
    'create table pipecore.shapes (id int); grant select on pipecore.shapes to pipecore_system',
  )
  const readers = [
    () => sql`select * from "shapes" where id = ${1}`.execute(database.system),
    () => sql`select s.* from shapes s where id = ${1}`.execute(database.system),
    () => sql`select * from shapes where id = ${1}`.execute(database.system),
  ]
  for (const read of readers) await repeat(often * 2, read)
  await owner.query('alter table pipecore.shapes add column name text')
  await owner.end()
  for (const read of readers) await read()
})

test('what a migration made useless fails once: it is then asked without a name', async () => {
  const owner = new pg.Client(ownerUrl)
  await owner.connect()
  await owner.query(
    'create table pipecore.sizes (size int); grant select on pipecore.sizes to pipecore_system',
  )
  const read = () => sql`select size from sizes where size = ${1}`.execute(database.system)
  await repeat(often * 2, read)
  await owner.query('alter table pipecore.sizes alter column size type bigint')
  await owner.end()
  await assert.rejects(read, /cached plan must not change result type/)
  await read()
  assert.equal(await preparedLike('select size from sizes%'), 1)
})

test('after values that can not be sent others can', async () => {
  const ask = (value: unknown) => sql`select ${value}::jsonb as value`.execute(database.system)
  await repeat(often * 2, () => ask({ fits: true }))
  await assert.rejects(ask({ tooBig: 1n }), /BigInt/)
  // The driver took the statement back and still believes in it.
  await assert.rejects(ask({ fits: true }), /does not exist/)
  await ask({ fits: true })
})

test('only so many are prepared, none of them long, and what is asked seldom does not take their place', () => {
  const { nameOf } = createStatementNames()
  const long = `select ${'1, '.repeat(5_000)}1`
  for (let time = 0; time < often * 2; time += 1) assert.equal(nameOf(long), undefined)
  for (let number = 0; number < 5_000; number += 1) assert.equal(nameOf(`select ${number}`), undefined)
  const askOften = (text: string) => Array.from({ length: often }, () => nameOf(text)).at(-1)
  const names = Array.from({ length: 150 }, (_, number) => askOften(`select ${number}`))
  assert.equal(new Set(names.filter((name) => name !== undefined)).size, 100)
  assert.equal(nameOf('select 7'), names[7])
})

test('what comes round all day leaves the names to what is asked often', () => {
  let nowMs = 0
  const { nameOf } = createStatementNames(() => nowMs)
  for (let minute = 0; minute < often * 2; minute += 1) {
    for (let number = 0; number < 200; number += 1) assert.equal(nameOf(`chore ${number}`), undefined)
    nowMs += 61_000
  }
  for (let time = 1; time < often; time += 1) assert.equal(nameOf('payment'), undefined)
  assert.equal(nameOf('payment'), 'pipecore_0')
})
