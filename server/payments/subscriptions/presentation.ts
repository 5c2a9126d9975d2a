import { presentFailureText, readJson } from '../presentation.ts'
import type { Customer, NextAction } from '../providers/provider.ts'
import type { SubscriptionOperation } from './operation.ts'
import type { ChargeRow, SubscriptionRow } from './queries.ts'
import type { Charge, Subscription } from './schema.ts'

const time = (date: Date | null) => date?.toISOString() ?? null

export function presentSubscription(row: SubscriptionRow): Subscription {
  const operation = readJson<SubscriptionOperation>(row.operation)
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    provider: row.provider,
    status: row.status,
    amount: row.amount,
    currency: row.currency,
    interval: { every: row.every, count: row.every_count },
    description: row.description,
    next_action: readJson<NextAction>(row.action),
    failure: presentFailureText(row.failure),
    under_way: operation === null ? null : { operation: operation.kind, state: operation.state },
    method_id: row.method_id,
    trial_end: time(row.trial_end),
    period_start: time(row.period_start),
    period_end: time(row.period_end),
    cancel_at_period_end: row.cancel_at_period_end,
    renewed_by: row.mode === 'native' ? 'provider' : 'pipecore',
    provider_subscription_id: row.provider_subscription_id,
    reference: row.reference,
    customer: JSON.parse(row.customer) as Customer,
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    trace_id: row.trace_id,
    created_at: row.created_at.toISOString(),
    ended_at: time(row.ended_at),
  }
}

export function presentCharge(row: ChargeRow): Charge {
  return {
    status: row.status,
    amount: row.amount,
    currency: row.currency,
    period_start: time(row.period_start),
    period_end: time(row.period_end),
    attempt: row.attempt,
    payment_id: row.payment_id,
    provider_charge_id: row.provider_charge_id,
    failure: presentFailureText(row.failure),
    created_at: row.created_at.toISOString(),
  }
}
