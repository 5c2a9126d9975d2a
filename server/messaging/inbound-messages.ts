import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { recordEvents } from '#webhooks/outbound'
import { normalizeAddress } from './addresses.ts'
import { answerAutomatically } from './auto-replies/answering.ts'
import { eventAbout } from './events.ts'
import { insertMessage, type MessageRow, saveInboundTime } from './message-queries.ts'
import { readOptOut } from './opt-out.ts'
import type { InboundMessage } from './providers/provider.ts'
import { recordOptIn, recordOptOut } from './status-reports.ts'
import type { Origin } from './webhook-job.ts'

/** A customer wrote: opens the window, heeds opt-out words, tells the tenant, answers if a rule says so. */
export async function receiveMessage(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  origin: Origin,
  message: InboundMessage,
): Promise<void> {
  const row = toRow(context, scope, origin, message)
  await insertMessage(db, row, contentOf(message))
  if (origin.channel === 'whatsapp') {
    const window = { tenantId: scope.tenantId, sender: message.to, contact: row.from_address, at: message.at }
    await saveInboundTime(db, window)
  }
  await recordEvents(db, scope, [receivedEvent(row, message)], context.now())
  const choice = origin.channel === 'email' ? undefined : (message.optOut ?? readOptOut(message.text))
  if (choice === 'stop' || choice === 'start') {
    const place = { channel: origin.channel, provider: origin.provider, id: row.id }
    const wish = { address: row.from_address, reason: 'opted_out' as const, at: message.at }
    await (choice === 'stop' ? recordOptOut : recordOptIn)(context, db, scope, place, wish)
  }
  if (choice === undefined && !message.automated) await answerAutomatically(context, db, scope, row, message)
}

function toRow(context: Context, scope: TenantScope, origin: Origin, message: InboundMessage): MessageRow {
  const normal = normalizeAddress(origin.channel, message.from)
  return {
    id: createId('msg', context.now()),
    tenant_id: scope.tenantId,
    direction: 'in',
    channel: origin.channel,
    provider: origin.provider,
    connection_id: origin.connectionId,
    to_address: message.to,
    from_address: 'problem' in normal ? message.from : normal.address,
    recipient: null,
    status: 'received',
    detail: null,
    error: null,
    template: null,
    reference: null,
    tags: [],
    auto_reply: null,
    provider_message_id: message.providerMessageId,
    cost_amount: null,
    cost_currency: null,
    trace_id: scope.traceId,
    send_at: null,
    created_at: context.now(),
    sent_at: message.at,
    delivered_at: null,
    read_at: null,
    failed_at: null,
  }
}

function contentOf(message: InboundMessage) {
  const { text, html, subject, payload, profileName, inReplyTo, media } = message
  return { text, html, subject, payload, profileName, inReplyTo, media, attachments: [] }
}

function receivedEvent(row: MessageRow, message: InboundMessage) {
  return eventAbout(row, 'received', message.at, {
    text: message.text ?? null,
    subject: message.subject ?? null,
    profile_name: message.profileName ?? null,
    payload: message.payload ?? null,
    media: message.media,
    in_reply_to: message.inReplyTo ?? null,
    automated: message.automated,
  })
}
