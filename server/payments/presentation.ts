import type { z } from 'zod'
import { adviseOn } from './advice.ts'
import { failures } from './failures.ts'
import type { Operation } from './operation.ts'
import type { Customer, Failure, MethodSummary, NextAction } from './providers/provider.ts'
import type { LogRow, PaymentRow, RefundRow } from './queries.ts'
import type {
  Checkout,
  FailureView,
  LogEntry,
  MethodSummary as MethodView,
  Payment,
  Refund,
} from './schema.ts'

const time = (date: Date | null) => date?.toISOString() ?? null

export function readJson<Value>(text: string | null): Value | null {
  return text === null ? null : (JSON.parse(text) as Value)
}

export function presentFailure(failure: Failure): z.infer<typeof FailureView> {
  const text = failures[failure.code]
  return {
    code: failure.code,
    provider_code: failure.providerCode,
    retry: failure.retry,
    message_es: text.es,
    message_en: text.en,
  }
}

export function presentFailureText(text: string | null) {
  const failure = readJson<Failure>(text)
  return failure === null ? null : presentFailure(failure)
}

export function presentMethod(text: string | null): z.infer<typeof MethodView> | null {
  const method = readJson<MethodSummary>(text)
  if (method === null) return null
  const { type, brand, last4, installments } = method
  return { type, brand: brand ?? null, last4: last4 ?? null, installments: installments ?? null }
}

export function presentPayment(row: PaymentRow, now: Date): Payment {
  const operation = readJson<Operation>(row.operation)
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    provider: row.provider,
    status: row.status,
    amount: row.amount,
    currency: row.currency,
    captured: row.captured,
    refunded: row.refunded,
    capture: row.capture,
    next_action: readJson<NextAction>(row.action),
    failure: presentFailureText(row.failure),
    dispute: row.dispute,
    under_way: operation === null ? null : { operation: operation.kind, state: operation.state },
    method: presentMethod(row.method),
    method_id: row.method_id,
    checkout_id: row.checkout_id,
    subscription_id: row.subscription_id,
    provider_payment_id: row.provider_payment_id,
    reference: row.reference,
    description: row.description,
    customer: JSON.parse(row.customer) as Customer,
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    possible: adviseOn(row, now),
    trace_id: row.trace_id,
    created_at: row.created_at.toISOString(),
    authorized_at: time(row.authorized_at),
    confirmed_at: time(row.confirmed_at),
    expires_at: time(row.expires_at),
  }
}

const checkoutStatuses = {
  requires_action: 'open',
  pending: 'processing',
  processing: 'processing',
  unknown: 'processing',
  authorized: 'completed',
  confirmed: 'completed',
  failed: 'failed',
  canceled: 'canceled',
  expired: 'expired',
} as const satisfies Record<PaymentRow['status'], Checkout['status']>

export function presentCheckout(row: PaymentRow): Checkout {
  const action = readJson<NextAction>(row.action)
  return {
    id: row.checkout_id ?? '',
    payment_id: row.id,
    tenant_id: row.tenant_id,
    provider: row.provider,
    status: checkoutStatuses[row.status],
    url: action?.method === 'GET' ? action.url : null,
    next_action: action,
    amount: row.amount,
    currency: row.currency,
    items: readJson<Checkout['items']>(row.items) ?? [],
    reference: row.reference,
    created_at: row.created_at.toISOString(),
    expires_at: time(row.expires_at),
  }
}

export function presentRefund(row: RefundRow, currency: string): Refund {
  return {
    id: row.id,
    payment_id: row.payment_id,
    status: row.status,
    amount: row.amount,
    currency,
    kind: row.kind,
    source: row.source,
    reason: row.reason,
    reference: row.reference,
    failure: presentFailureText(row.failure),
    provider_refund_id: row.provider_refund_id,
    created_at: row.created_at.toISOString(),
    settled_at: time(row.settled_at),
  }
}

export function presentLog(row: LogRow): LogEntry {
  return {
    id: row.id,
    subject: row.subject,
    provider: row.provider,
    action: row.action,
    outcome: row.outcome,
    note: row.note,
    amount: row.amount,
    answer: row.answer_status === null ? null : { status: row.answer_status, text: row.answer ?? '' },
    webhook_id: row.webhook_id,
    duration_ms: row.duration_ms,
    trace_id: row.trace_id,
    at: row.at.toISOString(),
  }
}
