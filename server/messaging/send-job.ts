import type { Kysely } from 'kysely'
import { z } from 'zod'
import {
  openConnection,
  type OpenConnection,
  type Outcome,
  providerContext,
  type ProviderError,
} from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { type JobDefinition, type JobRun, RetryLater } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { recordEvents } from '#webhooks/outbound'
import type { MessageContent } from './content.ts'
import { eventAbout } from './events.ts'
import { healMessage } from './heal-job.ts'
import {
  insertAttempt,
  listAttempts,
  lockMessage,
  type MessageRow,
  updateAttempt,
  updateMessage,
} from './message-queries.ts'
import { messagingWebhookUrl, requireMessagingProvider } from './provider-registry.ts'
import type { Channel, MessageStatus, MessagingProvider, SendCommand, Sent } from './providers/provider.ts'
import { advances } from './status.ts'
import { findSuppressionReason, suppress } from './suppressions.ts'
import { windowClosedMessage, windowOpenUntil } from './whatsapp-window.ts'

export const MessageRef = z.strictObject({ message_id: z.string() })
export type MessageRef = z.infer<typeof MessageRef>

const attempts = 8
const longestBackoffMs = 10 * 60 * 1000
const firstHealMs = 30 * 1000

/** Calls the provider for one message. Its outcome is unknown until shown otherwise, also when this process dies. */
export const sendMessage: JobDefinition<MessageRef> = {
  name: 'messaging.send_message',
  payload: MessageRef,
  attempts,
  timeoutSeconds: 90,
  run: async (context, { message_id: messageId }, run) => {
    const scope = run.scope
    if (scope === undefined) return
    const call = await context.database.asTenant(scope, (db) => prepareCall(context, db, scope, messageId))
    if (call === undefined) return wakeWork('delivery')
    const startedAt = performance.now()
    const outcome = await call.provider.send(call.command, call.providerContext)
    const durationMs = Math.round(performance.now() - startedAt)
    const next = await context.database.asTenant(scope, (db) =>
      settleCall(context, db, scope, call, outcome, durationMs, run),
    )
    wakeWork('delivery')
    if (next !== undefined) throw next
  },
}

interface Call {
  attemptId: string
  messageId: string
  provider: MessagingProvider
  command: SendCommand
  providerContext: ReturnType<typeof providerContext<unknown>>
}

/** Decides, under the message's lock, whether there is still a call to make; writes it down before it is made. */
async function prepareCall(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  messageId: string,
): Promise<Call | undefined> {
  const message = await lockMessage(db, scope.tenantId, messageId)
  if (message === undefined || (message.status !== 'queued' && message.status !== 'scheduled'))
    return undefined
  const provider = requireMessagingProvider(message.provider)
  const earlier = await listAttempts(db, scope.tenantId, messageId)
  const open = earlier.find((attempt) => attempt.outcome === null)
  if (open !== undefined) {
    await updateAttempt(db, scope.tenantId, open.id, {
      outcome: 'unknown',
      error: JSON.stringify(interrupted),
    })
    if (!provider.capabilities.idempotency) {
      await markUnknown(context, db, scope, message, interrupted)
      return undefined
    }
  }
  const connection = await openConnection(context, db, scope, message.connection_id, requireMessagingProvider)
  const command = await buildCommand(context, db, scope, message, connection)
  if ('kind' in command) {
    await markFailed(context, db, scope, message, command)
    return undefined
  }
  const attemptId = createId('att', context.now())
  await insertAttempt(db, {
    id: attemptId,
    tenant_id: scope.tenantId,
    message_id: messageId,
    attempt: earlier.length + 1,
    connection_id: connection.id,
    provider: provider.id,
    outcome: null,
    error: null,
    provider_message_id: null,
    started_at: context.now(),
    duration_ms: null,
  })
  const webhookUrl = messagingWebhookUrl(
    context.config.publicUrl,
    scope.tenantId,
    message.channel,
    provider.id,
  )
  return {
    attemptId,
    messageId,
    provider,
    command,
    providerContext: providerContext(context, connection, webhookUrl),
  }
}

const interrupted: ProviderError = {
  kind: 'transient',
  retry: 'never',
  failover: false,
  message: 'PipeCore stopped during the call: nobody knows whether the message went out.',
}

/** The command, or why the message must not go any more: consent and the window may have changed since it was taken. */
async function buildCommand(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  connection: OpenConnection<unknown>,
): Promise<SendCommand | ProviderError> {
  const channel = message.channel as Channel
  const suppressed = await findSuppressionReason(db, scope, channel, message.to_address)
  if (suppressed !== undefined)
    return { kind: 'opted_out', retry: 'never', failover: false, message: suppressed }
  const content = JSON.parse(message.content) as MessageContent
  const provider = connection.provider as MessagingProvider
  const sender = provider.sender(connection.credentials, channel)
  const windowOpen =
    channel !== 'whatsapp' ||
    (await windowOpenUntil(db, scope, sender, message.to_address, context.now())) !== undefined
  const reference = content.template?.references[message.provider]
  if (!windowOpen && reference === undefined) {
    return { kind: 'window_closed', retry: 'never', failover: false, message: windowClosedMessage }
  }
  const useReference = reference !== undefined && (content.text === undefined || !windowOpen)
  return toCommand(scope, message, content, useReference)
}

function toCommand(
  scope: TenantScope,
  message: MessageRow,
  content: MessageContent,
  useReference: boolean,
): SendCommand {
  const { template } = content
  const reference = useReference ? template?.references[message.provider] : undefined
  const text = content.text ?? template?.text
  const html = content.html ?? template?.html
  const subject = content.subject ?? template?.subject
  return {
    messageId: message.id,
    tenantId: scope.tenantId,
    channel: message.channel as Channel,
    to: message.to_address,
    media: content.media,
    attachments: content.attachments,
    ...(content.from !== undefined && { from: content.from }),
    ...(content.replyTo !== undefined && { replyTo: content.replyTo }),
    ...(subject !== undefined && { subject }),
    ...(text !== undefined && reference === undefined && { text }),
    ...(html !== undefined && reference === undefined && { html }),
    ...(reference !== undefined && {
      template: {
        name: reference.name,
        ...(reference.language !== undefined && { language: reference.language }),
        variables: template?.variables ?? [],
      },
    }),
  }
}

/** Writes the outcome; answers the retry to throw after the commit, if there is one. */
async function settleCall(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  call: Call,
  outcome: Outcome<Sent>,
  durationMs: number,
  run: JobRun,
): Promise<RetryLater | undefined> {
  const message = await lockMessage(db, scope.tenantId, call.messageId)
  if (message === undefined) return undefined
  await updateAttempt(db, scope.tenantId, call.attemptId, {
    outcome: outcome.outcome,
    duration_ms: durationMs,
    ...(outcome.outcome === 'done'
      ? { provider_message_id: outcome.providerMessageId }
      : { error: JSON.stringify(outcome.error) }),
  })
  if (outcome.outcome === 'done') {
    await markTaken(context, db, scope, message, outcome)
    return undefined
  }
  const { error } = outcome
  const mayRepeat = outcome.outcome === 'refused' || call.provider.capabilities.idempotency
  if (mayRepeat && error.retry !== 'never' && !run.lastAttempt) {
    await updateMessage(db, scope.tenantId, message.id, { detail: `waiting to try again: ${error.message}` })
    return new RetryLater(error.message, waitMs(error, run.attempt))
  }
  if (outcome.outcome === 'refused') await markFailed(context, db, scope, message, error)
  else await markUnknown(context, db, scope, message, error)
  return undefined
}

function waitMs(error: ProviderError, attempt: number): number {
  if (typeof error.retry === 'object') return error.retry.afterMs
  const base = Math.min(1000 * 4 ** (attempt - 1), longestBackoffMs)
  return Math.round(base * (0.8 + 0.4 * Math.random()))
}

async function markTaken(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  sent: Sent,
): Promise<void> {
  const current = message.status as MessageStatus
  // A callback may have been faster than this answer.
  const status = advances(
    message.channel as Channel,
    current === 'scheduled' ? 'queued' : current,
    sent.status,
  )
    ? sent.status
    : undefined
  const now = context.now()
  const change = {
    provider_message_id: message.provider_message_id ?? sent.providerMessageId,
    recipient: sent.recipient ?? null,
    detail: sent.detail ?? null,
    ...(message.status === 'scheduled' && { status: 'queued' }),
    ...(status !== undefined && { status, ...(status === 'sent' && { sent_at: now }) }),
    ...(sent.cost !== undefined && { cost_amount: sent.cost.amount, cost_currency: sent.cost.currency }),
  }
  await updateMessage(db, scope.tenantId, message.id, change)
  if (status === 'sent') {
    await recordEvents(db, scope, [eventAbout({ ...message, ...change }, 'sent', now)], now)
  }
}

async function markFailed(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  error: ProviderError,
): Promise<void> {
  const now = context.now()
  if (error.kind === 'opted_out') {
    const entry = {
      channel: message.channel as Channel,
      address: message.to_address,
      reason: 'opted_out' as const,
    }
    await suppress(db, scope, { ...entry, provider: message.provider, messageId: message.id }, now)
  }
  if (!advances(message.channel as Channel, message.status as MessageStatus, 'failed')) return
  const change = { status: 'failed', failed_at: now, error: JSON.stringify(error), detail: null }
  await updateMessage(db, scope.tenantId, message.id, change)
  const { kind, code, message: text } = error
  const event = eventAbout({ ...message, ...change }, 'failed', now, { error: { kind, code, message: text } })
  await recordEvents(db, scope, [event], now)
}

/** Only a message nothing was heard of becomes unknown: a callback may already have told. */
async function markUnknown(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  error: ProviderError,
): Promise<void> {
  if (message.status !== 'queued' && message.status !== 'scheduled') return
  const now = context.now()
  const change = { status: 'unknown', error: JSON.stringify(error), detail: null }
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
