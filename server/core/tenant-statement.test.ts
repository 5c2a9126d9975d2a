import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import { openDatabase, type Tables } from './database.ts'
import { createTestDatabase } from './testing/database.ts'

const { urls, ownerUrl } = await createTestDatabase({ after })
const database = openDatabase({ urls, appConnections: 1, onError: () => undefined })
after(() => database.close())
const owner = new pg.Client(ownerUrl)
await owner.connect()
await owner.query(`
  create table pipecore.places (place int unique deferrable initially deferred);
  grant select, insert on pipecore.places to pipecore_app, pipecore_system`)
await owner.end()

const acme = { tenantId: 'acme', productId: 'shop', traceId: 'trace' }
const insert = (...places: number[]) => {
  return (db: Kysely<Tables>) => sql`insert into places select unnest(${places}::int[])`.execute(db)
}
const readTenant = async (db: Kysely<Tables>) => {
  const { rows } = await sql<{ tenant: string }>`
    select current_setting('app.tenant_id') || '/' || current_setting('app.product_id') as tenant`.execute(db)
  return rows[0]?.tenant
}

async function isThere(place: number): Promise<boolean> {
  const { rows } = await sql`select from places where place = ${place}`.execute(database.system)
  return rows.length > 0
}

test('a statement has the tenant of its own opening, on a connection that others used', async () => {
  const tenants = Array.from({ length: 80 }, (_, index) => `tenant_${index}`)
  const read = tenants.map((tenantId) => database.asTenantOnce({ ...acme, tenantId }, readTenant))
  assert.deepEqual(
    await Promise.all(read),
    tenants.map((tenantId) => `${tenantId}/shop`),
  )
  await assert.rejects(
    database.asTenantOnce({ ...acme, tenantId: '' }, (db) =>
      sql`select 1 / (current_setting('app.tenant_id') <> '')::int`.execute(db),
    ),
    /division by zero/,
  )
})

test('a statement is not carried out where its opening fails', async () => {
  await assert.rejects(database.asTenantOnce({ ...acme, tenantId: 'ac\0me' }, insert(1)), /byte sequence/)
  assert.equal(await isThere(1), false)
  await database.asTenantOnce(acme, insert(1))
  assert.equal(await isThere(1), true)
})

test('what fails only when it is committed is told as failed', async () => {
  await assert.rejects(database.asTenantOnce(acme, insert(2, 2)), /duplicate key/)
  assert.equal(await isThere(2), false)
  assert.equal(await database.asTenantOnce(acme, readTenant), 'acme/shop')
})

test('a second statement is refused: it would be none of this transaction', async () => {
  const twice = database.asTenantOnce(acme, async (db) => {
    await insert(3)(db)
    await insert(4)(db)
  })
  await assert.rejects(twice, /after the end of its transaction/)
  assert.equal(await isThere(4), false)
})

test('values that can not be sent harm no statement after them', async () => {
  const ask = (value: unknown) =>
    database.asTenantOnce(acme, (db) => sql`select ${value}::jsonb as value`.execute(db))
  await assert.rejects(ask({ tooBig: 1n }), /BigInt/)
  const { rows } = await ask({ fits: true })
  assert.deepEqual(rows, [{ value: { fits: true } }])
})

test('where the server knows an opening no more, it is asked without its name', async () => {
  for (let time = 0; time < 40; time += 1) await database.asTenantOnce(acme, readTenant)
  await database.asTenantOnce(acme, (db) => sql`deallocate all`.execute(db))
  await assert.rejects(database.asTenantOnce(acme, readTenant), /does not exist/)
  assert.equal(await database.asTenantOnce(acme, readTenant), 'acme/shop')
})
