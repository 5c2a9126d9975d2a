import { randomBytes, randomUUID } from 'node:crypto'
import { sendCallback } from '../callbacks.ts'
import type { Callback, CallbackInput } from '../callbacks.ts'
import { signSvix } from '../signatures.ts'
import type { World } from '../world.ts'
import { addKeyAccount, nameByToken } from './key-accounts.ts'
import type { KeyAccounts } from './key-accounts.ts'

export type ResendWebhook = {
  id: string
  endpoint: string
  events: string[]
  /** Newest first: all of them sign while a rotation overlaps. */
  secrets: string[]
  enabled: boolean
  createdAt: string
}

export type ReceivedMail = {
  id: string
  accountName: string
  content: Record<string, unknown>
  attachments: Array<{
    id: string
    filename: string
    contentType: string
    contentId: string | null
    bytes: Buffer
  }>
}

/** The first answer of an idempotency key; `body` null while it is still being made. */
type Remembered = { request: string; answer: unknown; at: number }

export type ResendAccount = {
  name: string
  token: string
  /** Null takes any domain whose name lacks the word `unverified`. */
  verifiedDomains: string[] | null
  webhooks: ResendWebhook[]
  idempotency: Map<string, Remembered>
  suppressions: Map<string, { id: string; reason: string; createdAt: string }>
}

export type Resend = {
  world: World
  accounts: KeyAccounts<ResendAccount>
  received: Map<string, ReceivedMail>
}

export function createResendAccount(resend: Resend, token: string, name = nameByToken(token)): ResendAccount {
  return addKeyAccount(resend.accounts, {
    name,
    token,
    verifiedDomains: null,
    webhooks: [],
    idempotency: new Map(),
    suppressions: new Map(),
  })
}

type NewWebhook = { endpoint: string; events: string[]; secret: string }

export function addResendWebhook(resend: Resend, account: ResendAccount, made: NewWebhook): ResendWebhook {
  const webhook: ResendWebhook = {
    id: randomUUID(),
    endpoint: made.endpoint,
    events: made.events,
    secrets: [made.secret],
    enabled: true,
    createdAt: resend.world.now().toISOString(),
  }
  account.webhooks.push(webhook)
  return webhook
}

export function createSecret(): string {
  return `whsec_${randomBytes(24).toString('base64')}`
}

type ResendEvent = {
  type: string
  at: Date
  data: Record<string, unknown>
  messageId: string
  svixId: string
}

/** Posts an event to every webhook that wants it; answers the last callback made. */
export function reportResendEvent(
  resend: Resend,
  account: ResendAccount,
  event: ResendEvent,
): Callback | null {
  const wanting = account.webhooks.filter(
    ({ enabled, events }) => enabled && (events.length === 0 || events.includes(event.type)),
  )
  const body = JSON.stringify({ type: event.type, created_at: event.at.toISOString(), data: event.data })
  const callbacks = wanting.map((webhook, index) =>
    sendCallback(
      resend.world,
      makeSvixPost(account.name, {
        url: webhook.endpoint,
        secrets: webhook.secrets,
        id: index === 0 ? event.svixId : `${event.svixId}${index}`,
        body,
        messageIds: [event.messageId],
        events: [event.type],
      }),
    ),
  )
  return callbacks.at(-1) ?? null
}

type SvixPost = {
  url: string
  secrets: string[]
  id: string
  body: string
  messageIds: string[]
  events: string[]
}

export function makeSvixPost(accountName: string, post: SvixPost): CallbackInput {
  return {
    provider: 'resend',
    account: accountName,
    messageIds: post.messageIds,
    events: post.events,
    url: post.url,
    lane: `${post.messageIds[0]} ${post.url}`,
    build(at) {
      const timestamp = String(Math.floor(at.getTime() / 1_000))
      return {
        headers: {
          'content-type': 'application/json',
          'user-agent': 'Svix-Webhooks/1.84',
          'svix-id': post.id,
          'svix-timestamp': timestamp,
          'svix-signature': signSvix(post.secrets, post.id, timestamp, post.body),
        },
        body: post.body,
      }
    },
    accepts: (status) => status === 200,
  }
}

export function createSvixId(): string {
  return `msg_${randomBytes(20).toString('base64url').replaceAll(/[-_]/g, 'x')}`
}
