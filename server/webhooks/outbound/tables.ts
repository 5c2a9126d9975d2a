import type { ColumnType, Generated } from 'kysely'

export interface OutboundTables {
  endpoints: {
    id: string
    product_id: string
    tenant_id: string | null
    url: string
    events: string[]
    /** JSON as it was given; `filter_path` is what it was translated into. */
    filter: string | null
    filter_path: string | null
    sealed_headers: string | null
    sealed_secret: string
    sealed_previous_secret: string | null
    previous_secret_expires_at: Date | null
    /** Pinned versions by type. */
    versions: ColumnType<Record<string, number>, string | undefined, string>
    public_key: string | null
    previous_public_key: string | null
    active: Generated<boolean>
    disabled_reason: string | null
    ordered: Generated<boolean>
    max_in_flight: number | null
    max_per_second: number | null
    created_at: ColumnType<Date, never, never>
    updated_at: ColumnType<Date, never, Date>
    deleted_at: ColumnType<Date | null, never, Date>
  }
  endpoint_health: {
    endpoint_id: string
    state: 'healthy' | 'failing' | 'open' | 'catching_up'
    failures: number
    failing_since: Date | null
    openings: number
    paused_until: Date | null
    recovered_at: Date | null
    alerted: number
    last_error: string | null
    updated_at: Date
  }
  endpoint_feeds: {
    endpoint_id: string
    acknowledged_through: number
    acknowledged_at: Date
  }
  events: {
    id: string
    tenant_id: string
    product_id: string
    type: string
    version: number
    entity: string
    /** Null: it went before the event, as its tenant wishes. */
    body: string | null
    /** JSON: the bodies of older versions. Null of PipeCore's own events. */
    older: string | null
    trace_id: string
    occurred_at: Date
    /** The stretch of time that it is found by; null of events from before there were any. */
    stretch: Generated<string | null>
  }
  event_types: {
    product_id: string
    name: string
    version: number
    description: string
    schema: string
    supported: boolean
    created_at: Date
  }
  delivery_attempts: {
    id: string
    delivery_id: string
    event_id: string
    endpoint_id: string
    tenant_id: string
    attempt: number
    outcome: 'delivered' | 'retry' | 'throttled' | 'dead' | 'acknowledged'
    status: number | null
    error: string | null
    response: string | null
    duration_ms: number
    next_attempt_at: Date | null
    attempted_at: Date
    number: number | null
    lookup_ms: number | null
    connect_ms: number | null
    first_byte_ms: number | null
    /** Written in hex. */
    body_sha256: ColumnType<Buffer | null, string | null, never>
    version: number | null
    signature: string | null
    header_names: string | null
    /** In the order in which attempts were recorded; null of those from before there was one. */
    place: ColumnType<number | null, never, never>
  }
}

declare module '#core/database.ts' {
  interface Tables extends OutboundTables {}
}
