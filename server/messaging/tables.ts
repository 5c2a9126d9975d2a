import type { ColumnType, Generated } from 'kysely'
import type { Channel, MessageStatus } from './providers/provider.ts'

export interface MessagingTables {
  messages: {
    id: string
    tenant_id: string
    direction: 'out' | 'in'
    channel: Channel
    provider: string
    connection_id: string
    to_address: string
    from_address: string
    recipient: string | null
    /** `received` for those that came in. */
    status: MessageStatus | 'received'
    detail: string | null
    error: string | null
    template: string | null
    reference: string | null
    tags: string[]
    auto_reply: string | null
    provider_message_id: string | null
    cost_amount: string | null
    cost_currency: string | null
    trace_id: string
    send_at: Date | null
    created_at: Date
    sent_at: Date | null
    delivered_at: Date | null
    read_at: Date | null
    failed_at: Date | null
  }
  message_contents: { tenant_id: string; message_id: string; content: string }
  message_attempts: {
    id: string
    tenant_id: string
    message_id: string
    attempt: number
    connection_id: string
    provider: string
    outcome: 'done' | 'refused' | 'unknown' | null
    error: string | null
    answer_status: number | null
    answer: string | null
    provider_message_id: string | null
    started_at: Date
    duration_ms: number | null
  }
  message_reports: {
    id: string
    tenant_id: string
    message_id: string
    status: string
    detail: string | null
    applied: boolean
    webhook_id: string | null
    reported_at: Date
    received_at: Date
  }
  whatsapp_windows: { tenant_id: string; sender: string; contact: string; last_inbound_at: Date }
  suppressions: {
    id: string
    tenant_id: string
    channel: Channel
    address: string
    reason: string
    provider: string | null
    message_id: string | null
    created_at: Date
  }
  message_templates: {
    tenant_id: string
    name: string
    locale: string
    subject: string | null
    text_body: string | null
    html_body: string | null
    variables: string[]
    provider_references: string
    is_default: boolean
    created_at: Generated<ColumnType<Date, never, never>>
    updated_at: Date
  }
  auto_replies: {
    tenant_id: string
    name: string
    channel: Channel
    keywords: string[]
    template: string | null
    body: string | null
    hours: string | null
    max_per_hour: number
    priority: number
    active: boolean
    updated_at: Date
  }
}

declare module '#core/database.ts' {
  interface Tables extends MessagingTables {}
}
