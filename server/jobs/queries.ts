import { type Kysely, sql, type Selectable } from 'kysely'
import type { JobsTables } from './tables.ts'

type Db = Kysely<JobsTables>
export type JobRow = Selectable<JobsTables['jobs']>
export type AttemptRow = Selectable<JobsTables['job_attempts']>

/** The lane of jobs that belong to no tenant. Not a slug, so no tenant can have it. */
export const platformLane = '*'

export interface NewJobRow {
  id: string
  tenantId: string | null
  productId: string | null
  traceId: string
  payload: string
  runAt: Date
  key: string | null
}

/** @returns the ids that are new; the others' keys were taken. */
export async function insertJobs(
  db: Db,
  name: string,
  rows: readonly NewJobRow[],
  now: Date,
): Promise<Set<string>> {
  const inserted = await sql<{ id: string }>`
    with given as materialized (
      select * from unnest(
        ${rows.map((row) => row.id)}::text[], ${rows.map((row) => row.tenantId)}::text[],
        ${rows.map((row) => row.productId)}::text[], ${rows.map((row) => row.traceId)}::text[],
        ${rows.map((row) => row.payload)}::text[], ${rows.map((row) => row.runAt)}::timestamptz[],
        ${rows.map((row) => row.key)}::text[]
      ) as given (id, tenant_id, product_id, trace_id, payload, run_at, key)
    ),
    keyed as (
      insert into job_keys (tenant_id, name, key, job_id)
      select coalesce(tenant_id, ''), ${name}, key, id from given where key is not null
      on conflict do nothing returning job_id
    ),
    logged as (
      insert into jobs (id, tenant_id, product_id, name, payload, trace_id, created_at)
      select id, tenant_id, product_id, ${name}, payload, trace_id, ${now}::timestamptz
      from given where key is null or id in (select job_id from keyed)
      returning id
    )
    insert into work (id, kind, lane, tenant_id, product_id, ref, run_at)
    select id, 'job', coalesce(tenant_id, ${platformLane}), tenant_id, product_id, id, run_at
    from given where id in (select id from logged)
    returning id`.execute(db)
  return new Set(inserted.rows.map((row) => row.id))
}

export async function findJobs(db: Db, ids: readonly string[]): Promise<Map<string, JobRow>> {
  const rows = await db.selectFrom('jobs').selectAll().where('id', 'in', ids).execute()
  return new Map(rows.map((row) => [row.id, row]))
}

export async function insertAttempts(db: Db, attempts: readonly AttemptRow[]): Promise<void> {
  if (attempts.length === 0) return
  await db.insertInto('job_attempts').values(attempts).execute()
}

/** The attempt after which an operator last sent a job back to work; 0 when none did. */
export async function findRevivedAttempt(db: Db, jobId: string): Promise<number> {
  const row = await db
    .selectFrom('job_attempts')
    .select((select) => select.fn.max('attempt').as('attempt'))
    .where('job_id', '=', jobId)
    .where('outcome', '=', 'revived')
    .executeTakeFirst()
  return row?.attempt ?? 0
}

export type DeadJobRow = Pick<
  JobRow,
  'id' | 'name' | 'tenant_id' | 'product_id' | 'trace_id' | 'created_at'
> &
  Pick<Selectable<JobsTables['dead_work']>, 'attempts' | 'error' | 'died_at'>

export interface DeadJobFilter {
  name?: string
  tenantId?: string
  before?: string
  limit: number
}

/** Newest jobs first. */
export function listDeadJobs(db: Db, filter: DeadJobFilter): Promise<DeadJobRow[]> {
  let query = db
    .selectFrom('dead_work')
    .innerJoin('jobs', 'jobs.id', 'dead_work.ref')
    .select(['jobs.id', 'jobs.name', 'jobs.tenant_id', 'jobs.product_id', 'jobs.trace_id', 'jobs.created_at'])
    .select(['dead_work.attempts', 'dead_work.error', 'dead_work.died_at'])
    .where('dead_work.kind', '=', 'job')
    .orderBy('dead_work.id', 'desc')
    .limit(filter.limit)
  if (filter.name !== undefined) query = query.where('jobs.name', '=', filter.name)
  if (filter.tenantId !== undefined) query = query.where('dead_work.tenant_id', '=', filter.tenantId)
  if (filter.before !== undefined) query = query.where('dead_work.id', '<', filter.before)
  return query.execute()
}

export interface RevivedJob {
  tenantId: string | null
  attempts: number
}

/** Moves a dead job back into work; undefined when it is not dead. */
export async function reviveDeadJob(db: Db, id: string, now: Date): Promise<RevivedJob | undefined> {
  const { rows } = await sql<RevivedJob>`
    with revived as (delete from dead_work where id = ${id} and kind = 'job' returning *)
    insert into work (id, kind, lane, tenant_id, product_id, ref, run_at, attempts)
    select id, kind, lane, tenant_id, product_id, ref, ${now}::timestamptz, attempts from revived
    returning tenant_id as "tenantId", attempts`.execute(db)
  return rows[0]
}

export interface JobState {
  state: 'waiting' | 'running' | 'dead' | 'done'
  run_at: Date | null
}

/** Derived: open jobs have a row in `work`, given up ones in `dead_work`, finished ones none. */
export async function findJobState(db: Db, id: string): Promise<JobState> {
  const { rows } = await sql<JobState>`
    select case when lease_until > now() then 'running' else 'waiting' end as state, run_at from work where id = ${id}
    union all
    select 'dead', null from dead_work where id = ${id}`.execute(db)
  return rows[0] ?? { state: 'done', run_at: null }
}

export function listAttempts(db: Db, jobId: string): Promise<AttemptRow[]> {
  const attempts = db.selectFrom('job_attempts').selectAll().where('job_id', '=', jobId)
  return attempts.orderBy('attempt').orderBy('started_at').orderBy('id').execute()
}

export interface PartitionChange {
  action: 'made' | 'dropped' | 'kept' | 'postponed'
  partition_name: string
}

export async function maintainPartitions(db: Db): Promise<PartitionChange[]> {
  const { rows } =
    await sql<PartitionChange>`select action, partition_name from maintain_partitions()`.execute(db)
  return rows
}

export interface Day {
  table_name: string
  day: string
}

/** Of logs that are kept as long as each tenant wishes; oldest first. */
export async function listUnsettledDays(db: Db): Promise<Day[]> {
  const { rows } = await sql<Day>`select table_name, day from list_unsettled_days()`.execute(db)
  return rows
}

export type Settlement = 'dropped' | 'rebuilt' | 'kept' | 'postponed'

/** Undefined where nothing has to go. See `migrations/0009_retention.sql`. */
export async function settleDay(db: Db, { table_name: table, day }: Day): Promise<Settlement | undefined> {
  const { rows } = await sql<{
    action: Settlement | null
  }>`select settle_day(${table}, ${day}::date) as action`.execute(db)
  return rows[0]?.action ?? undefined
}

export async function deleteDeadWork(db: Db, diedBefore: Date): Promise<number> {
  const result = await db.deleteFrom('dead_work').where('died_at', '<', diedBefore).executeTakeFirst()
  return Number(result.numDeletedRows)
}

/** Keys of jobs made before; those of jobs that are still open stay. */
export async function deleteJobKeys(db: Db, firstKeptId: string): Promise<number> {
  const result = await db
    .deleteFrom('job_keys')
    .where('job_id', '<', firstKeptId)
    .where((where) =>
      where.not(
        where.exists(where.selectFrom('work').select('work.id').whereRef('work.id', '=', 'job_keys.job_id')),
      ),
    )
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}
