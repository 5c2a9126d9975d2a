import type { Kysely, RawBuilder } from 'kysely'
import type { TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import type { JobDefinition } from '#core/module.ts'
import { insertJobs } from './queries.ts'
import type { JobsTables } from './tables.ts'

export interface NewJob<Payload> {
  payload: Payload
  /** The tenant whose work it is; without one it is the platform's own and `db` must be the system's. */
  scope?: TenantScope
  traceId: string
  /** Default: now. */
  runAt?: Date
  /** Enqueued once per tenant, job name and key; remembered for 35 days. */
  key?: string
}

export type EnqueueOptions = Omit<NewJob<unknown>, 'payload'> & { now: Date }

/**
 * Makes a job durable with the caller's transaction. After its commit, `wakeWork('job')` lets it start at once.
 * @returns its id; undefined when the key was already enqueued.
 * @throws PipeError `job_payload_invalid` when the payload would not survive storing.
 */
export async function enqueueJob<Payload>(
  db: Kysely<JobsTables>,
  definition: JobDefinition<Payload>,
  payload: Payload,
  { now, ...options }: EnqueueOptions,
): Promise<string | undefined> {
  const [id] = await enqueueJobs(db, definition, [{ payload, ...options }], now)
  return id
}

/**
 * Jobs of one kind, of any tenants, in one statement, which also carries out `alongside`: what they are about.
 * @returns ids in order; undefined where the key was already enqueued
 */
export async function enqueueJobs<Payload>(
  db: Kysely<JobsTables>,
  definition: JobDefinition<Payload>,
  jobs: readonly NewJob<Payload>[],
  now: Date,
  alongside?: RawBuilder<unknown>,
): Promise<(string | undefined)[]> {
  const rows = jobs.map((job) => ({
    id: createId('job', now),
    tenantId: job.scope?.tenantId ?? null,
    productId: job.scope?.productId ?? null,
    traceId: job.traceId,
    payload: toStoredPayload(definition, job.payload),
    runAt: job.runAt ?? now,
    key: job.key ?? null,
  }))
  const inserted = await insertJobs(db, definition.name, rows, now, alongside)
  return rows.map((row) => (inserted.has(row.id) ? row.id : undefined))
}

/** Validates what will be read back, not what was given: a Date or an undefined does not survive JSON. */
function toStoredPayload<Payload>(definition: JobDefinition<Payload>, payload: Payload): string {
  const text = JSON.stringify(payload ?? null)
  const parsed = definition.payload.safeParse(JSON.parse(text))
  if (parsed.success) return text
  throw new PipeError('job_payload_invalid', 500, `The payload of the job ${definition.name} is invalid.`, {
    errors: parsed.error.issues.map((issue) => ({ field: issue.path.join('.'), message: issue.message })),
  })
}
