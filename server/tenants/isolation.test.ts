import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import type { TenantScope } from '#core/database.ts'
import { createTestDatabase, type TestDatabase } from '#core/testing/database.ts'

const scopeA: TenantScope = { tenantId: 'tenant_a', productId: 'product_a', traceId: 'trace' }
const scopeB: TenantScope = { tenantId: 'tenant_b', productId: 'product_b', traceId: 'trace' }

let fixture: TestDatabase
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  fixture = await createTestDatabase({ after: (work) => void cleanups.push(work) })
  await asOwner(`
    insert into products (id, name) values ('product_a', 'A'), ('product_b', 'B');
    insert into tenants (id, product_id, name) values ('tenant_a', 'product_a', 'A'), ('tenant_b', 'product_b', 'B');
    insert into suppressions (id, tenant_id, channel, address, reason, created_at)
      values ('sup_a', 'tenant_a', 'sms', '+1', 'manual', now()), ('sup_b', 'tenant_b', 'sms', '+2', 'manual', now());
    insert into events (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at)
      values ('evt_0000000000x', 'tenant_a', 'product_a', 't', 'e', '{}', 't', now());`)
})

test.after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function asOwner(text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: fixture.ownerUrl })
  await client.connect()
  try {
    await client.query('set search_path = pipecore')
    return await client.query(text)
  } finally {
    await client.end()
  }
}

/** As an attacker would who can run any statement on a connection of the app role. */
async function asApp<Result>(work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: fixture.urls.app })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const refused = { code: '42501' }

describe('what the catalogue says', () => {
  test('every table is under forced row-level security with policies, and both roles see only what was granted', async () => {
    const { rows } = await asOwner(`
      select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'pipecore' and c.relkind in ('r', 'p') and c.relname not in ('migrations', 'installation')
         and not (c.relrowsecurity and c.relforcerowsecurity)`)
    assert.deepEqual(rows, [])
  })

  test('no role of the application owns anything, is a superuser or bypasses policies', async () => {
    const { rows } = await asOwner(`
      select r.rolname from pg_roles r where r.rolname like 'pipecore_%' and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb
        or exists (select from pg_class c where c.relowner = r.oid) or exists (select from pg_proc p where p.proowner = r.oid))`)
    assert.deepEqual(rows, [])
  })

  test('no policy casts the column it compares, which would cost the index', async () => {
    const { rows } = await asOwner(
      `select tablename, qual from pg_policies where schemaname = 'pipecore' and qual like '%tenant_id)::%'`,
    )
    assert.deepEqual(rows, [])
  })

  test('there is no view that would run as its owner', async () => {
    const { rows } = await asOwner(`
      select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'pipecore' and c.relkind in ('v', 'm') and not coalesce(c.reloptions::text like '%security_invoker=true%', false)`)
    assert.deepEqual(rows, [])
  })

  test('the app role may run no function that acts as the owner', async () => {
    const { rows } = await asOwner(`
      select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname = 'pipecore' and p.prosecdef and has_function_privilege('pipecore_app', p.oid, 'execute')`)
    assert.deepEqual(rows, [])
  })
})

describe('ways around it', () => {
  test('without a tenant nothing is seen, and it is no error', async () => {
    await asApp(async (client) => {
      assert.equal((await client.query('select * from suppressions')).rowCount, 0)
    })
  })

  test('after a tenant’s transaction the connection has forgotten it', async () => {
    await asApp(async (client) => {
      await client.query(`begin; select set_config('app.tenant_id', 'tenant_a', true); commit`)
      assert.equal((await client.query('select * from suppressions')).rowCount, 0)
    })
  })

  test('a tenant sees its own rows only, whatever the statement says', async () => {
    const seen = await fixture.database.asTenant(scopeA, (db) =>
      db.selectFrom('suppressions').select('id').where('tenant_id', '=', 'tenant_b').execute(),
    )
    assert.deepEqual(seen, [])
    const all = await fixture.database.asTenant(scopeA, (db) =>
      db.selectFrom('suppressions').select('id').execute(),
    )
    assert.deepEqual(all, [{ id: 'sup_a' }])
  })

  test('a row can neither be written for another tenant nor moved to one', async () => {
    const row = {
      id: 'sup_x',
      tenant_id: 'tenant_b',
      channel: 'sms' as const,
      address: '+9',
      reason: 'manual',
      provider: null,
      message_id: null,
      created_at: new Date(),
    }
    await assert.rejects(
      fixture.database.asTenant(scopeA, (db) => db.insertInto('suppressions').values(row).execute()),
      refused,
    )
    await fixture.database.asTenant(scopeA, (db) =>
      db
        .insertInto('whatsapp_windows')
        .values({ tenant_id: 'tenant_a', sender: 's', contact: 'c', last_inbound_at: new Date() })
        .execute(),
    )
    await assert.rejects(
      fixture.database.asTenant(scopeA, (db) =>
        sql`update whatsapp_windows set tenant_id = 'tenant_b'`.execute(db),
      ),
      refused,
    )
  })

  test('a tenant can not delete or change another’s rows by naming them', async () => {
    await fixture.database.asTenant(scopeA, (db) =>
      db.deleteFrom('suppressions').where('id', '=', 'sup_b').execute(),
    )
    const left = await fixture.database.asTenant(scopeB, (db) =>
      db.selectFrom('suppressions').select('id').execute(),
    )
    assert.deepEqual(left, [{ id: 'sup_b' }])
  })

  test('partitions, other roles, TRUNCATE, keys and the hot queue’s functions are out of reach', async () => {
    await asApp(async (client) => {
      const partition = (
        await asOwner(
          `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'events'::regclass limit 1`,
        )
      ).rows[0].name
      await assert.rejects(
        client.query(`select * from ${String(partition).replace('pipecore.', '')}`),
        refused,
      )
      await assert.rejects(client.query('set role pipecore_system'), refused)
      await assert.rejects(client.query('truncate suppressions'), refused)
      await assert.rejects(client.query('select * from api_keys'), refused)
      await assert.rejects(client.query('select * from products'), refused)
      await assert.rejects(client.query('select * from installation'), refused)
      await assert.rejects(client.query('alter table suppressions disable row level security'), refused)
      await assert.rejects(client.query('drop policy one_tenant on suppressions'), refused)
      await assert.rejects(
        client.query(
          `select * from claim_work('job', '', 1, 1, 1, 1, '{}', '{}', 1, '', gen_random_uuid(), 1, now())`,
        ),
        refused,
      )
      await assert.rejects(client.query('create table pipecore.mine (id int)'), refused)
    })
  })

  test('a row can not be hung on another tenant’s message to learn that it exists', async () => {
    const message = `insert into messages (id, tenant_id, direction, channel, provider, connection_id, to_address, from_address, status, trace_id, created_at)
      values ('msg_of_b', 'tenant_b', 'out', 'sms', 'twilio', 'c', '+1', '+2', 'queued', 't', now())`
    await asOwner(message)
    const hang = (messageId: string) =>
      fixture.database.asTenant(scopeA, (db) =>
        db
          .insertInto('message_attempts')
          .values({
            id: `att_${messageId}`,
            tenant_id: 'tenant_a',
            message_id: messageId,
            attempt: 1,
            connection_id: 'c',
            provider: 'p',
            outcome: null,
            error: null,
            answer_status: null,
            answer: null,
            provider_message_id: null,
            started_at: new Date(),
            duration_ms: null,
          })
          .execute(),
      )
    const foreignKey = { code: '23503' }
    await assert.rejects(hang('msg_of_b'), foreignKey)
    await assert.rejects(hang('msg_of_nobody'), foreignKey)
  })
})
