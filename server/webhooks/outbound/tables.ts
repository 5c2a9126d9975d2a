import type { ColumnType, Generated } from 'kysely'

export interface OutboundTables {
  endpoints: {
    id: string
    product_id: string
    tenant_id: string | null
    url: string
    events: string[]
    sealed_headers: string | null
    sealed_secret: string
    sealed_previous_secret: string | null
    previous_secret_expires_at: Date | null
    active: Generated<boolean>
    disabled_reason: string | null
    created_at: ColumnType<Date, never, never>
    updated_at: ColumnType<Date, never, Date>
    deleted_at: ColumnType<Date | null, never, Date>
  }
  events: {
    id: string
    tenant_id: string
    product_id: string
    type: string
    entity: string
    body: string
    trace_id: string
    occurred_at: Date
  }
  delivery_attempts: {
    id: string
    delivery_id: string
    event_id: string
    endpoint_id: string
    tenant_id: string
    attempt: number
    outcome: 'delivered' | 'retry' | 'dead'
    status: number | null
    error: string | null
    response: string | null
    duration_ms: number
    next_attempt_at: Date | null
    attempted_at: Date
  }
}

declare module '#core/database.ts' {
  interface Tables extends OutboundTables {}
}
