import type { Generated } from 'kysely'
import type { Interval, PaymentStatus, RefundStatus, SubscriptionStatus } from './providers/provider.ts'

/** Columns that hold JSON are text: they are read and written whole. */
export interface PaymentsTables {
  payments: {
    id: string
    tenant_id: string
    provider: string
    connection_id: string
    flow: 'direct' | 'checkout'
    status: PaymentStatus
    amount: number
    currency: string
    capture: 'automatic' | 'manual'
    captured: number
    refunded: number
    provider_payment_id: string | null
    provider_checkout_id: string | null
    checkout_id: string | null
    items: string | null
    subscription_id: string | null
    method_id: string | null
    reference: string | null
    description: string | null
    customer: string
    metadata: string
    installments: number
    return_url: string | null
    cancel_url: string | null
    return_token: string
    method_token: string | null
    action: string | null
    method: string | null
    failure: string | null
    dispute: string | null
    details: string
    windows: string
    operation: string | null
    told: boolean
    check_at: Date | null
    expires_at: Date | null
    trace_id: string
    created_at: Date
    authorized_at: Date | null
    confirmed_at: Date | null
    ended_at: Date | null
    updated_at: Date
  }
  payment_refunds: {
    id: string
    tenant_id: string
    payment_id: string
    provider_refund_id: string | null
    amount: number
    status: RefundStatus
    kind: 'refund' | 'reversal'
    reason: string | null
    reference: string | null
    source: 'api' | 'provider'
    failure: string | null
    created_at: Date
    settled_at: Date | null
  }
  payment_methods: {
    id: string
    tenant_id: string
    provider: string
    connection_id: string
    status: 'pending' | 'active' | 'failed' | 'canceled' | 'removed'
    customer: string
    customer_reference: string | null
    sealed_token: string | null
    provider_inscription_id: string | null
    finishing_at: Date | null
    summary: string | null
    failure: string | null
    action: string | null
    return_url: string | null
    return_token: string
    trace_id: string
    created_at: Date
    updated_at: Date
  }
  payment_subscriptions: {
    id: string
    tenant_id: string
    provider: string
    connection_id: string
    mode: 'native' | 'emulated'
    status: SubscriptionStatus
    amount: number
    currency: string
    every: Interval
    every_count: number
    description: string
    reference: string | null
    customer: string
    metadata: string
    method_id: string | null
    method_token: string | null
    provider_subscription_id: string | null
    trial_end: Date | null
    anchor: Date
    periods: number
    period_start: Date | null
    period_end: Date | null
    cancel_at_period_end: boolean
    failed_attempts: number
    action: string | null
    failure: string | null
    details: string
    operation: string | null
    return_url: string | null
    return_token: string
    check_at: Date | null
    told: boolean
    trace_id: string
    created_at: Date
    ended_at: Date | null
    updated_at: Date
  }
  payment_subscription_charges: {
    tenant_id: string
    subscription_id: string
    provider_charge_id: string
    status: 'scheduled' | 'paid' | 'retrying' | 'failed'
    amount: number
    currency: string
    period_start: Date | null
    period_end: Date | null
    payment_id: string | null
    is_first: boolean
    attempt: number
    failure: string | null
    created_at: Date
    updated_at: Date
  }
  payment_log: {
    id: string
    tenant_id: string
    /** The payment, method or subscription it is about. */
    subject: string
    provider: string
    action: string
    outcome: string | null
    /** In plain words. */
    note: string | null
    amount: number | null
    answer_status: number | null
    answer: string | null
    webhook_id: string | null
    duration_ms: number | null
    trace_id: string
    at: Date
  }
  payment_reconciliations: {
    id: string
    tenant_id: string
    provider: string
    connection_id: string
    since: Date
    state: 'running' | 'done' | 'failed'
    checked: Generated<number>
    drifts: Generated<string>
    /** What came of it, in plain words. */
    note: string | null
    error: string | null
    created_at: Date
    ended_at: Date | null
  }
}

declare module '#core/database.ts' {
  interface Tables extends PaymentsTables {}
}
