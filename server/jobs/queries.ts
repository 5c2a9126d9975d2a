import { type Kysely, type RawBuilder, sql, type Selectable } from 'kysely'
import { batchSize, deleteInBatches } from '#core/batches.ts'
import { columnArray, integerArray, textArray, timestampArray, uuidArray } from '#core/sql-arrays.ts'
import type { JobsTables } from './tables.ts'
import { areHeld, type Ending, finishArguments, type HeldRow } from './work-queries.ts'

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
  alongside?: RawBuilder<unknown>,
): Promise<Set<string>> {
  const inserted = await sql<{ id: string }>`
    with ${alongside === undefined ? sql`` : sql`alongside as (${alongside}),`} given as materialized (
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
  const { rows } = await sql<JobRow>`
    select id, tenant_id, product_id, name, payload, trace_id, created_at
    from jobs where id = any(${ids}::text[])`.execute(db)
  return new Map(rows.map((row) => [row.id, row]))
}

export async function insertAttempt(db: Db, attempt: AttemptRow): Promise<void> {
  await db.insertInto('job_attempts').values(attempt).execute()
}

export interface EndedJob {
  ending: Ending
  attempt: AttemptRow | undefined
  /** Should the end get lost in a crash of the database's server, the job runs again. */
  isRepeated: boolean
}

/**
 * Ends jobs and stores their attempts. Does not wait for the disk where all of them would run again: what ended a moment
 * before the database's server crashed does so, as after a crash of its process.
 * @returns whether each was still held; nothing was done to the others
 */
export async function finishJobs(db: Db, ended: readonly EndedJob[], now: Date): Promise<boolean[]> {
  const endings = ended.map(({ ending }) => ending)
  const isRepeated = ended.every((job) => job.isRepeated)
  const tokens = ended.flatMap(({ ending, attempt }) => (attempt ? [ending.claim.token] : []))
  const attempts = ended.flatMap(({ attempt }) => attempt ?? [])
  const texts = (read: (attempt: AttemptRow) => string | null) => columnArray(textArray, attempts.map(read))
  const numbers = (read: (attempt: AttemptRow) => number) => integerArray(attempts.map(read))
  const { rows } = await sql<HeldRow>`
    with unhurried as materialized (
      select set_config('synchronous_commit',
        case when ${isRepeated}::boolean then 'off' else current_setting('synchronous_commit') end, true)
    ),
    held as materialized (select id, token from unhurried, finish_work(${finishArguments(endings, now)})),
    given as (
      select * from unnest(
        ${uuidArray(tokens)}::uuid[], ${texts((attempt) => attempt.id)}::text[],
        ${texts((attempt) => attempt.job_id)}::text[], ${texts((attempt) => attempt.tenant_id)}::text[],
        ${numbers((attempt) => attempt.attempt)}::integer[], ${texts((attempt) => attempt.outcome)}::text[],
        ${texts((attempt) => attempt.error)}::text[],
        ${timestampArray(attempts.map((attempt) => attempt.started_at))}::timestamptz[],
        ${numbers((attempt) => attempt.duration_ms)}::integer[]
      ) as given (token, id, job_id, tenant_id, attempt, outcome, error, started_at, duration_ms)
    ),
    stored as (
      insert into job_attempts (id, job_id, tenant_id, attempt, outcome, error, started_at, duration_ms)
      select given.id, job_id, tenant_id, attempt, outcome, error, started_at, duration_ms
      from given join held on held.id = job_id and held.token = given.token
    )
    select id, token from held`.execute(db)
  return areHeld(endings, rows)
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

export function deleteDeadWork(db: Db, diedBefore: Date): Promise<number> {
  return deleteInBatches(async () => {
    const { numAffectedRows } = await sql`
      delete from dead_work where ctid = any(array(
        select ctid from dead_work where died_at < ${diedBefore} limit ${batchSize}))`.execute(db)
    return Number(numAffectedRows)
  })
}

/** Keys of jobs made before; those of jobs that are still open stay. */
export function deleteJobKeys(db: Db, firstKeptId: string): Promise<number> {
  return deleteInBatches(async () => {
    const { numAffectedRows } = await sql`
      delete from job_keys where ctid = any(array(
        select ctid from job_keys
        where job_id < ${firstKeptId} and not exists (select from work where work.id = job_keys.job_id)
        limit ${batchSize}))`.execute(db)
    return Number(numAffectedRows)
  })
}
