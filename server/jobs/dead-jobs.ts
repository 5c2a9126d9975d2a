import type { Context } from '#core/context.ts'
import { notFound } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import {
  type AttemptRow,
  type DeadJobRow,
  findJobs,
  findJobState,
  insertAttempt,
  listAttempts,
  listDeadJobs,
  reviveDeadJob,
} from './queries.ts'
import type { DeadJob, DeadJobQuery, Job } from './schema.ts'
import { wakeWork } from './wake.ts'

/** Jobs that used up their attempts, newest first. */
export async function getDeadJobs(context: Context, query: DeadJobQuery): Promise<Page<DeadJob>> {
  const rows = await listDeadJobs(context.database.system, {
    name: query.name,
    tenantId: query.tenant_id,
    before: decodeCursor(query.cursor),
    limit: query.limit + 1,
  })
  return toPage(rows, query.limit, presentDeadJob)
}

/** A job with its attempts. @throws PipeError `job_not_found` */
export async function getJob(context: Context, id: string): Promise<Job> {
  const { system } = context.database
  const job = (await findJobs(system, [id])).get(id)
  if (job === undefined) throw notFound('job', id)
  const [state, attempts] = await Promise.all([findJobState(system, id), listAttempts(system, id)])
  return {
    id: job.id,
    name: job.name,
    tenant_id: job.tenant_id,
    product_id: job.product_id,
    trace_id: job.trace_id,
    created_at: job.created_at.toISOString(),
    state: state.state,
    run_at: state.run_at?.toISOString() ?? null,
    attempts: attempts.map(presentAttempt),
  }
}

/** Sends a dead job back to work, with all its attempts once more. @throws PipeError `dead_job_not_found` */
export async function retryDeadJob(context: Context, id: string): Promise<Job> {
  const now = context.now()
  await context.database.asSystem(async (db) => {
    const revived = await reviveDeadJob(db, id, now)
    if (revived === undefined) throw notFound('dead_job', id)
    await insertAttempt(db, {
      id: createId('att', now),
      job_id: id,
      tenant_id: revived.tenantId,
      attempt: revived.attempts,
      outcome: 'revived',
      error: null,
      started_at: now,
      duration_ms: 0,
    })
  })
  wakeWork('job')
  return getJob(context, id)
}

function presentDeadJob(row: DeadJobRow): DeadJob {
  return { ...row, created_at: row.created_at.toISOString(), died_at: row.died_at.toISOString() }
}

function presentAttempt(row: AttemptRow): Job['attempts'][number] {
  return {
    attempt: row.attempt,
    outcome: row.outcome,
    error: row.error,
    started_at: row.started_at.toISOString(),
    duration_ms: row.duration_ms,
  }
}
