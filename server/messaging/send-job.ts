import type { Kysely } from 'kysely'
import { z } from 'zod'
import {
  openConnection,
  type OpenConnection,
  providerContext,
  type ProviderError,
  recordAnswers,
} from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import type { JobDefinition } from '#core/module.ts'
import { wakeWork } from '#jobs'
import type { MessageContent } from './content.ts'
import {
  findContent,
  insertAttempt,
  listAttempts,
  lockMessage,
  type AttemptRow,
  type MessageRow,
  updateAttempt,
} from './message-queries.ts'
import { messagingWebhookUrl, requireMessagingProvider } from './provider-registry.ts'
import type { MessagingProvider, SendCommand } from './providers/provider.ts'
import { isWaiting, markFailed, markUnknown, settleCall } from './send-outcome.ts'
import { findSuppressionReason } from './suppressions.ts'
import { windowClosedMessage, windowOpenUntil } from './whatsapp-window.ts'

export const MessageRef = z.strictObject({ message_id: z.string() })
export type MessageRef = z.infer<typeof MessageRef>

/** Calls to the provider for one message. */
const maxCalls = 8
/** Far more: a process that is killed uses attempts up without having called anybody. */
const maxAttempts = 100

/** Calls the provider for one message. Its outcome is unknown until shown otherwise, also when this process dies. */
export const sendMessage: JobDefinition<MessageRef> = {
  name: 'messaging.send_message',
  payload: MessageRef,
  attempts: maxAttempts,
  timeoutSeconds: 90,
  run: async (context, { message_id: messageId }, { scope }) => {
    if (scope === undefined) return
    const call = await context.database.asTenant(scope, (db) => prepareCall(context, db, scope, messageId))
    if (call === undefined) return wakeWork('delivery')
    const startedAt = performance.now()
    const recorder = recordAnswers(call.provider, call.providerContext)
    const outcome = await call.provider.send(call.command, recorder.context)
    const durationMs = Math.round(performance.now() - startedAt)
    const finished = { ...call, outcome, durationMs, answer: recorder.lastAnswer() }
    const next = await context.database.asTenant(scope, (db) => settleCall(context, db, scope, finished))
    wakeWork('delivery')
    if (next !== undefined) throw next
  },
  bury: async (context, { message_id: messageId }, { scope }) => {
    if (scope === undefined) return
    await context.database.asTenant(scope, async (db) => {
      const message = await lockMessage(db, scope.tenantId, messageId)
      if (message === undefined) return
      const wasCalling = await closeOpenAttempts(db, scope, messageId)
      if (wasCalling) await markUnknown(context, db, scope, message, interrupted)
      else if (isWaiting(message)) await markFailed(context, db, scope, message, unprepared)
    })
    wakeWork('delivery')
  },
}

/** Calls whose end nobody saw: their process died. True when there was one. */
async function closeOpenAttempts(
  db: Kysely<Tables>,
  scope: TenantScope,
  messageId: string,
): Promise<boolean> {
  const open = (await listAttempts(db, scope.tenantId, messageId)).filter(
    (attempt) => attempt.outcome === null,
  )
  const change = { outcome: 'unknown' as const, error: JSON.stringify(interrupted) }
  for (const attempt of open) await updateAttempt(db, scope.tenantId, attempt.id, change)
  return open.length > 0
}

const unprepared: ProviderError = {
  kind: 'config',
  retry: 'never',
  failover: true,
  message: 'The message could not be prepared for its provider. Save the provider’s credentials again.',
}

/** Waiting because the provider said so is no failed call. */
function wasTold(attempt: AttemptRow): boolean {
  return attempt.error !== null && (JSON.parse(attempt.error) as ProviderError).kind === 'rate_limited'
}

const keyMarginMs = 60 * 60 * 1000

function isKeyKept(provider: MessagingProvider, firstCallAt: Date | undefined, now: Date): boolean {
  const keptMs = provider.capabilities.idempotency?.keptMs
  if (keptMs === undefined) return false
  return firstCallAt === undefined || now.getTime() - firstCallAt.getTime() < keptMs - keyMarginMs
}

/** Undefined when it was deleted long ago or can't be opened: no later attempt will find it better. */
async function openConnectionOf(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
): Promise<OpenConnection<unknown> | undefined> {
  try {
    return await openConnection(context, db, scope, message.connection_id, requireMessagingProvider)
  } catch (error) {
    if (error instanceof PipeError && error.status < 500) return undefined
    throw error
  }
}

interface Call {
  attemptId: string
  messageId: string
  /** 1 for the first call. */
  number: number
  isLast: boolean
  /** Whether the provider still recognises a repetition of the first call by its key. */
  mayRepeat: boolean
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
  if (message === undefined) return undefined
  const wasCalling = await closeOpenAttempts(db, scope, messageId)
  const earlier = await listAttempts(db, scope.tenantId, messageId)
  // The outcome and the end of this job are two commits: the process may have died between them.
  const wasTaken = earlier.some((attempt) => attempt.outcome === 'done')
  if (!isWaiting(message) || wasTaken) return undefined
  const provider = requireMessagingProvider(message.provider)
  const mayRepeat = isKeyKept(provider, earlier[0]?.started_at, context.now())
  if (wasCalling && !mayRepeat) {
    await markUnknown(context, db, scope, message, interrupted)
    return undefined
  }
  const connection = await openConnectionOf(context, db, scope, message)
  if (connection === undefined) {
    await markFailed(context, db, scope, message, unprepared)
    return undefined
  }
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
    answer_status: null,
    answer: null,
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
    number: earlier.length + 1,
    isLast: earlier.filter((attempt) => !wasTold(attempt)).length + 1 >= maxCalls,
    mayRepeat,
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
  const channel = message.channel
  const suppressed = await findSuppressionReason(db, scope, channel, message.to_address)
  if (suppressed !== undefined)
    return { kind: 'opted_out', retry: 'never', failover: false, message: suppressed }
  const content = await findContent<MessageContent>(db, scope.tenantId, message.id)
  if (content === undefined) return unprepared
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
    channel: message.channel,
    to: message.to_address,
    media: content.media,
    attachments: content.attachments,
    ...(message.auto_reply !== null && { automatic: true }),
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
