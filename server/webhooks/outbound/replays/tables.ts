import type { Generated } from 'kysely'
import type { ReplayState } from './schema.ts'

export interface ReplayTables {
  replays: {
    id: string
    product_id: string
    tenant_id: string | null
    tenant_ids: string[] | null
    types: string[] | null
    states: ReplayState[]
    first_id: string
    end_id: string
    per_second: number
    state: 'running' | 'paused' | 'canceled'
    trace_id: string
    created_at: Date
    changed_at: Date
  }
  replay_endpoints: {
    replay_id: string
    endpoint_id: string
    cursor: string
    step: Generated<number>
    looked_at: Generated<number>
    sent: Generated<number>
    free_at: Date
    moved_at: Date
    waiting_for: 'backlog' | 'endpoint_off' | 'endpoint_paused' | null
    error: string | null
    ended_at: Date | null
  }
}

declare module '#core/database.ts' {
  interface Tables extends ReplayTables {}
}
