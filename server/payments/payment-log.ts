import type { Kysely } from 'kysely'
import type { Outcome, RecordedAnswer } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { insertLog, type LogRow, updateLog } from './queries.ts'

export interface LogEntry {
  /** The payment, method or subscription it is about. */
  subject: string
  provider: string
  /** `create_payment`, `webhook_received`, `customer_returned`, `decided` … */
  action: string
  outcome?: string
  note?: string
  amount?: number
  webhookId?: string | null
}

export async function writeLog(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  entry: LogEntry,
): Promise<string> {
  const row = toLogRow(context, scope, entry)
  await insertLog(db, row)
  return row.id
}

/** The end of a call that was written down before it was made. */
export async function finishLog(
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
  call: FinishedCall,
): Promise<void> {
  await updateLog(db, scope.tenantId, id, endOf(call))
}

/** A call that only reads is written down when it has ended. */
export async function logRead(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  entry: LogEntry,
  call: FinishedCall,
): Promise<void> {
  await insertLog(db, toReadRow(context, scope, entry, call))
}

export function toReadRow(context: Context, scope: TenantScope, entry: LogEntry, call: FinishedCall): LogRow {
  return { ...toLogRow(context, scope, entry), ...endOf(call, entry.note) }
}

export interface FinishedCall {
  outcome: Outcome<object>
  answer: RecordedAnswer | undefined
  durationMs: number
}

/** Runs a provider's verb and measures it. */
export async function timeCall<Done extends object>(
  work: () => Promise<Outcome<Done>>,
  lastAnswer: () => RecordedAnswer | undefined,
): Promise<{ outcome: Outcome<Done>; answer: RecordedAnswer | undefined; durationMs: number }> {
  const startedAt = performance.now()
  const outcome = await work()
  return { outcome, answer: lastAnswer(), durationMs: Math.round(performance.now() - startedAt) }
}

/** What is known of a call when it has ended. */
export function endOf({ outcome, answer, durationMs }: FinishedCall, note?: string) {
  const said = outcome.outcome === 'done' ? describeFound(outcome) : outcome.error.message
  const text = [note, said].filter((part) => part !== undefined).join(' ')
  return {
    outcome: outcome.outcome,
    duration_ms: durationMs,
    answer_status: answer?.status ?? null,
    answer: answer?.text ?? null,
    ...(text !== '' && { note: text }),
  }
}

interface Found {
  refund?: { status: string }
  snapshot?: { status: string }
}

/** What a call found, where it found a state. */
function describeFound(done: object) {
  const { refund, snapshot } = done as Found
  const status = refund?.status ?? snapshot?.status
  if (status !== undefined) return `It says: ${status.replaceAll('_', ' ')}.`
  return 'snapshot' in done ? 'The provider knows nothing of it.' : undefined
}

export function toLogRow(context: Context, scope: TenantScope, entry: LogEntry): LogRow {
  const now = context.now()
  return {
    id: createId('plg', now),
    tenant_id: scope.tenantId,
    subject: entry.subject,
    provider: entry.provider,
    action: entry.action,
    outcome: entry.outcome ?? null,
    note: entry.note ?? null,
    amount: entry.amount ?? null,
    answer_status: null,
    answer: null,
    webhook_id: entry.webhookId ?? null,
    duration_ms: null,
    trace_id: scope.traceId,
    at: now,
  }
}
