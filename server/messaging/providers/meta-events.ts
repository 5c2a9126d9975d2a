import { z } from 'zod'
import { describeError, optional, optionalNumber, optionalObject, optionalText } from '#connections'
import { readEach, readWebhookJson } from '#connections'
import type { RawWebhook } from '#connections'
import { describeLocation } from './inbound-content.ts'
import { errorDetail, judgeMetaError } from './meta-errors.ts'
import type { ErrorDetail } from './meta-errors.ts'
import type {
  AccountReport,
  ConsentReport,
  InboundMessage,
  ProviderReport,
  StatusReport,
} from './provider.ts'

const seconds = z.union([z.string().regex(/^\d{1,11}$/), z.int().min(0).max(99_999_999_999)])

const delivery = z.looseObject({ entry: z.array(z.unknown()) })

const entry = z.looseObject({ id: optionalText, time: optional(seconds), changes: optional(z.unknown()) })
type Entry = z.output<typeof entry>

const change = z.looseObject({
  field: optionalText,
  value: z.looseObject({
    metadata: optionalObject({ phone_number_id: optionalText, display_phone_number: optionalText }),
    contacts: optional(z.unknown()),
    messages: optional(z.unknown()),
    statuses: optional(z.unknown()),
    errors: optional(z.unknown()),
    user_preferences: optional(z.unknown()),
  }),
})
type Value = z.output<typeof change>['value']

const contact = z.looseObject({
  wa_id: optionalText,
  user_id: optionalText,
  profile: optionalObject({ name: optionalText }),
})

const statusEvent = z.looseObject({
  id: z.string(),
  status: z.string(),
  timestamp: seconds,
  recipient_id: optionalText,
  recipient_user_id: optionalText,
  biz_opaque_callback_data: optionalText,
  errors: optional(z.unknown()),
})

const preference = z.looseObject({
  wa_id: optionalText,
  user_id: optionalText,
  value: z.enum(['stop', 'resume']),
  timestamp: seconds,
})

const mediaContent = optionalObject({
  id: optionalText,
  mime_type: optionalText,
  caption: optionalText,
  filename: optionalText,
})

const choice = optionalObject({ id: optionalText, title: optionalText })

const messageEvent = z.looseObject({
  id: z.string(),
  type: z.string(),
  timestamp: seconds,
  from: optionalText,
  from_user_id: optionalText,
  context: optionalObject({ id: optionalText }),
  text: optionalObject({ body: optionalText }),
  image: mediaContent,
  video: mediaContent,
  audio: mediaContent,
  document: mediaContent,
  sticker: mediaContent,
  location: optionalObject({
    latitude: optionalNumber,
    longitude: optionalNumber,
    name: optionalText,
    address: optionalText,
  }),
  reaction: optionalObject({ message_id: optionalText, emoji: optionalText }),
  button: optionalObject({ payload: optionalText, text: optionalText }),
  interactive: optionalObject({
    button_reply: choice,
    list_reply: choice,
    nfm_reply: optionalObject({ body: optionalText, response_json: optionalText }),
  }),
  order: optionalObject({ text: optionalText }),
})
type MessageEvent = z.output<typeof messageEvent>

/** One form for a person everywhere: `+` and digits, or the business-scoped id of who has no phone. */
export function writeIdentity(phone: string | null | undefined, userId: string | null | undefined): string {
  if (phone) return /^\d+$/.test(phone) ? `+${phone}` : phone
  return userId ?? ''
}

export interface Change {
  entry: Entry
  field: string
  value: Value
}

/** Every change of every entry; what can't be read is left out. */
export function listChanges(webhook: RawWebhook): Change[] {
  const read = delivery.safeParse(readWebhookJson(webhook))
  if (!read.success) return []
  return readEach(entry, read.data.entry).flatMap((item) =>
    readEach(change, item.changes).map(({ field, value }) => ({ entry: item, field: field ?? '', value })),
  )
}

export function parseMetaWebhook(webhook: RawWebhook, receivedAt: Date): ProviderReport[] {
  return listChanges(webhook).flatMap(({ entry, field, value }): ProviderReport[] => {
    const account = {
      id: entry.id ?? '',
      time: entry.time,
      at: entry.time ? readTime(entry.time) : receivedAt,
    }
    if (field === 'user_preferences') return readEach(preference, value.user_preferences).map(readConsent)
    if (field !== 'messages') return readAccountChange(account, field, value)
    return [
      ...readEach(messageEvent, value.messages)
        .filter((message) => !isSilent(message))
        .map((message) => readInbound(message, value)),
      ...readEach(statusEvent, value.statuses).flatMap(readStatus),
      ...readEach(errorDetail, value.errors).map((error) => readAccountError(account, error)),
    ]
  })
}

function readStatus(event: z.output<typeof statusEvent>): StatusReport[] {
  const status = statuses.get(event.status)
  if (!status) return []
  const [detail] = readEach(errorDetail, event.errors)
  const error = status === 'failed' ? describeError(...judgeMetaError(detail)) : undefined
  const recipient = writeIdentity(event.recipient_id, event.recipient_user_id)
  return [
    {
      type: 'status',
      key: `${event.id}:${event.status}`,
      at: readTime(event.timestamp),
      providerMessageId: event.id,
      status,
      ...(event.biz_opaque_callback_data && { messageId: event.biz_opaque_callback_data }),
      ...(event.status === 'played' && { detail: 'played' }),
      ...(recipient && { recipient }),
      ...(error && { error }),
      ...(error?.kind === 'opted_out' && { suppress: 'opted_out' as const }),
    },
  ]
}

/** Notices of WhatsApp itself and a reaction taken back are not words of a person. */
function isSilent({ type, reaction }: MessageEvent): boolean {
  return silentTypes.has(type) || (type === 'reaction' && !reaction?.emoji)
}

function readInbound(event: MessageEvent, value: Value): InboundMessage {
  const contacts = readEach(contact, value.contacts)
  const from = writeIdentity(event.from, event.from_user_id) || writeContact(contacts[0])
  const author = contacts.find((someone) => writeContact(someone) === from) ?? contacts[0]
  const { text: words, payload } = readWords(event)
  return {
    type: 'inbound',
    key: event.id,
    at: readTime(event.timestamp),
    providerMessageId: event.id,
    from,
    to: value.metadata?.phone_number_id ?? '',
    profileName: author?.profile?.name ?? undefined,
    text: words ?? undefined,
    media: mediaKinds.flatMap((kind) => readMedia(kind, event[kind])),
    payload: payload ?? undefined,
    inReplyTo: event.context?.id ?? event.reaction?.message_id ?? undefined,
    automated: from !== '' && from === `+${value.metadata?.display_phone_number?.replaceAll(/\D/g, '')}`,
  }
}

function writeContact(someone: z.output<typeof contact> | undefined): string {
  return writeIdentity(someone?.wa_id, someone?.user_id)
}

function readMedia(kind: string, media: z.output<typeof mediaContent>): InboundMessage['media'] {
  if (!media) return []
  const { id, mime_type: contentType, filename } = media
  return [
    {
      kind,
      ...(id && { providerMediaId: id }),
      ...(contentType && { contentType }),
      ...(filename && { filename }),
    },
  ]
}

function readWords(event: MessageEvent): { text?: string | null; payload?: string | null } {
  const chosen = event.interactive?.button_reply ?? event.interactive?.list_reply
  if (chosen) return { text: chosen.title, payload: chosen.id }
  const flow = event.interactive?.nfm_reply
  if (flow) return { text: flow.body, payload: flow.response_json }
  if (event.button) return { text: event.button.text, payload: event.button.payload }
  const caption = mediaKinds.map((kind) => event[kind]?.caption).find(Boolean)
  const place = event.location && describeLocation(event.location)
  return { text: event.text?.body ?? caption ?? place ?? event.reaction?.emoji ?? event.order?.text }
}

/** `user_preferences`: the person stopped or resumed marketing messages. */
function readConsent(event: z.output<typeof preference>): ConsentReport {
  const recipient = writeIdentity(event.wa_id, event.user_id)
  const at = readTime(event.timestamp)
  return {
    type: 'consent',
    key: `${recipient}:${event.value}:${at.getTime()}`,
    at,
    consent: event.value === 'stop' ? 'out' : 'in',
    recipient,
    reason: 'opted_out',
  }
}

interface Account {
  id: string
  time: Entry['time']
  at: Date
}

function readAccountChange({ id, time, at }: Account, field: string, value: Value): AccountReport[] {
  if (!accountFields.has(field)) return []
  const detail = accountDetails.flatMap((name) => {
    const item = value[name]
    return typeof item === 'string' || typeof item === 'number' ? [`${name}: ${item}`] : []
  })
  const key = [id, field, ...detail, time ?? ''].join(':')
  return [{ type: 'account', key, at, subject: field, detail: detail.join(', ') }]
}

function readAccountError({ id, time, at }: Account, error: ErrorDetail): AccountReport {
  const { message } = describeError(...judgeMetaError(error))
  return {
    type: 'account',
    key: [id, 'error', error.code, time ?? ''].join(':'),
    at,
    subject: 'error',
    detail: message,
  }
}

function readTime(timestamp: string | number): Date {
  return new Date(Number(timestamp) * 1000)
}

const statuses = new Map<string, StatusReport['status']>([
  ['sent', 'sent'],
  ['delivered', 'delivered'],
  ['read', 'read'],
  ['played', 'read'],
  ['failed', 'failed'],
])

const mediaKinds = ['image', 'video', 'audio', 'document', 'sticker'] as const

const silentTypes = new Set(['system', 'request_welcome', 'ephemeral'])

const accountFields = new Set([
  'message_template_status_update',
  'message_template_quality_update',
  'phone_number_quality_update',
  'account_update',
])

const accountDetails = [
  'event',
  'message_template_name',
  'message_template_language',
  'reason',
  'previous_quality_score',
  'new_quality_score',
  'display_phone_number',
  'current_limit',
  'phone_number',
]
