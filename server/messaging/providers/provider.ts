import type { Outcome, Provider, ProviderContext, ProviderError, RawWebhook } from '#connections'

export type Channel = 'whatsapp' | 'sms' | 'email'

export type MessageStatus =
  | 'queued'
  | 'scheduled'
  | 'sent'
  | 'delivered'
  | 'read'
  | 'failed'
  | 'canceled'
  | 'unknown'

export interface MediaLink {
  kind: 'image' | 'video' | 'audio' | 'document' | 'sticker'
  url: string
  caption?: string
  filename?: string
}

export interface Attachment {
  filename: string
  contentType: string
  contentBase64: string
  contentId?: string
}

/** A template in the provider's own terms, with the rendered text beside it for providers that have none. */
export interface TemplateReference {
  /** Meta template name, Twilio `HX…`, SendGrid `d-…`, Resend template id. */
  name: string
  /** Meta language code, such as `es_CL`. */
  language?: string
  /** In the order the template declares them. */
  variables: ReadonlyArray<{ name: string; value: string }>
}

/** One message, ready for a provider: addresses checked, template rendered, limits of the channel applied. */
export interface SendCommand {
  /** Our id (`msg_…`): correlation in callbacks, idempotency key where the provider has one. */
  messageId: string
  tenantId: string
  channel: Channel
  /** E.164 for whatsapp and sms, a bare address for email. */
  to: string
  /** Overrides the connection's sender; email only. May be `Name <a@b>`. */
  from?: string
  replyTo?: string
  subject?: string
  text?: string
  html?: string
  media: readonly MediaLink[]
  attachments: readonly Attachment[]
  template?: TemplateReference
  /** An automatic answer: mail says so, that no other machine answers it. */
  automatic?: boolean
}

export interface Sent {
  providerMessageId: string
  status: 'queued' | 'sent'
  detail?: string
  /** The recipient's id as the provider writes it, when it differs (WhatsApp `wa_id`). */
  recipient?: string
  cost?: Cost
}

export interface Cost {
  /** Decimal text as the provider wrote it, positive. */
  amount: string
  currency: string
}

export type SuppressionReason = 'opted_out' | 'unsubscribed' | 'bounced' | 'complained'

interface Reported {
  /** Same fact, same key: what duplicates are recognised by. */
  key: string
  at: Date
}

/** Which of our messages a report is about: our id where it comes back, else the provider's. */
interface AboutMessage {
  messageId?: string
  providerMessageId?: string
}

export interface StatusReport extends Reported, AboutMessage {
  type: 'status'
  status: Exclude<MessageStatus, 'unknown'>
  detail?: string
  error?: ProviderError
  recipient?: string
  cost?: Cost
  /** The provider will not reach this recipient again: put it on the tenant's suppression list. */
  suppress?: SuppressionReason
}

export interface InboundMessage extends Reported {
  type: 'inbound'
  providerMessageId: string
  /** E.164, e-mail address, or a business-scoped user id when there is no phone. */
  from: string
  /** Our side: phone number, WhatsApp sender id, or e-mail address. */
  to: string
  profileName?: string
  subject?: string
  text?: string
  html?: string
  media: ReadonlyArray<{
    kind: string
    url?: string
    providerMediaId?: string
    contentType?: string
    filename?: string
  }>
  /** Button or list reply. */
  payload?: string
  /** The message this one answers, as the provider names it. */
  inReplyTo?: string
  /** Written by a machine (auto-submitted mail, bulk, our own echo): never answered automatically. */
  automated: boolean
  /** What the provider itself says the text means. */
  optOut?: 'stop' | 'start' | 'help'
  /** The content must be fetched from the provider before use (Resend). */
  fetchContent?: boolean
}

export interface EngagementReport extends Reported, AboutMessage {
  type: 'engagement'
  engagement: 'opened' | 'clicked' | 'complained'
  /** Opened or clicked by a machine, not a person, as far as the provider can tell. */
  machine: boolean
  recipient?: string
  url?: string
}

export interface ConsentReport extends Reported, AboutMessage {
  type: 'consent'
  consent: 'out' | 'in'
  recipient: string
  reason: SuppressionReason
}

/** Something about the account rather than a message: quality, template status, suspension. */
export interface AccountReport extends Reported {
  type: 'account'
  subject: string
  detail: string
}

export type ProviderReport = StatusReport | InboundMessage | EngagementReport | ConsentReport | AccountReport

export interface MessagingProvider<Credentials = unknown> extends Provider<Credentials> {
  channels: readonly Channel[]
  capabilities: {
    /** For how long the provider honours an idempotency key: an unknown send may be repeated with the same message id. */
    idempotency: { keptMs: number } | undefined
    templates: boolean
    media: boolean
    attachments: boolean
    /** Longest text in characters, per channel. */
    maxTextLength: Partial<Record<Channel, number>>
  }
  /** Sender as this connection writes it for a channel: what the 24-hour window and the log are kept by. */
  sender(credentials: Credentials, channel: Channel): string
  /** Never throws; says why a command can't be carried before any call is made. */
  send(command: SendCommand, context: ProviderContext<Credentials>): Promise<Outcome<Sent>>
  /**
   * Pure: every report of the batch, in the order received. Unknown fields and kinds are skipped, never an error.
   * `receivedAt` is the time of what the provider gives none for. No text holds a NUL, which PostgreSQL can't store.
   */
  parse(webhook: RawWebhook, receivedAt: Date): ProviderReport[]
  /** Reads a message's state at the provider, to heal an unknown outcome or a missing callback. */
  lookup?(providerMessageId: string, context: ProviderContext<Credentials>): Promise<StatusReport | undefined>
  /** Completes an inbound message whose webhook carried metadata only. */
  fetchInbound?(message: InboundMessage, context: ProviderContext<Credentials>): Promise<InboundMessage>
}
