import type { ColumnType } from 'kysely'

export interface InboundTables {
  inbound_webhooks: {
    id: string
    tenant_id: string
    capability: string
    provider: string
    connection_id: string | null
    state: 'stored' | 'refused'
    failed_check: string | null
    reason: string | null
    method: string
    /** Like headers and body null when they went before the record, as its tenant wishes. */
    target: string | null
    headers: string | null
    body: Buffer | null
    trace_id: string
    received_at: Date
    /** Of a refused one: target and headers as they came. */
    sealed_request: string | null
    /** When one that was refused passed after all. */
    accepted_at: Date | null
  }
  inbound_facts: {
    tenant_id: string
    provider: string
    fact_key: string
    webhook_id: string
    recorded_at: ColumnType<Date, never, never>
  }
}

declare module '#core/database.ts' {
  interface Tables extends InboundTables {}
}
