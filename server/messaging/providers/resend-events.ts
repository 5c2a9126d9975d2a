import { z } from 'zod'
import { describeError, optional, optionalObject, optionalText, readWebhookJson } from '#connections'
import type { RawWebhook } from '#connections'
import { readMediaKind } from './inbound-content.ts'
import { isAutomatedMail, readMailbox } from './mailbox.ts'
import type { ConsentReport, InboundMessage, ProviderReport, StatusReport } from './provider.ts'
import type { SuppressionReason } from './provider.ts'

const event = z.looseObject({
  type: z.string(),
  created_at: optionalText,
  data: z.looseObject({
    email_id: optionalText,
    email: optionalText,
    from: optionalText,
    to: optional(z.array(z.string())),
    received_for: optional(z.array(z.string())),
    subject: optionalText,
    tags: optionalObject({ tenant_id: optional(z.unknown()), message_id: optionalText }),
    bounce: optionalObject({ type: optionalText, message: optionalText }),
    failed: optionalObject({ reason: optionalText }),
    suppressed: optionalObject({ type: optionalText, reason: optionalText, message: optionalText }),
    click: optionalObject({ link: optionalText }),
    origin: optionalText,
    unsubscribed: optional(z.boolean()),
    topics: optional(z.array(z.looseObject({ subscription: optionalText }))),
    attachments: optional(
      z.array(z.looseObject({ id: optionalText, filename: optionalText, content_type: optionalText })),
    ),
  }),
})
type Event = z.output<typeof event>
type Data = Event['data']

/** Tags hold ASCII letters, digits, `_` and `-` only, at most 256 of them. */
export function writeTag(value: string): string {
  return value.replaceAll(/[^\w-]/g, '_').slice(0, 256)
}

/** The tag of the tenant must be ours where there is one; other events are ours by their signing secret. */
export function ownsResendEvent(webhook: RawWebhook, _account: unknown, tenantId: string): boolean {
  const read = event.safeParse(readWebhookJson(webhook))
  if (!read.success) return false
  const named = read.data.data.tags?.tenant_id
  return named === undefined || named === writeTag(tenantId)
}

export function parseResendWebhook(webhook: RawWebhook, receivedAt: Date): ProviderReport[] {
  const read = event.safeParse(readWebhookJson(webhook))
  if (!read.success) return []
  const { type, created_at: createdAt, data } = read.data
  const id = webhook.headers['svix-id'] ?? `${data.email_id ?? data.email}:${type}:${createdAt}`
  const about = {
    key: id,
    at: readTime(createdAt) ?? receivedAt,
    ...(data.tags?.message_id && { messageId: data.tags.message_id }),
    ...(data.email_id && { providerMessageId: data.email_id }),
  }
  if (type === 'email.received') return data.email_id ? [readInbound(data, data.email_id, about)] : []
  return readEngagement(type, data, about) ?? readConsent(type, data, about) ?? readStatus(type, data, about)
}

/** The state that `last_event` of a look-up stands for. */
export function reportResendStatus(emailId: string, lastEvent: string, at: Date): StatusReport | undefined {
  const state = ['opened', 'clicked', 'complained'].includes(lastEvent) ? 'delivered' : lastEvent
  const [report] = readStatus(
    `email.${state}`,
    {},
    { key: `${emailId}:${state}`, at, providerMessageId: emailId },
  )
  return report
}

interface About {
  key: string
  at: Date
  messageId?: string
  providerMessageId?: string
}

function readStatus(type: string, data: Data, about: About): StatusReport[] {
  const meaning = statuses.get(type)?.(data)
  if (!meaning) return []
  const recipient = readRecipient(data)
  return [{ type: 'status', ...about, ...(recipient && { recipient }), ...meaning }]
}

function readEngagement(type: string, data: Data, about: About): ProviderReport[] | undefined {
  const recipient = readRecipient(data)
  const common = { type: 'engagement', ...about, machine: false, recipient } as const
  if (type === 'email.opened') return [{ ...common, engagement: 'opened' }]
  if (type === 'email.clicked') {
    return [{ ...common, engagement: 'clicked', url: data.click?.link ?? undefined }]
  }
  if (type !== 'email.complained') return undefined
  const complaint = { ...common, engagement: 'complained' } as const
  return [
    complaint,
    writeConsent(recipient ?? '', 'out', 'complained', { ...about, key: `${about.key}:consent` }),
  ]
}

/** A contact that is not unsubscribed proves no consent: only its unsubscribing is reported. */
function readConsent(type: string, data: Data, about: About): ConsentReport[] | undefined {
  const { email } = data
  if (!email) return undefined
  const reason = origins.get(data.origin ?? '') ?? 'unsubscribed'
  if (type === 'suppression.added') return [writeConsent(email, 'out', reason, about)]
  if (type === 'suppression.removed') return [writeConsent(email, 'in', reason, about)]
  if (type === 'contact.updated' && data.unsubscribed) {
    return [writeConsent(email, 'out', 'unsubscribed', about)]
  }
  if (type !== 'contact.topics.updated' || !data.topics?.length) return undefined
  if (data.topics.every(({ subscription }) => subscription === 'opt_out')) {
    return [writeConsent(email, 'out', 'unsubscribed', about)]
  }
  if (data.topics.every(({ subscription }) => subscription === 'opt_in')) {
    return [writeConsent(email, 'in', 'unsubscribed', about)]
  }
  return undefined
}

function writeConsent(
  recipient: string,
  consent: 'out' | 'in',
  reason: SuppressionReason,
  about: About,
): ConsentReport {
  return { type: 'consent', ...about, consent, recipient, reason }
}

/** The webhook carries no text: the content is fetched before use. */
function readInbound(data: Data, emailId: string, about: About): InboundMessage {
  const author = readMailbox(data.from ?? '')
  const from = author?.email ?? data.from ?? ''
  return {
    type: 'inbound',
    key: about.key,
    at: about.at,
    providerMessageId: emailId,
    from,
    to: data.received_for?.[0] ?? readRecipient(data) ?? '',
    profileName: author?.name,
    subject: data.subject ?? undefined,
    media: (data.attachments ?? []).map(({ id, filename, content_type: contentType }) => ({
      kind: readMediaKind(contentType),
      providerMediaId: id ?? undefined,
      contentType: contentType ?? undefined,
      filename: filename ?? undefined,
    })),
    automated: isAutomatedMail({}, from),
    fetchContent: true,
  }
}

function readRecipient({ to }: Data): string | undefined {
  const [first] = to ?? []
  return first === undefined ? undefined : (readMailbox(first)?.email ?? first)
}

function readTime(text: string | null | undefined): Date | undefined {
  const at = Date.parse(text ?? '')
  return Number.isNaN(at) ? undefined : new Date(at)
}

type Meaning = Pick<StatusReport, 'status' | 'detail' | 'error' | 'suppress'>

const statuses = new Map<string, (data: Data) => Meaning>([
  ['email.queued', () => ({ status: 'queued' })],
  ['email.scheduled', () => ({ status: 'scheduled' })],
  ['email.sent', () => ({ status: 'sent' })],
  ['email.delivery_delayed', () => ({ status: 'sent', detail: 'delayed' })],
  ['email.delivered', () => ({ status: 'delivered' })],
  ['email.canceled', () => ({ status: 'canceled' })],
  ['email.bounced', readBounce],
  ['email.failed', readFailure],
  ['email.suppressed', readSuppressed],
])

/** Only a permanent bounce condemns the address. */
function readBounce({ bounce }: Data): Meaning {
  const isPermanent = bounce?.type === 'Permanent'
  const error = describeError([isPermanent ? 'recipient' : 'transient', 'never', false], {
    code: bounce?.type,
    message: bounce?.message,
  })
  return { status: 'failed', detail: 'bounced', error, ...(isPermanent && { suppress: 'bounced' }) }
}

function readFailure({ failed }: Data): Meaning {
  const reason = failed?.reason ?? undefined
  const isQuota = /quota|rate_limit/.test(reason ?? '')
  const error = describeError(isQuota ? ['rate_limited', 'never', true] : ['unknown', 'never', false], {
    message: reason,
  })
  return { status: 'failed', error }
}

function readSuppressed({ suppressed }: Data): Meaning {
  const isComplaint = suppressed?.reason === 'previous_complaint'
  const error = describeError([isComplaint ? 'opted_out' : 'recipient', 'never', false], {
    code: suppressed?.type,
    message: suppressed?.message ?? suppressed?.reason,
  })
  return { status: 'failed', detail: 'suppressed', error, suppress: isComplaint ? 'complained' : 'bounced' }
}

const origins = new Map<string, SuppressionReason>([
  ['bounce', 'bounced'],
  ['complaint', 'complained'],
  ['manual', 'unsubscribed'],
])
