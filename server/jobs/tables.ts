import type { Generated } from 'kysely'
import type { WorkKind } from './work.ts'

export interface JobsTables {
  work: {
    id: string
    kind: WorkKind
    lane: string
    tenant_id: string | null
    product_id: string | null
    ref: string
    run_at: Date
    lease_until: Date | null
    attempts: number
    token: string | null
    series: string | null
    order_key: string | null
    number: number | null
    place: Generated<number>
    /** Stands behind other work of its key. */
    blocked: Generated<boolean>
    /** Its time is more than a moment away: claims do not come across it. */
    dormant: Generated<boolean>
  }
  work_series: {
    series: string
    last_number: Generated<number>
    paused_until: Date | null
    most_running: number | null
    per_second: number | null
    owner: string | null
    owner_until: Date | null
  }
  work_feeders: {
    kind: WorkKind
    name: string
    owner: string | null
    owner_until: Date | null
  }
  dead_work: {
    id: string
    kind: WorkKind
    lane: string
    tenant_id: string | null
    product_id: string | null
    ref: string
    run_at: Date
    attempts: number
    error: string
    died_at: Date
    series: string | null
    order_key: string | null
    number: number | null
  }
  jobs: {
    id: string
    tenant_id: string | null
    product_id: string | null
    name: string
    payload: string
    trace_id: string
    created_at: Date
  }
  job_attempts: {
    id: string
    job_id: string
    tenant_id: string | null
    attempt: number
    outcome: AttemptOutcome
    error: string | null
    started_at: Date
    duration_ms: number
  }
  job_keys: {
    /** '' for the platform's own jobs. */
    tenant_id: string
    name: string
    key: string
    job_id: string
  }
}

/**
 * `failed` is tried again, `postponed` as well and did not count; `revived` is no try but an operator who sent a
 * dead job back.
 */
export type AttemptOutcome = 'done' | 'failed' | 'postponed' | 'dead' | 'revived'

declare module '#core/database.ts' {
  interface Tables extends JobsTables {}
}
