import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import pg from 'pg'
import { sql } from 'kysely'
import { createId, firstIdOf } from '#core/ids.ts'
import { openDatabase } from '#core/database.ts'
import { boundDeletes } from '#core/testing/bounded-deletes.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { createJobWorkers } from './workers.ts'
import { vacuumWork } from './work-queries.ts'
import { ownJobs } from './jobs.ts'
import { deleteDeadWork, deleteJobKeys, maintainPartitions } from './queries.ts'
import { createJobContext, addWork, itemsOf, until } from './testing/work.ts'

const { database, urls, ownerUrl } = await createTestDatabase({ after })
const owner = new pg.Client({ connectionString: ownerUrl })
owner.on('error', () => {})
await owner.connect()
await owner.query('set search_path = pipecore')
after(() => owner.end())

const scope = { tenantId: 'tenant_1', productId: 'product_1', traceId: 'x' }
const dayMs = 86_400_000

function dayAfter(days: number): string {
  return new Date(Date.now() + days * dayMs).toISOString().slice(0, 10).replaceAll('-', '')
}

async function partitionsOf(table: string): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(
    `select relname as name from pg_inherits join pg_class on oid = inhrelid where inhparent = $1::regclass order by 1`,
    [table],
  )
  return rows.map((row) => row.name)
}

async function insertJob(id: string): Promise<void> {
  await database.system
    .insertInto('jobs')
    .values({
      id,
      tenant_id: null,
      product_id: null,
      name: 'a.b',
      payload: '{}',
      trace_id: 'x',
      created_at: new Date(),
    })
    .execute()
}

async function partitionOf(id: string): Promise<string> {
  const { rows } = await owner.query<{ name: string }>(
    'select tableoid::regclass::text as name from jobs where id = $1',
    [id],
  )
  return rows[0]?.name ?? ''
}

describe('row-level security', () => {
  test("shows a tenant its own work and lets it make no other's", async () => {
    await addWork(database, [
      { id: 'own', tenantId: 'tenant_1' },
      { id: 'foreign', tenantId: 'tenant_2' },
      { id: 'platform' },
    ])
    const seen = await database.asTenant(scope, (db) => db.selectFrom('work').select('id').execute())
    assert.deepEqual(seen, [{ id: 'own' }])
    for (const tenantId of ['tenant_2', null]) {
      const row = {
        id: 'x',
        kind: 'job' as const,
        lane: 'x',
        tenant_id: tenantId,
        product_id: null,
        ref: 'x',
        run_at: new Date(),
        attempts: 0,
      }
      const insert = database.asTenant(scope, (db) =>
        db
          .insertInto('work')
          .values({ ...row, lease_until: null, token: null })
          .execute(),
      )
      await assert.rejects(insert, /row-level security/)
    }
  })

  test('keeps claiming, finishing, deleting and partitions from tenants', async () => {
    const statements = [
      `select * from claim_work('job', '', 1, 1, 1, 1, '{}', '{}', 1, '', gen_random_uuid(), 1, now())`,
      `select * from finish_work('{}', '{}', '{}', '{}', '{}', now())`,
      `select * from extend_work('{}', '{}', 1)`,
      `select * from maintain_partitions()`,
      `select make_day_partition('jobs', 'job', current_date)`,
      `update work set lease_until = now()`,
      `delete from work`,
      `update jobs set payload = ''`,
      `delete from jobs`,
      `insert into job_attempts (id) values ('att_1')`,
      `insert into dead_work (id) values ('job_1')`,
      `select * from jobs_default`,
      `select * from jobs_${dayAfter(0)}`,
      `select * from partitioned_tables`,
    ]
    for (const statement of statements) {
      const run = database.asTenant(scope, (db) => sql.raw(statement).execute(db))
      await assert.rejects(run, /permission denied/, statement)
    }
  })

  test('is forced on every table and partition', async () => {
    const { rows } = await owner.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'pipecore'::regnamespace
         and (relname ~ '^(work|dead_work|job|partitioned)') and relkind in ('r', 'p')
         and not (relrowsecurity and relforcerowsecurity)`,
    )
    assert.deepEqual(rows, [])
  })
})

test('id_bound equals firstIdOf', async () => {
  const moments = [0, 1, 31, 32, 1_700_000_000_123, Date.now(), Date.UTC(2199, 0, 1), 2 ** 47]
  for (const moment of moments) {
    const at = new Date(moment)
    const { rows } = await sql<{ bound: string }>`select id_bound('evt', ${at}) as bound`.execute(
      database.system,
    )
    assert.equal(rows[0]?.bound, firstIdOf('evt', at))
  }
})

describe('partitions', () => {
  test('exist from yesterday to a week ahead, and the rest goes to the default one', async () => {
    const days = Array.from({ length: 9 }, (_, index) => `jobs_${dayAfter(index - 1)}`)
    assert.deepEqual(await partitionsOf('jobs'), [...days, 'jobs_default'])
    const [today, far] = [createId('job'), createId('job', new Date(Date.now() + 100 * dayMs))]
    await insertJob(today)
    await insertJob(far)
    assert.equal(await partitionOf(today), `jobs_${dayAfter(0)}`)
    assert.equal(await partitionOf(far), 'jobs_default')
  })

  test('that are missing are made, and take the rows that waited in the default one', async () => {
    await owner.query(`drop table jobs_${dayAfter(5)}`)
    const id = createId('job', new Date(Date.now() + 5 * dayMs))
    await insertJob(id)
    assert.equal(await partitionOf(id), 'jobs_default')
    const changes = await maintainPartitions(database.system)
    assert.deepEqual(changes, [{ action: 'made', partition_name: `jobs_${dayAfter(5)}` }])
    assert.equal(await partitionOf(id), `jobs_${dayAfter(5)}`)
    assert.deepEqual(await maintainPartitions(database.system), [])
  })

  test('past their days are dropped, unless open or dead work needs them', async () => {
    const old = (days: number) => new Date(Date.now() - days * dayMs)
    for (const days of [31, 40, 50]) {
      await owner.query(`select make_day_partition('jobs', 'job', $1)`, [
        old(days).toISOString().slice(0, 10),
      ])
    }
    const needed = createId('job', old(40))
    const dead = createId('job', old(50))
    await insertJob(needed)
    await insertJob(dead)
    await addWork(database, [{ id: needed, kind: 'job', runAt: new Date(Date.now() + dayMs) }])
    await database.system
      .insertInto('dead_work')
      .values({
        id: dead,
        ref: dead,
        kind: 'job',
        lane: '*',
        tenant_id: null,
        product_id: null,
        run_at: old(50),
        attempts: 1,
        error: 'x',
        died_at: old(20),
      })
      .execute()
    assert.deepEqual(await maintainPartitions(database.system), [
      { action: 'kept', partition_name: `jobs_${dayAfter(-50)}` },
      { action: 'kept', partition_name: `jobs_${dayAfter(-40)}` },
      { action: 'dropped', partition_name: `jobs_${dayAfter(-31)}` },
    ])
    assert.equal(await deleteDeadWork(database.system, old(30)), 0)
    assert.equal(await deleteDeadWork(database.system, old(10)), 1)
    assert.deepEqual(await maintainPartitions(database.system), [
      { action: 'dropped', partition_name: `jobs_${dayAfter(-50)}` },
      { action: 'kept', partition_name: `jobs_${dayAfter(-40)}` },
    ])
    await database.system.deleteFrom('work').where('id', '=', needed).execute()
    assert.equal((await maintainPartitions(database.system))[0]?.action, 'dropped')
  })

  test('of another module are kept in order through the registry', async (t) => {
    await owner.query(`
      create table notes (id text not null collate "C", body text, primary key (id)) partition by range (id);
      insert into partitioned_tables values ('notes', 'note', 3);
      select maintain_partitions()`)
    t.after(() => owner.query(`drop table notes; delete from partitioned_tables where table_name = 'notes'`))
    assert.equal((await partitionsOf('notes')).length, 10)
  })

  test('that a long transaction holds are left for later', async (t) => {
    const reader = new pg.Client({ connectionString: ownerUrl })
    await reader.connect()
    t.after(() => reader.end())
    await owner.query(`drop table jobs_${dayAfter(6)}`)
    await reader.query('begin; select from pipecore.jobs_default')
    assert.deepEqual(await maintainPartitions(database.system), [
      { action: 'postponed', partition_name: `jobs_${dayAfter(6)}` },
    ])
    await reader.query('commit')
    assert.deepEqual(await maintainPartitions(database.system), [
      { action: 'made', partition_name: `jobs_${dayAfter(6)}` },
    ])
  })

  test('are maintained, and expired rows deleted, by jobs of this module', async (t) => {
    await owner.query(`drop table jobs_${dayAfter(7)}`)
    const context = createJobContext(database, () => new Date())
    const workers = createJobWorkers(context, [{ name: 'jobs', needs: [], jobs: ownJobs }])
    t.after(() => Promise.all(workers.map((worker) => worker.stop(0))))
    for (const worker of workers) worker.start()
    await until(async () => (await partitionsOf('jobs')).includes(`jobs_${dayAfter(7)}`))
    await until(async () => {
      const rows = await database.system.selectFrom('job_attempts').select('outcome').execute()
      return rows.filter((row) => row.outcome === 'done').length === ownJobs.length
    })
  })
})

test('keys are forgotten after their time, but not those of open jobs', async () => {
  const at = new Date(Date.now() - 40 * dayMs)
  const [open, closed, young] = [createId('job', at), createId('job', at), createId('job')]
  await addWork(database, [{ id: open, kind: 'job', runAt: new Date(Date.now() + dayMs) }])
  const keys = [open, closed, young].map((job_id) => ({
    tenant_id: '',
    name: 'test.keys',
    key: job_id,
    job_id,
  }))
  await database.system.insertInto('job_keys').values(keys).execute()
  assert.equal(await deleteJobKeys(database.system, firstIdOf('job', new Date(Date.now() - 35 * dayMs))), 1)
  const left = await database.system
    .selectFrom('job_keys')
    .select('key')
    .where('name', '=', 'test.keys')
    .execute()
  assert.deepEqual(left.map((row) => row.key).toSorted(), [open, young].toSorted())
})

test('what expired goes so many rows at a time that no statement is ended', async () => {
  for (const table of ['dead_work', 'job_keys']) await boundDeletes(owner, table)
  await owner.query(`
    insert into dead_work (id, kind, lane, ref, run_at, attempts, error, died_at)
    select 'dead ' || n, 'job', '*', 'dead ' || n, now(), 1, 'e', now() - interval '31 days'
    from generate_series(1, 12000) n;
    insert into job_keys (tenant_id, name, key, job_id) select '', 'test.many', n, 'job_' from generate_series(1, 12000) n`)
  const before = new Date(Date.now() - 30 * dayMs)
  assert.equal(await deleteDeadWork(database.system, before), 12_000)
  assert.equal(await deleteJobKeys(database.system, 'job_0'), 12_000)
})

test('partitions are made though it takes longer than other statements may', async () => {
  await owner.query(`drop table jobs_${dayAfter(5)}`)
  const name = new URL(urls.system).pathname.slice(1)
  const login = `${pg.escapeIdentifier(new URL(urls.system).username)} in database ${name}`
  await owner.query(`alter role ${login} set statement_timeout = '1ms'`)
  const hasty = openDatabase({ urls, onError: () => undefined })
  try {
    const job = ownJobs.find((one) => one.name === 'jobs.maintain_partitions')
    await job?.run(
      createJobContext(hasty, () => new Date()),
      {},
      { signal: new AbortController().signal } as never,
    )
  } finally {
    await hasty.close()
    await owner.query(`alter role ${login} set statement_timeout = '45s'`)
  }
  assert.ok((await partitionsOf('jobs')).includes(`jobs_${dayAfter(5)}`))
})

test('claims and finishes never scan the table or sort it', async () => {
  await addWork(database, [...itemsOf('plan-a', 2000), ...itemsOf('plan-b', 2000)])
  await owner.query(`load 'auto_explain'`)
  await owner.query(`set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on`)
  await owner.query(`set client_min_messages = log`)
  const plans: string[] = []
  owner.on('notice', (notice) => plans.push(notice.message ?? ''))
  const token = '00000000-0000-4000-8000-000000000001'
  await owner.query(
    `select * from claim_work('delivery', '', 256, 20, 10, 10, '{"plan-b": 3}', '{}', 9, '', $1, 30, now())`,
    [token],
  )
  await owner.query(`select * from extend_work(array['plan-a-00000'], array[$1::uuid], 30)`, [token])
  await owner.query(
    `select * from finish_work(array['plan-a-00000'], array[$1::uuid], '{done}', '{null}', '{null}', now())`,
    [token],
  )
  await owner.query('set client_min_messages = notice')
  const text = plans.join('\n')
  assert.match(text, /using work_due on work/)
  assert.match(text, /using work_pkey on work/)
  assert.doesNotMatch(text, /Seq Scan on work|Bitmap|Hash Join/)
  // Only what was claimed is put in order.
  assert.doesNotMatch(text, /Sort {2}\(.*\n(?:\s+Sort .*\n)+\s+->.* on work /)
})

test('the hot table is vacuumed where PostgreSQL lets workers do it, and elsewhere nothing fails', async () => {
  const allowed = Number((await owner.query('show server_version_num')).rows[0].server_version_num) >= 170_000
  const worker = new pg.Client({ connectionString: urls.upkeep })
  const notices: string[] = []
  worker.on('notice', (notice) => notices.push(notice.message ?? ''))
  await worker.connect()
  await worker.query('vacuum (skip_locked) work')
  await worker.end()
  assert.equal(notices.length === 0, allowed)
  await database.asSystemAlone(vacuumWork)
})
