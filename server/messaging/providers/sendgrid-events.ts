import { createHash } from 'node:crypto'
import { z } from 'zod'
import { describeError, optional, optionalText, parseJson, readEach, readWebhookJson } from '#connections'
import type { ProviderError, RawWebhook } from '#connections'
import { readMediaKind } from './inbound-content.ts'
import { isAutomatedMail, readMailbox, readMailHeaders } from './mailbox.ts'
import { decodeText, readMultipart } from './multipart.ts'
import type { Part } from './multipart.ts'
import type { ConsentReport, InboundMessage, ProviderReport, StatusReport } from './provider.ts'
import type { SuppressionReason } from './provider.ts'

const event = z.looseObject({
  event: z.string(),
  email: optionalText,
  timestamp: z.number().min(0).max(99_999_999_999),
  sg_event_id: optionalText,
  sg_message_id: optionalText,
  message_id: optionalText,
  tenant_id: optional(z.unknown()),
  type: optionalText,
  reason: optionalText,
  response: optionalText,
  status: optionalText,
  url: optionalText,
  sg_machine_open: optional(z.boolean()),
})
type Event = z.output<typeof event>

const envelopeField = z.looseObject({ to: optional(z.array(z.string())), from: optionalText })
const charsetsField = z.record(z.string(), z.string())

/** Every event that names a tenant must name ours; a mail names none and is ours by its signing key. */
export function ownsSendgridEvents(webhook: RawWebhook, _account: unknown, tenantId: string): boolean {
  const list = readWebhookJson(webhook)
  if (!Array.isArray(list)) return readParts(webhook) !== undefined
  return readEach(event, list).every(({ tenant_id: named }) => named === undefined || named === tenantId)
}

export function parseSendgridWebhook(webhook: RawWebhook, receivedAt: Date): ProviderReport[] {
  const parts = readParts(webhook)
  if (parts) return [readInbound(webhook, parts, receivedAt)]
  return readEach(event, readWebhookJson(webhook)).flatMap(readEvent)
}

function readEvent(told: Event): ProviderReport[] {
  const about = readAbout(told)
  const recipient = told.email ?? ''
  const consent = (change: 'out' | 'in', reason: SuppressionReason): ConsentReport => {
    return { type: 'consent', ...about, key: `${about.key}:consent`, consent: change, recipient, reason }
  }
  switch (told.event) {
    case 'open':
      return [
        {
          type: 'engagement',
          ...about,
          engagement: 'opened',
          machine: told.sg_machine_open === true,
          recipient,
        },
      ]
    case 'click': {
      const url = told.url ?? undefined
      return [{ type: 'engagement', ...about, engagement: 'clicked', machine: false, recipient, url }]
    }
    case 'spamreport':
      return [
        { type: 'engagement', ...about, engagement: 'complained', machine: false, recipient },
        consent('out', 'complained'),
      ]
    case 'unsubscribe':
    case 'group_unsubscribe':
      return [consent('out', 'unsubscribed')]
    case 'group_resubscribe':
      return [consent('in', 'unsubscribed')]
    case 'account_status_change':
      return [{ type: 'account', key: about.key, at: about.at, subject: told.event, detail: told.type ?? '' }]
    default: {
      const meaning = readStatus(told)
      return meaning ? [{ type: 'status', ...about, recipient, ...meaning }] : []
    }
  }
}

/** Late bounces carry no message id of SendGrid's: our own id is the one to go by. */
function readAbout(told: Event) {
  const providerMessageId = told.sg_message_id?.split('.', 1)[0]
  const named = [told.message_id ?? providerMessageId, told.email, told.event, told.timestamp].join(':')
  return {
    key: told.sg_event_id || named,
    at: new Date(told.timestamp * 1000),
    ...(told.message_id && { messageId: told.message_id }),
    ...(providerMessageId && { providerMessageId }),
  }
}

type Meaning = Pick<StatusReport, 'status' | 'detail' | 'error' | 'suppress'>

function readStatus(told: Event): Meaning | undefined {
  const detail = told.reason ?? told.response ?? undefined
  switch (told.event) {
    case 'processed':
      return { status: 'sent' }
    case 'deferred':
      return { status: 'sent', detail: detail ? `deferred: ${detail}` : 'deferred' }
    case 'delivered':
      return { status: 'delivered', detail }
    case 'bounce':
      return told.type === 'blocked' ? readBlock(told, detail) : readBounce(told, detail)
    case 'dropped':
      return readDrop(detail)
    default:
      return undefined
  }
}

/** Turned away for now, by reputation or policy: the address itself may be good. */
function readBlock({ status: code }: Event, message: string | undefined): Meaning {
  const error = describeError(['transient', 'never', true], { code, message })
  return { status: 'failed', detail: 'blocked', error }
}

function readBounce({ status: code }: Event, message: string | undefined): Meaning {
  const error = describeError(['recipient', 'never', false], { code, message })
  return { status: 'failed', detail: 'bounced', error, suppress: 'bounced' }
}

function readDrop(reason: string | undefined): Meaning {
  const rule = dropReasons.find(([pattern]) => pattern.test(reason ?? ''))
  const [, kind, suppress] = rule ?? [undefined, 'content' as const, undefined]
  const error: ProviderError = describeError([kind, 'never', false], { message: reason })
  return { status: 'failed', detail: 'dropped', error, ...(suppress && { suppress }) }
}

const dropReasons: ReadonlyArray<readonly [RegExp, ProviderError['kind'], SuppressionReason?]> = [
  [/^bounced/i, 'recipient', 'bounced'],
  [/^unsubscribed/i, 'opted_out', 'unsubscribed'],
  [/^spam reporting/i, 'opted_out', 'complained'],
  [/^invalid$/i, 'recipient', 'bounced'],
]

function readParts(webhook: RawWebhook): Part[] | undefined {
  return readMultipart(webhook.body, webhook.headers['content-type'])
}

/** A mail from inbound parse. Raw mode posts the whole MIME text as `email`: of that only the headers are read. */
function readInbound(webhook: RawWebhook, parts: readonly Part[], receivedAt: Date): InboundMessage {
  const raw = new Map(parts.map((part) => [part.name, part.bytes]))
  const charsets = charsetsField.safeParse(parseJson(raw.get('charsets')?.toString('utf8') ?? '')).data ?? {}
  const field = (name: string) => {
    const bytes = raw.get(name)
    return bytes && bytes.length > 0 ? decodeText(bytes, charsets[name]) : undefined
  }
  const envelope = envelopeField.safeParse(parseJson(field('envelope') ?? '')).data
  const mime = field('email') ?? field('rawEmail') ?? ''
  const headers = readMailHeaders(field('headers') ?? mime.split(/\r?\n\r?\n/, 1)[0] ?? '')
  const author = readMailbox(field('from') ?? headers.from ?? '')
  const from = author?.email ?? envelope?.from ?? ''
  const messageId = readMessageId(headers) ?? createHash('sha256').update(webhook.body).digest('hex')
  return {
    type: 'inbound',
    key: `inbound:${messageId}`,
    at: readSigningTime(webhook) ?? receivedAt,
    providerMessageId: messageId,
    from,
    to: envelope?.to?.[0] ?? readMailbox(field('to') ?? '')?.email ?? '',
    profileName: author?.name,
    subject: field('subject') ?? headers.subject,
    text: field('text'),
    html: field('html'),
    media: parts.filter(({ filename }) => filename !== undefined).map(readAttachment),
    inReplyTo: headers['in-reply-to'],
    automated: isAutomatedMail(headers, from, envelope?.from ?? undefined),
  }
}

/** Written by the mail's author: one longer than a line of mail may be counts as none. */
function readMessageId(headers: Record<string, string>): string | undefined {
  const messageId = headers['message-id']
  return messageId !== undefined && messageId.length <= maxLineLength ? messageId : undefined
}

const maxLineLength = 998

function readAttachment({ name, filename, contentType }: Part): InboundMessage['media'][number] {
  return { kind: readMediaKind(contentType), providerMediaId: name, contentType, filename }
}

/** When SendGrid signed it; a mail's own Date header is whatever its author wrote. */
function readSigningTime(webhook: RawWebhook): Date | undefined {
  const seconds = webhook.headers['x-twilio-email-event-webhook-timestamp'] ?? ''
  return /^\d{1,11}$/.test(seconds) ? new Date(Number(seconds) * 1000) : undefined
}
