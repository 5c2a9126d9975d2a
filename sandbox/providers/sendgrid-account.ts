import { randomBytes } from 'node:crypto'
import { sendCallback } from '../callbacks.ts'
import type { Callback, CallbackInput } from '../callbacks.ts'
import { createSigningKeys, seedFrom, signSendgrid } from '../signatures.ts'
import type { SigningKeys } from '../signatures.ts'
import type { World } from '../world.ts'
import { addKeyAccount, nameByToken } from './key-accounts.ts'
import type { KeyAccounts } from './key-accounts.ts'

export type EventWebhook = {
  id: string
  url: string
  enabled: boolean
  signed: boolean
  keys: SigningKeys
  friendlyName: string
}

export const suppressionLists = [
  'bounces',
  'blocks',
  'invalid_emails',
  'spam_reports',
  'unsubscribes',
] as const
export type SuppressionList = (typeof suppressionLists)[number]

export type SendgridAccount = {
  name: string
  token: string
  /** Senders that are verified; null takes any whose address lacks the word `unverified`. */
  verifiedDomains: string[] | null
  webhooks: EventWebhook[]
  /** Inbound parse. `keys` null leaves it unsigned, as without a security policy. */
  parse: { hostname: string; url: string; keys: SigningKeys | null } | null
  policies: Map<string, { id: string; name: string; keys: SigningKeys }>
  suppressions: Map<SuppressionList, Map<string, { reason: string; createdAt: number }>>
  /** Events that wait for their batch, by webhook id. */
  batches: Map<string, WaitingEvent[]>
}

type WaitingEvent = { event: Record<string, unknown>; messageId: string }

export type Sendgrid = { world: World; accounts: KeyAccounts<SendgridAccount> }

const BATCH_MS = 15

export function createSendgridAccount(
  sendgrid: Sendgrid,
  token: string,
  name = nameByToken(token),
): SendgridAccount {
  return addKeyAccount(sendgrid.accounts, {
    name,
    token,
    verifiedDomains: null,
    webhooks: [],
    parse: null,
    policies: new Map(),
    suppressions: new Map(suppressionLists.map((list) => [list, new Map()])),
    batches: new Map(),
  })
}

export function addEventWebhook(
  account: SendgridAccount,
  url: string,
  settings: Partial<EventWebhook> = {},
): EventWebhook {
  const webhook: EventWebhook = {
    id: randomBytes(8).toString('hex'),
    url,
    enabled: true,
    signed: false,
    keys: createSigningKeys(seedFrom(account.token, `webhook ${account.webhooks.length}`)),
    friendlyName: '',
    ...settings,
  }
  account.webhooks.push(webhook)
  return webhook
}

/** Queues an event for every webhook; events of a few milliseconds share one POST, unless one is urgent. */
export function reportEvent(
  sendgrid: Sendgrid,
  account: SendgridAccount,
  waiting: WaitingEvent,
  isUrgent: boolean,
): Callback | null {
  let urgent: Callback | null = null
  for (const webhook of account.webhooks) {
    if (!webhook.enabled) continue
    if (isUrgent) urgent = sendCallback(sendgrid.world, makeEventPost(account, webhook, [waiting]))
    else joinBatch(sendgrid, account, webhook, waiting)
  }
  return urgent
}

function joinBatch(
  sendgrid: Sendgrid,
  account: SendgridAccount,
  webhook: EventWebhook,
  waiting: WaitingEvent,
): void {
  const batch = account.batches.get(webhook.id)
  if (batch) {
    batch.push(waiting)
    return
  }
  account.batches.set(webhook.id, [waiting])
  sendgrid.world.later(BATCH_MS, () => {
    const events = account.batches.get(webhook.id) ?? []
    account.batches.delete(webhook.id)
    sendCallback(sendgrid.world, makeEventPost(account, webhook, events))
  })
}

/** One POST of events to a webhook. */
export function makeEventPost(
  account: SendgridAccount,
  webhook: EventWebhook,
  waiting: WaitingEvent[],
): CallbackInput {
  const body = writeEvents(waiting.map(({ event }) => event))
  const headers = { 'content-type': 'application/json', 'user-agent': 'SendGrid Event API' }
  return makeSigned(account, {
    url: webhook.url,
    lane: webhook.id,
    keys: webhook.signed ? webhook.keys : null,
    headers,
    body,
    messageIds: waiting.map(({ messageId }) => messageId),
    events: waiting.map(({ event }) => String(event['event'])),
  })
}

/** An array whose objects are joined by CRLF and which ends in CRLF. */
function writeEvents(events: ReadonlyArray<Record<string, unknown>>): string {
  return `[${events.map((event) => JSON.stringify(event)).join(',\r\n')}]\r\n`
}

type SignedPost = {
  url: string
  lane: string
  keys: SigningKeys | null
  headers: Record<string, string>
  body: string | Buffer
  messageIds: string[]
  events: string[]
}

/** A POST signed as SendGrid signs events, and inbound mail under a security policy. */
export function makeSigned(account: SendgridAccount, post: SignedPost): CallbackInput {
  return {
    provider: 'sendgrid',
    account: account.name,
    messageIds: post.messageIds,
    events: post.events,
    url: post.url,
    lane: post.lane,
    build: (at) => ({
      headers: { ...post.headers, ...signatureHeaders(post.keys, at, post.body) },
      body: post.body,
    }),
    accepts: (status) => status >= 200 && status < 300,
  }
}

function signatureHeaders(keys: SigningKeys | null, at: Date, body: string | Buffer): Record<string, string> {
  if (!keys) return {}
  const timestamp = String(Math.floor(at.getTime() / 1_000))
  return {
    'x-twilio-email-event-webhook-signature': signSendgrid(keys.privateKey, timestamp, body),
    'x-twilio-email-event-webhook-timestamp': timestamp,
  }
}
