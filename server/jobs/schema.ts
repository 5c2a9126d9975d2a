import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'

const job = {
  id: z.string(),
  name: z.string().meta({ description: '`module.verb_noun`' }),
  tenant_id: z.string().nullable().meta({ description: "null for the platform's own jobs." }),
  product_id: z.string().nullable(),
  trace_id: z.string(),
  created_at: z.iso.datetime(),
}

const JobAttempt = z.object({
  attempt: z.int(),
  outcome: z.enum(['done', 'failed', 'postponed', 'dead', 'revived']).meta({
    description: '`postponed` did not count; `revived`: an operator sent the dead job back to work.',
  }),
  error: z.string().nullable(),
  started_at: z.iso.datetime(),
  duration_ms: z.int(),
})

export const Job = z.object({
  ...job,
  state: z.enum(['waiting', 'running', 'dead', 'done']),
  run_at: z.iso.datetime().nullable().meta({ description: 'When it runs next, while it is open.' }),
  attempts: z.array(JobAttempt),
})
export type Job = z.infer<typeof Job>

export const DeadJob = z.object({ ...job, attempts: z.int(), error: z.string(), died_at: z.iso.datetime() })
export type DeadJob = z.infer<typeof DeadJob>

export const DeadJobQuery = z.strictObject({
  ...pageQuery,
  name: z.string().max(200).optional(),
  tenant_id: z.string().max(64).optional(),
})
export type DeadJobQuery = z.infer<typeof DeadJobQuery>
