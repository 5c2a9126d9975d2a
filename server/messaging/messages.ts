import type { Kysely } from 'kysely'
import { openRow, routeConnection } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { type FieldError, invalidRequest, PipeError } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { recordEvents } from '#webhooks/outbound'
import { normalizeAddress } from './addresses.ts'
import { contentOf, type MessageContent } from './content.ts'
import { eventAbout } from './events.ts'
import { insertMessage, type MessageRow } from './message-queries.ts'
import { requireMessagingProvider } from './provider-registry.ts'
import { readMailbox } from './providers/mailbox.ts'
import type { Channel, MessagingProvider } from './providers/provider.ts'
import type { Message, SendRequest } from './schema.ts'
import { presentMessage } from './message-log.ts'
import { sendMessage } from './send-job.ts'
import { refuseSuppressed } from './suppressions.ts'
import { chooseTemplate } from './templates/templates.ts'
import { windowClosedMessage, windowOpenUntil } from './whatsapp-window.ts'

const farthestSendAtMs = 365 * 24 * 60 * 60 * 1000

export interface AcceptOptions {
  idempotencyKey?: string | undefined
  /** Name of the automatic reply that sends it. */
  autoReply?: string
}

/**
 * Takes a message: checks all that can be checked before a provider is called, then stores it, its send job
 * and its event in one commit.
 * @throws PipeError 422 `request_invalid`, `connection_missing`, `recipient_suppressed`, `window_closed`
 */
export async function acceptMessage(
  context: Context,
  scope: TenantScope,
  channel: Channel,
  request: SendRequest,
  options: AcceptOptions = {},
): Promise<Message> {
  const to = checkRequest(context, channel, request)
  const once = { key: options.idempotencyKey, operation: `messaging.send.${channel}`, request }
  const message = await context.database.asTenant(scope, (db) =>
    runOnce(db, scope, once, () => storeMessage(context, db, scope, { channel, to, request, options })),
  )
  wakeWork('job')
  wakeWork('delivery')
  return message
}

export interface Accepted {
  channel: Channel
  to: string
  request: SendRequest
  options: AcceptOptions
}

/** The part of accepting that runs inside a transaction of the caller's. */
export async function storeMessage(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { channel, to, request, options }: Accepted,
): Promise<Message> {
  await refuseSuppressed(db, scope, channel, to)
  const template = request.template && (await chooseTemplate(db, scope, request.template))
  const route = await routeConnection(db, scope, channel, {
    advice: 'Set one with POST /messaging/config/provider.',
  })
  const provider = requireMessagingProvider(route.provider)
  const content = contentOf(request, template)
  requireCarriable(provider, channel, content)
  const { credentials } = await openRow(context, db, route, provider)
  const from = provider.sender(credentials, channel)
  const sendAt = request.send_at === undefined ? null : new Date(request.send_at)
  const approved = template?.references[provider.id] !== undefined
  if (channel === 'whatsapp' && !approved && sendAt === null) {
    await requireOpenWindow(context, db, scope, from, to)
  }
  const row = toRow(
    context,
    scope,
    { channel, to, request, options },
    { content, sendAt, from, provider: provider.id, connectionId: route.id },
  )
  await insertMessage(db, row, content)
  await enqueueJob(
    db,
    sendMessage,
    { message_id: row.id },
    { scope, now: row.created_at, traceId: scope.traceId, ...(sendAt !== null && { runAt: sendAt }) },
  )
  const event =
    sendAt === null
      ? eventAbout(row, 'queued', row.created_at)
      : eventAbout(row, 'scheduled', row.created_at, { send_at: sendAt.toISOString() })
  await recordEvents(db, scope, [event], row.created_at)
  return presentMessage(row)
}

function checkRequest(context: Context, channel: Channel, request: SendRequest): string {
  const errors: FieldError[] = []
  const normal = normalizeAddress(channel, request.to)
  if ('problem' in normal) errors.push({ field: 'to', message: normal.problem })
  errors.push(...(channel === 'email' ? emailProblems(request) : phoneProblems(channel, request)))
  const texts = (['body', 'message', 'textContent'] as const).filter((field) => request[field] !== undefined)
  for (const field of texts.slice(1))
    errors.push({ field, message: `is another name for ${texts[0]}: send one of them` })
  if (request.send_at !== undefined) {
    const waitMs = Date.parse(request.send_at) - context.now().getTime()
    if (waitMs > farthestSendAtMs) errors.push({ field: 'send_at', message: 'is more than a year away' })
  }
  if (errors.length > 0 || 'problem' in normal) {
    throw invalidRequest(`This ${channel} message can not be sent; see errors.`, errors)
  }
  return normal.address
}

function emailProblems(request: SendRequest): FieldError[] {
  const errors: FieldError[] = []
  const hasBody = [
    request.body,
    request.message,
    request.textContent,
    request.htmlContent,
    request.template,
  ].some(isGiven)
  if (!hasBody)
    errors.push({ field: 'htmlContent', message: 'is missing: give htmlContent, textContent or a template' })
  if (!isGiven(request.subject) && request.template === undefined) {
    errors.push({ field: 'subject', message: 'is missing' })
  }
  for (const field of ['from', 'replyTo'] as const) {
    const text = request[field]
    if (text === undefined || readMailbox(text) !== undefined) continue
    errors.push({ field, message: 'must be one address, such as ana@example.com or Ana <ana@example.com>' })
  }
  if (request.media.length > 0)
    errors.push({ field: 'media', message: 'is for WhatsApp and SMS: use attachments' })
  return errors
}

function phoneProblems(channel: Channel, request: SendRequest): FieldError[] {
  const errors: FieldError[] = []
  const hasBody =
    [request.body, request.message, request.textContent, request.template].some(isGiven) ||
    request.media.length > 0
  if (!hasBody) errors.push({ field: 'body', message: 'is missing: give body, media or a template' })
  for (const field of ['subject', 'htmlContent', 'from', 'replyTo'] as const) {
    if (request[field] !== undefined)
      errors.push({ field, message: `is for email; ${channel} has no such thing` })
  }
  if (request.attachments.length > 0)
    errors.push({ field: 'attachments', message: 'are for email: use media' })
  return errors
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== ''
}

/** What a channel can't carry is refused here, not by the provider minutes later. */
function requireCarriable(provider: MessagingProvider, channel: Channel, content: MessageContent): void {
  const errors: FieldError[] = []
  const { capabilities } = provider
  const limit = capabilities.maxTextLength[channel]
  const text = content.text ?? content.template?.text ?? ''
  if (limit !== undefined && text.length > limit) {
    errors.push({
      field: 'body',
      message: `has ${text.length} characters; ${provider.title} carries at most ${limit}`,
    })
  }
  if (content.media.length > 0 && !capabilities.media)
    errors.push({ field: 'media', message: `is not carried by ${provider.title}` })
  if (content.attachments.length > 0 && !capabilities.attachments) {
    errors.push({ field: 'attachments', message: `are not carried by ${provider.title}` })
  }
  if (errors.length > 0)
    throw invalidRequest(`${provider.title} can not carry this message; see errors.`, errors)
}

async function requireOpenWindow(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  from: string,
  to: string,
): Promise<void> {
  if ((await windowOpenUntil(db, scope, from, to, context.now())) !== undefined) return
  throw new PipeError('window_closed', 422, windowClosedMessage, {
    errors: [{ field: 'template', message: 'is needed: the 24-hour window of this customer is closed' }],
  })
}

interface Routed {
  content: MessageContent
  sendAt: Date | null
  from: string
  provider: string
  connectionId: string
}

function toRow(
  context: Context,
  scope: TenantScope,
  { channel, to, request, options }: Accepted,
  routed: Routed,
): MessageRow {
  const now = context.now()
  return {
    id: createId('msg', now),
    tenant_id: scope.tenantId,
    direction: 'out',
    channel,
    provider: routed.provider,
    connection_id: routed.connectionId,
    to_address: to,
    from_address: routed.content.from ?? routed.from,
    recipient: null,
    status: routed.sendAt === null ? 'queued' : 'scheduled',
    detail: null,
    error: null,
    template: routed.content.template?.name ?? null,
    reference: request.reference ?? null,
    tags: request.tags,
    auto_reply: options.autoReply ?? null,
    provider_message_id: null,
    cost_amount: null,
    cost_currency: null,
    trace_id: scope.traceId,
    send_at: routed.sendAt,
    created_at: now,
    sent_at: null,
    delivered_at: null,
    read_at: null,
    failed_at: null,
  }
}
