import { randomUUID } from 'node:crypto'
import type { CallbackInput } from '../callbacks.ts'
import { signTwilioForm } from '../signatures.ts'
import type { World } from '../world.ts'

export type TwilioAccount = {
  sid: string
  /** Null until the first call shows it. */
  token: string | null
  apiKeys: Map<string, string>
  smsWebhookUrl: string | null
  whatsappWebhookUrl: string | null
  /** `sender customer` pairs that wrote STOP. */
  optedOut: Set<string>
  templates: Map<string, ContentTemplate>
}

export type Twilio = {
  world: World
  accounts: Map<string, TwilioAccount>
  media: Map<string, { contentType: string; bytes: Buffer }>
}

export type ContentTemplate = {
  sid: string
  friendlyName: string
  language: string
  variables: Record<string, unknown>
  types: Record<string, unknown>
  /** Text of `twilio/text`, with `{{1}}` places. */
  body: string | null
  approval: 'unsubmitted' | 'approved'
}

export function ensureAccount(twilio: Twilio, sid: string): TwilioAccount {
  const known = twilio.accounts.get(sid)
  if (known) return known
  const account: TwilioAccount = {
    sid,
    token: null,
    apiKeys: new Map(),
    smsWebhookUrl: null,
    whatsappWebhookUrl: null,
    optedOut: new Set(),
    templates: new Map(),
  }
  twilio.accounts.set(sid, account)
  return account
}

type FormPost = { url: string; params: Array<[string, string]>; messageId: string; event: string }

/** A form POST as Twilio makes it, signed with the account's Auth Token. */
export function makeFormPost(account: TwilioAccount, post: FormPost): CallbackInput {
  const idempotencyToken = randomUUID()
  return {
    provider: 'twilio',
    account: account.sid,
    messageIds: [post.messageId],
    events: [post.event],
    url: post.url,
    lane: post.messageId,
    build: () => ({
      headers: {
        'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
        'user-agent': 'TwilioProxy/1.1',
        'x-twilio-signature': signTwilioForm(account.token ?? '', post.url, post.params),
        'i-twilio-idempotency-token': idempotencyToken,
      },
      body: new URLSearchParams(post.params).toString(),
    }),
    accepts: (status) => status >= 200 && status < 300,
    warn: warnAboutAnswer,
  }
}

function warnAboutAnswer(status: number, contentType: string, answer: string): string | null {
  if (status >= 300) return '11200 HTTP retrieval failure'
  if (answer === '' || /xml/.test(contentType)) return null
  return '12300 Invalid Content-Type: answer text/xml with <Response/>, or 204'
}

export function createHexId(prefix: string): string {
  return prefix + randomUUID().replaceAll('-', '')
}
