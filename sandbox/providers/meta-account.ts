import { randomBytes } from 'node:crypto'
import { request } from 'undici'
import type { CallbackInput } from '../callbacks.ts'
import { signMeta, toEscapedJson } from '../signatures.ts'
import type { World } from '../world.ts'

export type MetaTemplate = {
  id: string
  name: string
  language: string
  category: string
  status: string
  components: unknown[]
}

export type MetaAccount = {
  phoneNumberId: string
  /** Null until the first call shows it. */
  token: string | null
  wabaId: string
  displayPhoneNumber: string
  appSecret: string
  /** Callback of the app, used when neither the number nor its WABA overrides it. */
  webhookUrl: string | null
  numberOverride: string | null
}

export type Meta = {
  world: World
  /** By phone number id. */
  accounts: Map<string, MetaAccount>
  /** Callback overrides by WABA id. */
  wabaOverrides: Map<string, string>
  wabaOfToken: Map<string, string>
  templates: Map<string, MetaTemplate[]>
  media: Map<string, MetaMedia>
}

type MetaMedia = {
  id: string
  contentType: string
  filename: string | null
  bytes: Buffer
  urlMadeAt: number
}

/** App secret of accounts nobody set up, so that a first try needs no set-up call. */
const DEFAULT_APP_SECRET = 'sandbox-app-secret'

export function ensureMetaAccount(meta: Meta, phoneNumberId: string): MetaAccount {
  const known = meta.accounts.get(phoneNumberId)
  if (known) return known
  const account: MetaAccount = {
    phoneNumberId,
    token: null,
    wabaId: madeUpWaba(phoneNumberId),
    displayPhoneNumber: `1555${digitsOf(phoneNumberId)}`,
    appSecret: DEFAULT_APP_SECRET,
    webhookUrl: null,
    numberOverride: null,
  }
  meta.accounts.set(phoneNumberId, account)
  return account
}

function madeUpWaba(phoneNumberId: string): string {
  return `waba_${phoneNumberId}`
}

/** Whether the account's WABA id was given, rather than made up here. */
export function isOwnWaba(account: MetaAccount): boolean {
  return account.wabaId !== madeUpWaba(account.phoneNumberId)
}

/** Seven digits that stay the same for the same id. */
function digitsOf(id: string): string {
  let sum = 0
  for (const char of id) sum = (sum * 31 + char.charCodeAt(0)) % 9_000_000
  return String(1_000_000 + sum)
}

/** Meta looks on the number first, then on its WABA, then on the app. */
export function webhookOf(meta: Meta, account: MetaAccount): string | null {
  return account.numberOverride ?? meta.wabaOverrides.get(account.wabaId) ?? account.webhookUrl
}

type WebhookValue = Record<string, unknown>

/** One entry of a webhook for this number. */
export function makeEntry(account: MetaAccount, value: WebhookValue): Record<string, unknown> {
  const metadata = {
    display_phone_number: account.displayPhoneNumber,
    phone_number_id: account.phoneNumberId,
  }
  return {
    id: account.wabaId,
    changes: [{ value: { messaging_product: 'whatsapp', metadata, ...value }, field: 'messages' }],
  }
}

type WebhookPost = {
  url: string
  entries: unknown[]
  messageIds: string[]
  events: string[]
}

/** A signed webhook; Meta repeats anything but a 200. */
export function makeWebhook(account: MetaAccount, post: WebhookPost): CallbackInput {
  const body = toEscapedJson({ object: 'whatsapp_business_account', entry: post.entries })
  return {
    provider: 'meta',
    account: account.phoneNumberId,
    messageIds: post.messageIds,
    events: post.events,
    url: post.url,
    lane: post.messageIds[0] ?? '',
    build: () => ({
      headers: {
        'content-type': 'application/json',
        'user-agent': 'facebookexternalua',
        'x-hub-signature-256': signMeta(account.appSecret, body),
      },
      body,
    }),
    accepts: (status) => status === 200,
  }
}

export type Handshake = { ok: boolean; status: number | null; answer: string }

/** `GET` with `hub.challenge`: the receiver must know the verify token and echo the challenge exactly. */
export async function shakeHands(url: string, verifyToken: string): Promise<Handshake> {
  const challenge = String(Math.floor(Math.random() * 9e9) + 1e9)
  const query = `hub.mode=subscribe&hub.challenge=${challenge}&hub.verify_token=${encodeURIComponent(verifyToken)}`
  try {
    const { statusCode, body } = await request(`${url}${url.includes('?') ? '&' : '?'}${query}`, {
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
    })
    const answer = (await body.text()).slice(0, 500)
    return { ok: statusCode === 200 && answer === challenge, status: statusCode, answer }
  } catch (error) {
    return { ok: false, status: null, answer: error instanceof Error ? error.message : String(error) }
  }
}

export function createWamid(): string {
  return `wamid.HBg${randomBytes(24).toString('base64')}`
}
