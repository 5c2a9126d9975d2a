import type { Kysely } from 'kysely'
import type { ErrorKind, NotDone, Outcome, ProviderError, RecordedAnswer } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { endOfCall, nextRecoveryAt } from './checks.ts'
import type { FailureCode } from './failures.ts'
import type { Operation } from './operation.ts'
import type { CallResult, PreparedCall } from './operations.ts'
import { endOf } from './payment-log.ts'
import { readJson } from './presentation.ts'
import type { Failure } from './providers/provider.ts'
import { endCallAndLock, listRefunds, type PaymentChange, type PaymentRow, updateRefund } from './queries.ts'
import { mergeRefund, type RefundStep, sumRefunded } from './refund-rows.ts'
import { applyAtOnce, applySnapshot, savePayment } from './snapshots.ts'
import { isOpen } from './status.ts'

export interface EndedCall extends PreparedCall {
  outcome: Outcome<CallResult>
  answer: RecordedAnswer | undefined
  durationMs: number
}

/** The usual end of a call: it told a state, and nobody touched the payment meanwhile. Undefined where it is another. */
export async function settleAtOnce(
  context: Context,
  scope: TenantScope,
  call: EndedCall,
): Promise<PaymentRow | undefined> {
  const { outcome, payment, operation } = call
  if (outcome.outcome !== 'done' || outcome.snapshot === undefined) return undefined
  const end = { logId: operation.logId, change: endOf(call) }
  return applyAtOnce(context, scope, payment, outcome.snapshot, end)
}

/** Writes down how a call ended and all that follows from it. The operation ends with it, unless nobody knows. */
export async function settleOperation(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  call: EndedCall,
): Promise<PaymentRow | undefined> {
  const ended = { logId: call.operation.logId, change: endOf(call) }
  const payment = await endCallAndLock(db, scope.tenantId, call.payment.id, ended)
  if (payment === undefined) return undefined
  const { operation } = call
  const outcome = withoutOddRefund(call.outcome)
  const known = readJson<Operation>(payment.operation)
  if (outcome.outcome === 'done') {
    // An operation that was taken over is ended by who took it.
    const ends = known?.logId === operation.logId ? { operation: null } : {}
    return settleDone(context, db, scope, payment, { ...outcome, operation, ends })
  }
  // The janitor may have taken the operation over: then it is no longer this call that decides.
  if (known?.logId !== operation.logId) return payment
  return outcome.outcome === 'refused' && mayEndByRefusal(operation, outcome.error)
    ? settleRefused(context, db, scope, payment, operation, outcome.error)
    : settleUnknown(context, db, scope, payment, operation, outcome)
}

/** A refund answered with a word that nobody knows has no end that is known. */
function withoutOddRefund(outcome: Outcome<CallResult>): Outcome<CallResult> {
  if (outcome.outcome !== 'done' || outcome.refund?.status !== 'unknown') return outcome
  const message = 'The refund was answered with a status that is not known.'
  return { outcome: 'unknown', error: { kind: 'unknown', retry: 'never', failover: false, message } }
}

/**
 * A refusal is certain for the call that it answers, not for those before it. And a confirmation that could not be
 * made now is still owed to the customer who paid: the janitor makes it.
 */
function mayEndByRefusal(operation: Operation, error: ProviderError): boolean {
  if (operation.unsure) return false
  return operation.kind !== 'commit' || (error.retry === 'never' && error.kind !== 'state')
}

async function settleDone(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  { snapshot, refund, operation, ends }: CallResult & { operation: Operation; ends: PaymentChange },
): Promise<PaymentRow> {
  if (refund === undefined) {
    if (snapshot === undefined) return payment
    return applySnapshot(context, db, scope, payment, snapshot, ends)
  }
  const refunds = await listRefunds(db, scope.tenantId, payment.id)
  const merged = { refunds, steps: [] as RefundStep[] }
  await mergeRefund(db, payment, merged, { ...refund, refundId: operation.refundId ?? '' }, context.now())
  const change = { refunded: sumRefunded(merged.refunds), ...ends }
  return savePayment(context, db, scope, payment, { change, ...merged })
}

async function settleRefused(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  operation: Operation,
  error: ProviderError,
): Promise<PaymentRow> {
  const failure = JSON.stringify(failureFrom(error))
  if (operation.kind === 'refund') {
    const steps = await moveRefund(context, db, payment, operation, 'failed', failure)
    return savePayment(context, db, scope, payment, { change: { operation: null }, ...steps })
  }
  const ends = operation.kind === 'create' && isOpen(payment.status)
  const change: PaymentChange = {
    operation: null,
    ...(ends && { status: 'failed', failure, ended_at: context.now(), method_token: null, action: null }),
  }
  return savePayment(context, db, scope, payment, { change, refunds: [], steps: [] })
}

async function settleUnknown(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  operation: Operation,
  { outcome, error }: NotDone,
): Promise<PaymentRow> {
  const isPage = operation.kind === 'create' && payment.flow === 'checkout'
  // A page that nobody was shown can't take money: the caller makes another payment.
  if (isPage) return settleRefused(context, db, scope, payment, operation, error)
  const left: Operation = {
    ...operation,
    state: 'unknown',
    calledAt: context.now().toISOString(),
    unsure: operation.unsure || outcome === 'unknown',
    // A confirmation may be barred because another one is being made.
    isBarred: outcome === 'refused' && error.kind === 'state' && operation.kind !== 'commit',
  }
  const check: PaymentChange = {
    operation: JSON.stringify(left),
    check_at: nextRecoveryAt(operation.round, context.now(), endOfCall(operation, payment)) ?? null,
  }
  if (operation.kind === 'refund') {
    const steps = await moveRefund(context, db, payment, operation, 'unknown', null)
    return savePayment(context, db, scope, payment, { change: check, ...steps })
  }
  const isNew = operation.kind === 'create' && payment.status === 'pending'
  const change: PaymentChange = { ...check, ...(isNew && { status: 'unknown' }) }
  return savePayment(context, db, scope, payment, { change, refunds: [], steps: [] })
}

/** Moves our own refund by what became of its call, unless more is known of it already. */
export async function moveRefund(
  context: Context,
  db: Kysely<Tables>,
  payment: PaymentRow,
  operation: Operation,
  status: 'failed' | 'unknown',
  failure: string | null,
): Promise<{ refunds: Awaited<ReturnType<typeof listRefunds>>; steps: RefundStep[] }> {
  const refunds = await listRefunds(db, payment.tenant_id, payment.id)
  const row = refunds.find(({ id }) => id === operation.refundId)
  const isWaiting = row?.status === 'pending' || row?.status === 'unknown'
  if (row === undefined || !isWaiting || row.provider_refund_id !== null || row.status === status) {
    return { refunds, steps: [] }
  }
  const change = { status, failure, settled_at: status === 'failed' ? context.now() : null }
  await updateRefund(db, payment.tenant_id, row.id, change)
  const refund = { ...row, ...change }
  refunds[refunds.indexOf(row)] = refund
  return { refunds, steps: [{ refund, type: `refund.${status}` }] }
}

const codes: Partial<Record<ErrorKind, FailureCode>> = {
  rate_limited: 'processing_error',
  transient: 'not_processed',
  content: 'invalid_data',
}

/** A call that certainly had no effect, as a reason. */
export function failureFrom(error: ProviderError): Failure {
  return {
    code: codes[error.kind] ?? 'provider_refused',
    providerCode: error.code ?? error.kind,
    retry: error.retry === 'never' ? 'never' : 'same',
  }
}
