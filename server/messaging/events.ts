import { z } from 'zod'
import type { TenantScope } from '#core/database.ts'
import type { EventType } from '#core/module.ts'
import { eventEnvelope, type NewEvent } from '#webhooks/outbound'
import type { MessageRow } from './message-queries.ts'

const messageFields = {
  message_id: z.string(),
  channel: z.enum(['whatsapp', 'sms', 'email']),
  provider: z.string(),
  direction: z.enum(['out', 'in']),
  to: z.string(),
  from: z.string(),
  status: z.string(),
  reference: z.string().nullable(),
  tags: z.array(z.string()),
  provider_message_id: z.string().nullable(),
}
const failure = {
  error: z.object({ kind: z.string(), code: z.string().optional(), message: z.string() }).nullable(),
}
const engagement = { machine: z.boolean(), url: z.string().nullable() }
const consent = {
  channel: z.string(),
  address: z.string(),
  reason: z.string(),
  provider: z.string(),
  message_id: z.string().nullable(),
}

function messageEvent(name: string, description: string, extra: z.ZodRawShape = {}): EventType {
  return {
    name: `message.${name}`,
    version: 1,
    description,
    schema: z.object({ ...eventEnvelope, ...messageFields, ...extra }),
  }
}

export const eventTypes: readonly EventType[] = [
  messageEvent('queued', 'PipeCore took the message and will send it.'),
  messageEvent('scheduled', 'PipeCore took the message and will send it at send_at.', {
    send_at: z.iso.datetime(),
  }),
  messageEvent('sent', 'The provider handed the message to the carrier, WhatsApp or the mail server.'),
  messageEvent('delivered', 'The message arrived.'),
  messageEvent('read', 'The recipient read the message (WhatsApp).'),
  messageEvent('failed', 'The message will not arrive; error says why.', failure),
  messageEvent(
    'unknown',
    'The request left and no answer came. It is being healed and is not resent blindly.',
    failure,
  ),
  messageEvent('canceled', 'The message was canceled before it was sent.'),
  messageEvent('received', 'A customer wrote.', {
    text: z.string().nullable(),
    subject: z.string().nullable(),
    profile_name: z.string().nullable(),
    payload: z.string().nullable(),
    media: z.array(z.record(z.string(), z.unknown())),
    in_reply_to: z.string().nullable(),
    automated: z.boolean(),
  }),
  messageEvent('opened', 'The e-mail was opened; machine tells whether by a person.', engagement),
  messageEvent('clicked', 'A link in the e-mail was opened.', engagement),
  messageEvent('complained', 'The recipient reported the e-mail as spam.', engagement),
  {
    name: 'message.opted_out',
    version: 1,
    description: 'A contact must not be written to any more on this channel.',
    schema: z.object({ ...eventEnvelope, ...consent }),
  },
  {
    name: 'message.opted_in',
    version: 1,
    description: 'A contact may be written to again on this channel.',
    schema: z.object({ ...eventEnvelope, ...consent }),
  },
  {
    name: 'provider.reported',
    version: 1,
    description: 'A provider told something about the account: quality, a template, a suspension.',
    schema: z.object({
      ...eventEnvelope,
      provider: z.string(),
      channel: z.string(),
      subject: z.string(),
      detail: z.string(),
    }),
  },
]

/** `message.<name>` about a message as it stands now. */
export function eventAbout(
  message: MessageRow,
  name: string,
  occurredAt: Date,
  extra: Readonly<Record<string, unknown>> = {},
): NewEvent {
  return {
    type: `message.${name}`,
    entity: message.id,
    occurredAt,
    data: {
      message_id: message.id,
      channel: message.channel,
      provider: message.provider,
      direction: message.direction,
      to: message.to_address,
      from: message.from_address,
      status: message.status,
      reference: message.reference,
      tags: message.tags,
      provider_message_id: message.provider_message_id,
      ...extra,
    },
  }
}

/** Everything about a message is told under the trace it began with. */
export function traceOf(scope: TenantScope, message: MessageRow): TenantScope {
  return { ...scope, traceId: message.trace_id }
}
