import assert from 'node:assert/strict'
import { after, describe, test, type TestContext } from 'node:test'
import pg from 'pg'
import { createId, type IdPrefix } from '#core/ids.ts'
import { createPlainDatabase } from '#core/testing/database.ts'
import { listUnsettledDays, maintainPartitions, settleDay, type Settlement } from './queries.ts'

const { database, ownerUrl } = await createPlainDatabase({ after })
const admin = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
await admin.connect()
admin.on('error', () => undefined)
after(() => admin.end())

const wishes: Record<string, readonly [days: number, rawDays: number | null]> = {
  week: [7, null],
  month: [30, null],
  quarter: [90, null],
  year: [365, null],
  lean: [365, 7],
}
await admin.query(`insert into products (id, name) values ('shop', 'Shop')`)
for (const [id, [days, rawDays]] of Object.entries(wishes))
  await admin.query(
    `insert into tenants (id, product_id, name, retention_days, raw_retention_days) values ($1, 'shop', $1, $2, $3)`,
    [id, days, rawDays],
  )

const logs = { delivery_attempts: 'att', events: 'evt', inbound_webhooks: 'whk' } as const
type Log = keyof typeof logs
const allLogs = Object.keys(logs) as Log[]
const everybody = [...Object.keys(wishes), '']
const dayMs = 86_400_000

function dayOf(age: number): string {
  return new Date(Date.now() - age * dayMs).toISOString().slice(0, 10)
}

function partOf(log: Log, age: number): string {
  return `${log}_${dayOf(age).replaceAll('-', '')}`
}

/** A row of each of these tenants in the middle of a day; answers their ids. */
async function fill(log: Log, age: number, tenants: readonly string[]): Promise<string[]> {
  const prefix: IdPrefix = logs[log]
  const ids = tenants.map(() => createId(prefix, new Date(`${dayOf(age)}T12:00:00Z`)))
  await admin.query(
    `insert into ${log} ${rowsOf[log]} from unnest($1::text[], $2::text[]) row (id, tenant)`,
    [ids, tenants],
  )
  return ids
}

const rowsOf: Record<Log, string> = {
  events: `(id, tenant_id, product_id, type, entity, body, trace_id, occurred_at)
    select id, tenant, 'shop', 'a.b', 'e', '{"of":"' || tenant || '"}', 't', now()`,
  delivery_attempts: `(id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, duration_ms, attempted_at)
    select id, 'dlv', 'evt', 'end', tenant, 1, 'delivered', 1, now()`,
  inbound_webhooks: `(id, tenant_id, capability, provider, state, method, target, headers, body, trace_id, received_at)
    select id, tenant, 'c', 'p', 'refused', 'POST', '/', '{}', 'raw'::bytea, 't', now()`,
}

async function makeDay(log: Log, age: number): Promise<void> {
  const role = (await admin.query(`select tableowner from pg_tables where tablename = 'events'`)).rows[0]
    .tableowner
  await admin.query(
    `set role ${role}; select make_day_partition('${log}', '${logs[log]}', '${dayOf(age)}'); reset role`,
  )
}

interface Left {
  id: string
  tenant_id: string
  whole: boolean
}

async function left(log: Log, age: number): Promise<Left[]> {
  const exists = await admin.query('select to_regclass($1) as name', [partOf(log, age)])
  if (exists.rows[0].name === null) return []
  const whole = log === 'delivery_attempts' ? 'true' : 'body is not null'
  const { rows } = await admin.query<Left>(
    `select id, tenant_id, ${whole} as whole from ${partOf(log, age)} order by tenant_id`,
  )
  return rows
}

async function tenantsLeft(log: Log, age: number): Promise<string[]> {
  return (await left(log, age)).map(({ tenant_id: tenant, whole }) => (whole ? tenant : `${tenant}: record`))
}

const settle = (log: Log, age: number): Promise<Settlement | undefined> =>
  settleDay(database.system, { table_name: log, day: dayOf(age) })

async function unsettled(): Promise<string[]> {
  return (await listUnsettledDays(database.system)).map(({ table_name: table, day }) => `${table} ${day}`)
}

async function settleAll(): Promise<void> {
  for (const day of await listUnsettledDays(database.system)) await settleDay(database.system, day)
}

async function readAnalysis(part: string): Promise<unknown> {
  const { rows } = await admin.query(
    `select substring(reloptions::text from 'autovacuum_analyze_scale_factor=([0-9.]+)') as scale,
       array(select attname::text from pg_attribute where attrelid = oid and attstattarget = 0 order by attname) as unread
     from pg_class where relname = $1`,
    [part],
  )
  return rows[0]
}

async function openWork(id: string, ref: string, kind = 'delivery'): Promise<void> {
  await admin.query(
    `insert into work (id, kind, lane, ref, run_at) values ($1, $2, 'x', $3, now() + '1 day')`,
    [id, kind, ref],
  )
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await holds())) assert.ok(performance.now() < deadline, 'it never came so far')
}

describe('at each bound', () => {
  const ages = [7, 8, 30, 31, 90, 91, 365, 366]

  test('the rows of tenants who wished no more are gone, and all others are there', async () => {
    for (const log of allLogs)
      for (const age of ages) {
        await makeDay(log, age)
        await fill(log, age, everybody)
      }
    await settleAll()
    for (const log of allLogs)
      for (const age of ages) {
        const isLean = age > 7 && log !== 'delivery_attempts'
        const kept = everybody.filter((tenant) => (wishes[tenant]?.[0] ?? 30) >= age)
        const expected = kept.map((tenant) => (tenant === 'lean' && isLean ? 'lean: record' : tenant))
        assert.deepEqual(await tenantsLeft(log, age), expected.toSorted(), `${log}, ${age} days`)
      }
  })

  test('a day is analyzed seldom, and not for its bodies, whether it is new or was made anew', async () => {
    await makeDay('events', 9)
    await fill('events', 9, ['week', 'month'])
    const isMade = await readAnalysis(partOf('events', 9))
    await settle('events', 9)
    assert.deepEqual(await tenantsLeft('events', 9), ['month'])
    const expected = { scale: '0.5', unread: ['body', 'older'] }
    assert.deepEqual([isMade, await readAnalysis(partOf('events', 9))], [expected, expected])
    assert.deepEqual(await readAnalysis(partOf('events', 0)), expected, 'of the first start')
  })

  test('a second look finds nothing to do, and touches no day', async () => {
    const files = async () =>
      (await admin.query(`select relname, oid from pg_class where relkind = 'r' order by relname`)).rows
    const before = await files()
    assert.deepEqual(await unsettled(), [])
    for (const log of allLogs) for (const age of ages) assert.equal(await settle(log, age), undefined)
    assert.deepEqual(await maintainPartitions(database.system), [])
    assert.deepEqual(await files(), before)
  })
})

test('what is kept is as it was, the place in the audit chain included', async () => {
  for (const log of allLogs) {
    await makeDay(log, 50)
    await fill(log, 50, ['week', 'quarter', 'year'])
    const kept = `select to_jsonb(r) as row from ${log} r where id in (select id from ${partOf(log, 50)}) and tenant_id <> 'week' order by id`
    const { rows } = await admin.query(kept)
    assert.equal(await settle(log, 50), 'rebuilt')
    assert.deepEqual((await admin.query(kept)).rows, rows)
    assert.equal(rows.length, 2)
  }
})

test('only the bytes of a request go before its record', async () => {
  await makeDay('inbound_webhooks', 51)
  await fill('inbound_webhooks', 51, ['lean'])
  await admin.query(`update ${partOf('inbound_webhooks', 51)} set sealed_request = 'sealed'`)
  assert.equal(await settle('inbound_webhooks', 51), 'rebuilt')
  const { rows } = await admin.query(`select * from ${partOf('inbound_webhooks', 51)}`)
  const { target, headers, body, sealed_request: sealed, method, provider, trace_id: trace } = rows[0]
  assert.deepEqual(
    [target, headers, body, sealed, method, provider, trace],
    [null, null, null, null, 'POST', 'p', 't'],
  )
})

describe('what open or dead work refers to', () => {
  test('stays with its body, whatever its tenant wishes, until the work is gone', async () => {
    await makeDay('events', 60)
    const [open, dead, leanOpen, other] = await fill('events', 60, ['week', 'week', 'lean', 'week'])
    await openWork('dlv_open', open ?? '')
    await openWork('dlv_lean', leanOpen ?? '')
    await admin.query(
      `insert into dead_work (id, kind, lane, ref, run_at, attempts, error, died_at)
       values ('dlv_dead', 'delivery', 'x', $1, now(), 1, 'x', now())`,
      [dead],
    )
    assert.equal(await settle('events', 60), 'rebuilt')
    const ids = (await left('events', 60)).filter(({ whole }) => whole).map(({ id }) => id)
    assert.deepEqual(new Set(ids), new Set([open, dead, leanOpen]))
    assert.ok(!ids.includes(other ?? ''))
    assert.equal(await settle('events', 60), 'kept')
    assert.deepEqual(await unsettled(), [`events ${dayOf(60)}`])
    await admin.query('delete from work; delete from dead_work')
    assert.equal(await settle('events', 60), 'rebuilt')
    assert.deepEqual(await tenantsLeft('events', 60), ['lean: record'])
    assert.deepEqual(await unsettled(), [])
  })

  test('is also what stands in the payload of a job', async () => {
    await makeDay('inbound_webhooks', 61)
    const [needed] = await fill('inbound_webhooks', 61, ['week', 'week'])
    const job = createId('job')
    await admin.query(
      `insert into jobs (id, name, payload, trace_id, created_at) values ($1, 'a.b', $2, 't', now())`,
      [job, JSON.stringify({ text: '\u0000', webhook_id: needed })],
    )
    await openWork(job, job, 'job')
    assert.equal(await settle('inbound_webhooks', 61), 'rebuilt')
    const rows = await left('inbound_webhooks', 61)
    assert.deepEqual(rows, [{ id: needed, tenant_id: 'week', whole: true }])
    await admin.query('delete from work')
    assert.equal(await settle('inbound_webhooks', 61), 'dropped')
    assert.deepEqual(await unsettled(), [])
  })
})

test('a wish that changes counts for old days as well, and the same day is made anew again', async (t) => {
  const wish = (tenant: string, days: number) =>
    admin.query(`update tenants set retention_days = $2, retention_changed_at = now() where id = $1`, [
      tenant,
      days,
    ])
  t.after(async () => {
    await wish('quarter', 90)
    await wish('year', 365)
    await admin.query('update tenants set retention_changed_at = null')
  })
  await makeDay('events', 70)
  await fill('events', 70, ['month', 'quarter', 'year'])
  await settleAll()
  assert.deepEqual(await tenantsLeft('events', 70), ['quarter', 'year'])
  await wish('quarter', 30)
  assert.ok((await unsettled()).includes(`events ${dayOf(70)}`))
  await settleAll()
  assert.deepEqual(await tenantsLeft('events', 70), ['year'])
  await wish('year', 7)
  await settleAll()
  assert.equal(
    (await admin.query('select to_regclass($1) as name', [partOf('events', 70)])).rows[0].name,
    null,
  )
})

describe('what others do at the same time', () => {
  async function begin(t: TestContext, statement: string): Promise<pg.Client> {
    const other = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
    await other.connect()
    t.after(() => other.end())
    await other.query(`begin; ${statement}`)
    return other
  }

  test('postpones it while a long transaction reads, and nothing is half done', async (t) => {
    await makeDay('events', 80)
    await fill('events', 80, ['week', 'year'])
    const reader = await begin(t, 'select from events limit 1')
    assert.equal(await settle('events', 80), 'postponed')
    assert.deepEqual(await tenantsLeft('events', 80), ['week', 'year'])
    assert.equal(
      (await admin.query('select to_regclass($1) as name', [`${partOf('events', 80)}_next`])).rows[0].name,
      null,
    )
    await reader.query('commit')
    assert.equal(await settle('events', 80), 'rebuilt')
    assert.deepEqual(await tenantsLeft('events', 80), ['year'])
  })

  test('postpones it while a row of the day is written, which is not lost', async (t) => {
    await makeDay('inbound_webhooks', 81)
    const [, id] = await fill('inbound_webhooks', 81, ['week', 'year'])
    const writer = await begin(t, `update inbound_webhooks set state = 'stored' where id = '${id}'`)
    assert.equal(await settle('inbound_webhooks', 81), 'postponed')
    await writer.query('commit')
    assert.equal(await settle('inbound_webhooks', 81), 'rebuilt')
    const { rows } = await admin.query(`select id, state from ${partOf('inbound_webhooks', 81)}`)
    assert.deepEqual(rows, [{ id, state: 'stored' }])
  })

  test('does not lose what is written to a day while that is copied', async () => {
    await makeDay('inbound_webhooks', 82)
    const [id] = await fill('inbound_webhooks', 82, [
      'year',
      ...Array.from({ length: 40_000 }, () => 'year'),
      'week',
    ])
    const settling = settle('inbound_webhooks', 82)
    await until(async () => {
      const { rowCount } = await admin.query(
        `select from pg_locks join pg_stat_activity using (pid)
         where query like 'select settle_day%' and datname = current_database() and mode = 'RowExclusiveLock' and relation >= 16384`,
      )
      return (rowCount ?? 0) > 0
    })
    const written = await admin
      .query(`update inbound_webhooks set state = 'stored' where id = $1`, [id])
      .then(() => 'stored')
      .catch((error: { code?: string }) => (error.code === '40P01' ? 'refused' : error))
    await settling
    const { rows } = await admin.query(`select state from inbound_webhooks where id = $1`, [id])
    assert.deepEqual(rows, [{ state: written }])
  })
})

describe('a day that was made anew', () => {
  test('shows each tenant its own rows, and has the policies, grants, indexes and bounds of any other', async () => {
    const describeDay = async (age: number) => {
      const part = partOf('events', age)
      const { rows } = await admin.query(
        `select c.relrowsecurity, c.relforcerowsecurity, c.relacl, pg_get_userbyid(c.relowner) as owner,
           (select count(*)::int from pg_policy where polrelid = c.oid) as policies,
           (select array_agg(pg_get_constraintdef(oid) order by pg_get_constraintdef(oid)) from pg_constraint where conrelid = c.oid) as constraints,
           (select array_agg(definition order by definition)
              from pg_indexes, regexp_replace(indexdef, '^.* USING', '') definition where tablename = c.relname) as indexes,
           (select count(*)::int from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid where i.indrelid = c.oid) as attached,
           pg_get_expr(c.relpartbound, c.oid) is not null as bound
         from pg_class c where relname = $1`,
        [part],
      )
      return rows[0]
    }
    await makeDay('events', 85)
    await makeDay('events', 86)
    await fill('events', 85, ['week', 'quarter', 'year'])
    assert.equal(await settle('events', 85), 'rebuilt')
    assert.deepEqual(await describeDay(85), await describeDay(86))
    for (const tenantId of ['week', 'quarter', 'year', 'nobody']) {
      const scope = { tenantId, productId: 'shop', traceId: 't' }
      const seen = await database.asTenant(scope, (db) =>
        db
          .selectFrom('events')
          .select('tenant_id')
          .where('id', '>=', createId('evt', new Date(dayOf(85))))
          .execute(),
      )
      assert.ok(seen.every(({ tenant_id: tenant }) => tenant === tenantId))
      const inDay = (await left('events', 85)).filter(({ tenant_id: tenant }) => tenant === tenantId).length
      assert.equal(inDay, tenantId === 'quarter' || tenantId === 'year' ? 1 : 0)
      const direct = database.asTenant(scope, (db) =>
        db
          .selectFrom(partOf('events', 85) as 'events')
          .selectAll()
          .execute(),
      )
      await assert.rejects(direct, /permission denied/)
    }
  })
})

test('rows in the default partition go by the same wishes', async () => {
  const ids = await fill('events', 200, ['week', 'lean', 'year'])
  await fill('inbound_webhooks', 200, ['week', 'lean', 'year', ''])
  await openWork('dlv_default', ids[0] ?? '')
  await maintainPartitions(database.system)
  const told = async (log: Log) => {
    const { rows } = await admin.query(
      `select tenant_id || case when body is null then ': record' else '' end as row from ${log}_default order by 1`,
    )
    return rows.map(({ row }) => row)
  }
  assert.deepEqual(await told('events'), ['lean: record', 'week', 'year'])
  assert.deepEqual(await told('inbound_webhooks'), ['lean: record', 'year'])
  await admin.query('delete from work')
  await maintainPartitions(database.system)
  assert.deepEqual(await told('events'), ['lean: record', 'year'])
})

test('tenants can neither settle a day nor see the list of them', async () => {
  const scope = { tenantId: 'week', productId: 'shop', traceId: 't' }
  await assert.rejects(
    database.asTenant(scope, (db) => settleDay(db, { table_name: 'events', day: dayOf(8) })),
    /permission denied/,
  )
  await assert.rejects(database.asTenant(scope, listUnsettledDays), /permission denied/)
  assert.equal(await settleDay(database.system, { table_name: 'jobs', day: dayOf(0) }), undefined)
})
