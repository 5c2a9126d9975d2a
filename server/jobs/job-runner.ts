import type { Logger } from 'pino'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { createGroup } from '#core/grouped.ts'
import { createId } from '#core/ids.ts'
import { type JobDefinition, type JobRun, RetryLater, type Worker } from '#core/module.ts'
import { measureRun } from './metrics.ts'
import { type AttemptRow, findJobs, findRevivedAttempt, finishJobs, type JobRow } from './queries.ts'
import type { AttemptOutcome } from './tables.ts'
import type { FinishedWork, WorkItem, WorkResult } from './work.ts'
import { createWorkLoop } from './work-loop.ts'
import { WorkerStopped } from './work-runs.ts'

export type JobDefinitions = ReadonlyMap<string, JobDefinition>

interface Attempt {
  outcome: AttemptOutcome
  error: string | null
  /** Should this end get lost, the job would be buried instead of running again. */
  isLast: boolean
}

type JobResult = WorkResult<Attempt>

/** Long runs are prolonged while their process lives: a dead one is replaced after this. */
const leaseSeconds = 15
/** Under load a claim for each job costs more than the job; one that comes alone is claimed at once. */
const gatherMs = 20
const longestBackoffMs = 3_600_000
/** For jobs that could not be started here. */
const postponedMs = 5_000
const longestErrorText = 1_000

/** Runs background jobs: with a time limit, again after failures, dead after the last attempt. */
export function createJobRunner(context: Context, definitions: JobDefinitions): Worker & { wake(): void } {
  const loadJob = createGroup<string, JobRow | undefined>({
    maxSize: 200,
    flush: async (ids) => {
      const found = await findJobs(context.database.system, ids)
      return ids.map((id) => found.get(id))
    },
  })
  return createWorkLoop<Attempt>({
    database: context.database,
    kind: 'job',
    leaseSeconds,
    gatherMs,
    log: context.log,
    now: () => context.now(),
    run: async (item, { signal }) => {
      const job = await loadJob(item.ref).catch((error: unknown) => {
        context.log.warn({ err: error, job: item.ref }, 'job can not be read; later')
        return 'unreadable' as const
      })
      if (job === 'unreadable') return postpone(context)
      if (job === undefined) return { kind: 'dead', error: 'The log of this job is gone.' }
      const definition = definitions.get(job.name)
      if (definition === undefined) return postponeUnknown(context, job)
      const began = performance.now()
      const result = await runJob(context, { definition, job, item, signal })
      const outcome = result.detail?.outcome ?? result.kind
      measureRun(context, { job: job.name, outcome, durationMs: performance.now() - began })
      return result
    },
    finish: (db, ended, now) =>
      finishJobs(
        db,
        ended.map(({ ending, finished }) => ({
          ending,
          attempt: finished && toAttemptRow(finished),
          isRepeated: finished?.result.detail?.isLast === false,
        })),
        now,
      ),
  })
}

interface Task {
  definition: JobDefinition
  job: JobRow
  item: WorkItem
  signal: AbortSignal
}

async function runJob(context: Context, task: Task): Promise<JobResult> {
  const { definition, job, item } = task
  const attempts = await countAttempts(context, task)
  const limit = limitTime(definition.timeoutSeconds, task.signal)
  const run: JobRun = {
    jobId: job.id,
    attempt: item.attempt,
    lastAttempt: item.attempt >= attempts,
    scope: scopeOf(job),
    traceId: job.trace_id,
    signal: limit.signal,
  }
  const log = context.log.child({
    job: job.id,
    name: job.name,
    attempt: item.attempt,
    trace_id: job.trace_id,
  })
  const own = { ...context, log }
  const bury = async () => definition.bury?.(own, definition.payload.parse(JSON.parse(job.payload)), run)
  if (item.attempt > attempts) {
    limit.end()
    await bury()
    return toDead('The process died during the last attempt.')
  }
  try {
    const payload = definition.payload.parse(JSON.parse(job.payload))
    await settleBeforeAbort(definition.run(own, payload, run), run.signal)
    return { kind: 'done', detail: { outcome: 'done', error: null, isLast: run.lastAttempt } }
  } catch (error) {
    const cause = limit.passed ?? error
    const { attempt, lastAttempt } = run
    const result = toFailure(log, cause, { attempt, lastAttempt, now: context.now() })
    if (result.kind === 'dead')
      await bury().catch((failure: unknown) => log.error({ err: failure }, 'job could not be buried'))
    return result
  } finally {
    limit.end()
  }
}

/** Aborts with `stop`, or when the time is up. */
interface TimeLimit {
  signal: AbortSignal
  /** The time was up. */
  passed?: Error
  /** Of a run that is over: it would be kept in memory until its time were up. */
  end(): void
}

function limitTime(seconds: number, stop: AbortSignal): TimeLimit {
  const controller = new AbortController()
  const stopNow = () => controller.abort(stop.reason)
  if (stop.aborted) stopNow()
  else stop.addEventListener('abort', stopNow, { once: true })
  const timer = setTimeout(() => {
    limit.passed = new Error(`The job took longer than ${seconds} s.`)
    controller.abort(limit.passed)
  }, seconds * 1000).unref()
  const limit: TimeLimit = {
    signal: controller.signal,
    end() {
      clearTimeout(timer)
      stop.removeEventListener('abort', stopNow)
    },
  }
  return limit
}

/** A job that an operator sent back has its attempts once more on top of those before. */
async function countAttempts(context: Context, { definition, job, item }: Task): Promise<number> {
  if (item.attempt <= definition.attempts) return definition.attempts
  return (await findRevivedAttempt(context.database.system, job.id)) + definition.attempts
}

function toFailure(
  log: Logger,
  error: unknown,
  at: { attempt: number; lastAttempt: boolean; now: Date },
): JobResult {
  const message = messageOf(error)
  const counts = !(error instanceof RetryLater) || error.counts
  if (counts && at.lastAttempt) {
    log.error({ err: error }, 'job is dead')
    return toDead(message)
  }
  log.warn({ err: error }, counts ? 'job failed; it is tried again' : 'job postponed')
  const runAt = new Date(at.now.getTime() + delayAfter(error, at.attempt))
  return {
    kind: 'retry',
    runAt,
    counts,
    detail: { outcome: counts ? 'failed' : 'postponed', error: message, isLast: at.lastAttempt },
  }
}

function delayAfter(error: unknown, attempt: number): number {
  if (error instanceof RetryLater) return error.afterMs
  if (error instanceof WorkerStopped) return 0
  return backoffMs(attempt, Math.random())
}

/** 2 s, 4 s, 8 s … 1 h, each shortened by up to a half, so that what failed together does not come back together. */
export function backoffMs(attempt: number, random: number): number {
  return Math.min(longestBackoffMs, 2 ** Math.min(attempt, 20) * 1000) * (1 - random / 2)
}

function toDead(error: string): JobResult {
  return { kind: 'dead', error, detail: { outcome: 'dead', error, isLast: true } }
}

/** During a deployment an older process meets jobs of a newer one; one that knows them takes them soon. */
function postponeUnknown(context: Context, job: JobRow): JobResult {
  context.log.warn({ job: job.id, name: job.name }, 'this process has no such job; left for another one')
  return postpone(context)
}

function postpone(context: Context): JobResult {
  return { kind: 'retry', runAt: new Date(context.now().getTime() + postponedMs), counts: false }
}

function scopeOf(job: JobRow): TenantScope | undefined {
  if (job.tenant_id === null || job.product_id === null) return undefined
  return { tenantId: job.tenant_id, productId: job.product_id, traceId: job.trace_id }
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replaceAll('\0', '').slice(0, longestErrorText)
}

function toAttemptRow({
  item,
  result,
  startedAt,
  durationMs,
}: FinishedWork<Attempt>): AttemptRow | undefined {
  if (result.detail === undefined) return undefined
  const { outcome, error } = result.detail
  return {
    id: createId('att', startedAt),
    job_id: item.ref,
    tenant_id: item.tenantId,
    attempt: item.attempt,
    outcome,
    error,
    started_at: startedAt,
    duration_ms: durationMs,
  }
}

/** A job that ignores its signal must not hold its slot for ever. */
async function settleBeforeAbort(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    work.then(resolve, reject)
  })
}
