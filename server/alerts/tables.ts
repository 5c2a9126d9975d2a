import type { Generated } from 'kysely'

export type RuleKind = 'provider_failing' | 'endpoint_failing' | 'backlog' | 'silence'
export type Phase = 'raised' | 'resolved'

export interface AlertsTables {
  alert_rules: { tenant_id: string; name: string; settings: string; updated_at: Date }
  alert_contacts: { tenant_id: string; contacts: string; updated_at: Date }
  alert_incidents: {
    id: string
    tenant_id: string
    product_id: string
    rule: string
    kind: RuleKind
    subject: string
    details: string
    opened_at: Date
    healthy: Generated<number>
    counted_at: Date
    resolved_at: Date | null
  }
  alert_notices: {
    tenant_id: string
    incident_id: string
    phase: Phase
    channel: string
    address: string
    message_id: string | null
    problem: string | null
    told_at: Date
  }
}

declare module '#core/database.ts' {
  interface Tables extends AlertsTables {}
}
