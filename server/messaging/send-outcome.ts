import type { Kysely } from 'kysely'
import type { Outcome, ProviderError, RecordedAnswer } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { RetryLater } from '#core/module.ts'
import { enqueueJob } from '#jobs'
import { recordEvents } from '#webhooks/outbound'
import { eventAbout } from './events.ts'
import { healMessage } from './heal-job.ts'
import { lockMessage, type MessageRow, updateAttempt, updateMessage } from './message-queries.ts'
import type { MessagingProvider, Sent } from './providers/provider.ts'
import { advances } from './status.ts'
import { suppress } from './suppressions.ts'

const longestBackoffMs = 10 * 60 * 1000
const longestRateLimitMs = 4 * 60 * 60 * 1000
const firstHealMs = 30 * 1000

export interface FinishedCall {
  attemptId: string
  messageId: string
  number: number
  isLast: boolean
  mayRepeat: boolean
  provider: MessagingProvider
  outcome: Outcome<Sent>
  durationMs: number
  /** What the provider said last, if it said anything. */
  answer: RecordedAnswer | undefined
}

/** Writes the outcome of a call; answers the retry to throw after the commit, if there is one. */
export async function settleCall(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  call: FinishedCall,
): Promise<RetryLater | undefined> {
  const { outcome } = call
  const message = await lockMessage(db, scope.tenantId, call.messageId)
  if (message === undefined) return undefined
  await updateAttempt(db, scope.tenantId, call.attemptId, {
    outcome: outcome.outcome,
    duration_ms: call.durationMs,
    answer_status: call.answer?.status ?? null,
    answer: call.answer?.text ?? null,
    ...(outcome.outcome === 'done'
      ? { provider_message_id: outcome.providerMessageId }
      : { error: JSON.stringify(outcome.error) }),
  })
  if (outcome.outcome === 'done') {
    await markTaken(context, db, scope, message, outcome)
    return undefined
  }
  const { error } = outcome
  const mayRepeat = outcome.outcome === 'refused' || call.mayRepeat
  const isPatient = error.kind === 'rate_limited' && isYoung(message, context.now())
  if (mayRepeat && error.retry !== 'never' && (isPatient || !call.isLast)) {
    // A callback may already have told more.
    if (!isWaiting(message)) return undefined
    await updateMessage(db, scope.tenantId, message.id, { detail: `waiting to try again: ${error.message}` })
    return new RetryLater(error.message, waitMs(error, call.number), !isPatient)
  }
  if (outcome.outcome === 'refused') await markFailed(context, db, scope, message, error)
  else await markUnknown(context, db, scope, message, error)
  return undefined
}

/** Nothing was heard of it yet. */
export function isWaiting(message: MessageRow): boolean {
  return message.status === 'queued' || message.status === 'scheduled'
}

/** Waiting because the provider said so is no failure, up to a point where the message is stale. */
function isYoung(message: MessageRow, now: Date): boolean {
  return now.getTime() - (message.send_at ?? message.created_at).getTime() < longestRateLimitMs
}

/** At least a second and at most as long as a message may wait, spread so that what waited together does not come together. */
function waitMs(error: ProviderError, attempt: number): number {
  const asked = typeof error.retry === 'object' ? error.retry.afterMs : 1000 * 4 ** (attempt - 1)
  const longest = typeof error.retry === 'object' ? longestRateLimitMs : longestBackoffMs
  const base = Math.min(Math.max(Number.isFinite(asked) ? asked : longest, 1000), longest)
  return Math.round(base * (1 + 0.2 * Math.random()))
}

async function markTaken(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  sent: Sent,
): Promise<void> {
  const current = message.status
  // A callback may have been faster than this answer.
  const status = advances(message.channel, current === 'scheduled' ? 'queued' : current, sent.status)
    ? sent.status
    : undefined
  const now = context.now()
  const change = {
    provider_message_id: message.provider_message_id ?? sent.providerMessageId,
    recipient: sent.recipient ?? null,
    detail: sent.detail ?? null,
    error: null,
    ...(message.status === 'scheduled' && { status: 'queued' as const }),
    ...(status !== undefined && { status, ...(status === 'sent' && { sent_at: now }) }),
    ...(sent.cost !== undefined && { cost_amount: sent.cost.amount, cost_currency: sent.cost.currency }),
  }
  await updateMessage(db, scope.tenantId, message.id, change)
  if (status === 'sent') {
    await recordEvents(db, scope, [eventAbout({ ...message, ...change }, 'sent', now)], now)
  }
}

export async function markFailed(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  error: ProviderError,
): Promise<void> {
  const now = context.now()
  if (error.kind === 'opted_out') {
    const entry = {
      channel: message.channel,
      address: message.to_address,
      reason: 'opted_out' as const,
    }
    await suppress(db, scope, { ...entry, provider: message.provider, messageId: message.id }, now)
  }
  if (!advances(message.channel, message.status, 'failed')) return
  const change = { status: 'failed' as const, failed_at: now, error: JSON.stringify(error), detail: null }
  await updateMessage(db, scope.tenantId, message.id, change)
  const { kind, code, message: text } = error
  const event = eventAbout({ ...message, ...change }, 'failed', now, { error: { kind, code, message: text } })
  await recordEvents(db, scope, [event], now)
}

/** Only a message nothing was heard of becomes unknown: a callback may already have told. */
export async function markUnknown(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  error: ProviderError,
): Promise<void> {
  if (!isWaiting(message)) return
  const now = context.now()
  const change = { status: 'unknown' as const, error: JSON.stringify(error), detail: null }
  await updateMessage(db, scope.tenantId, message.id, change)
  const { kind, code, message: text } = error
  await recordEvents(
    db,
    scope,
    [eventAbout({ ...message, ...change }, 'unknown', now, { error: { kind, code, message: text } })],
    now,
  )
  const runAt = new Date(now.getTime() + firstHealMs)
  await enqueueJob(
    db,
    healMessage,
    { message_id: message.id, round: 1 },
    { scope, now, runAt, traceId: message.trace_id },
  )
}
