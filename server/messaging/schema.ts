import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'
import { Delivery, EventSummary } from '#webhooks/outbound'

export const Channel = z.enum(['whatsapp', 'sms', 'email'])
const Status = z.enum([
  'queued',
  'scheduled',
  'sent',
  'delivered',
  'read',
  'failed',
  'canceled',
  'unknown',
  'received',
])

const webUrl = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).max(2000)
const singleLine = z.string().regex(/^[^\r\n]*$/, 'must be one line')

const Media = z.strictObject({
  kind: z.enum(['image', 'video', 'audio', 'document', 'sticker']).default('image'),
  url: webUrl,
  caption: z.string().max(1024).optional(),
  filename: singleLine.max(240).optional(),
})

const Attachment = z.strictObject({
  filename: singleLine.min(1).max(240),
  content_type: singleLine.max(100).default('application/octet-stream'),
  content_base64: z.base64().min(1),
  content_id: singleLine.max(100).optional(),
})

export const TemplateChoice = z.strictObject({
  name: z.string().min(1).max(100),
  locale: z.string().max(20).optional(),
  variables: z
    .record(z.string().max(100), z.union([z.string().max(5000), z.number()]).transform(String))
    .refine((variables) => Object.keys(variables).length <= 100, 'are at most 100')
    .default({}),
})
export type TemplateChoice = z.infer<typeof TemplateChoice>

const sendFields = {
  tenant_id: z.string().min(1).max(64),
  to: z.string().min(1).max(320),
  body: z.string().max(65_536).optional().meta({ description: 'The text.' }),
  message: z.string().max(65_536).optional().meta({ description: 'Another name for `body`.' }),
  subject: singleLine.max(998).optional(),
  htmlContent: z.string().max(5_000_000).optional(),
  textContent: z.string().max(1_000_000).optional(),
  from: singleLine.max(320).optional().meta({ description: 'E-mail only; else the connection decides.' }),
  replyTo: singleLine.max(320).optional(),
  template: TemplateChoice.optional().meta({
    description: 'On WhatsApp together with `body`: used when the 24-hour window is closed.',
  }),
  media: z.array(Media).max(10).default([]),
  attachments: z.array(Attachment).max(20).default([]),
  send_at: z.iso.datetime({ offset: true }).optional(),
  reference: z.string().max(200).optional().meta({ description: 'Your own id, such as the order.' }),
  tags: z.array(z.string().min(1).max(50)).max(10).default([]),
}

export const SendRequest = z.strictObject(sendFields)
export const GeneralSendRequest = z.strictObject({ ...sendFields, channel: Channel })
export type SendRequest = z.infer<typeof SendRequest>

export const SendQuery = z.strictObject({
  wait: z.coerce
    .number()
    .min(0)
    .max(10)
    .default(0)
    .meta({ description: "Seconds to wait for the provider's answer." }),
})

const MessageError = z.object({
  kind: z.string(),
  code: z.string().optional(),
  message: z.string(),
})

export const Message = z.object({
  id: z.string(),
  tenant_id: z.string(),
  direction: z.enum(['out', 'in']),
  channel: Channel,
  provider: z.string(),
  to: z.string(),
  from: z.string(),
  status: z.enum([
    'queued',
    'scheduled',
    'sent',
    'delivered',
    'read',
    'failed',
    'canceled',
    'unknown',
    'received',
  ]),
  detail: z.string().nullable(),
  error: MessageError.nullable(),
  template: z.string().nullable(),
  reference: z.string().nullable(),
  tags: z.array(z.string()),
  auto_reply: z.string().nullable(),
  provider_message_id: z.string().nullable(),
  cost: z.object({ amount: z.string(), currency: z.string() }).nullable(),
  trace_id: z.string(),
  send_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
  sent_at: z.iso.datetime().nullable(),
  delivered_at: z.iso.datetime().nullable(),
  read_at: z.iso.datetime().nullable(),
  failed_at: z.iso.datetime().nullable(),
})
export type Message = z.infer<typeof Message>

export const MessageStory = Message.extend({
  content: z.record(z.string(), z.unknown()),
  attempts: z.array(
    z.object({
      attempt: z.number().int(),
      provider: z.string(),
      connection_id: z.string(),
      outcome: z
        .enum(['done', 'refused', 'unknown'])
        .nullable()
        .meta({ description: 'null: the call is under way.' }),
      error: MessageError.nullable(),
      answer: z
        .object({ status: z.number().int(), text: z.string() })
        .nullable()
        .meta({ description: "The provider's own words, without credentials." }),
      provider_message_id: z.string().nullable(),
      started_at: z.iso.datetime(),
      duration_ms: z.number().int().nullable(),
    }),
  ),
  reports: z.array(
    z.object({
      status: z.string(),
      detail: z.string().nullable(),
      applied: z.boolean().meta({ description: 'false: it came late and changed nothing.' }),
      webhook_id: z.string().nullable(),
      reported_at: z.iso.datetime(),
      received_at: z.iso.datetime(),
    }),
  ),
  events: z.array(EventSummary.extend({ deliveries: z.array(Delivery) })),
})
export type MessageStory = z.infer<typeof MessageStory>

export const LogQuery = z.strictObject({
  ...pageQuery,
  channel: Channel.optional(),
  provider: z.string().max(50).optional(),
  status: Status.optional(),
  direction: z.enum(['out', 'in']).optional(),
  to: z.string().max(320).optional(),
  reference: z.string().max(200).optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional(),
})
export type LogQuery = z.infer<typeof LogQuery>

export const ProviderConfig = z.strictObject({
  tenantId: z.string().min(1).max(64),
  channel: Channel,
  provider: z.string().min(1).max(50),
  credentials: z.record(z.string(), z.unknown()),
  isActive: z.boolean().default(true),
  priority: z.number().int().min(0).max(1000).optional().meta({
    description: 'Given: stands beside other providers of the channel, lowest first. Absent: replaces them.',
  }),
  weight: z.number().int().min(0).max(1000).optional(),
})

export const ConnectionView = z.object({
  id: z.string(),
  tenantId: z.string(),
  channel: Channel,
  provider: z.string(),
  isActive: z.boolean(),
  priority: z.number().int(),
  weight: z.number().int(),
  version: z.number().int(),
  credentials: z.record(z.string(), z.unknown()).meta({ description: 'Secrets are masked.' }),
  webhook_url: z.string().meta({ description: 'Register this with the provider.' }),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})

export const ConnectionChange = z.strictObject({
  isActive: z.boolean().optional(),
  priority: z.number().int().min(0).max(1000).optional(),
  weight: z.number().int().min(0).max(1000).optional(),
})

export const CheckResult = z.object({ ok: z.boolean(), notes: z.array(z.string()) })
