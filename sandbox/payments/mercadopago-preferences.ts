import { randomUUID } from 'node:crypto'
import { isObject, replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import type { MerchantOrder } from './mercadopago-orders.ts'
import { isWebAddress, readMetadata } from './mercadopago-payment-rules.ts'
import { isReply, refuse } from './mercadopago-replies.ts'
import { indexed, replyElements } from './mercadopago-search.ts'
import { readAmount, readTime, sites, writeTime } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

/** A checkout: a page that may be paid, and tried, more than once. */
export type Preference = {
  id: string
  account: MercadopagoAccount
  /** As given. */
  body: Body
  items: Item[]
  /** Minor units, of all items. */
  amount: number
  currency: string
  externalReference: string | null
  notificationUrl: string | null
  opensAt: Date | null
  closesAt: Date | null
  order: MerchantOrder | null
  createdAt: Date
  updatedAt: Date
}

type Item = { title: string; quantity: number; minor: number; given: Body }

/** POST /checkout/preferences */
export function answerCreatePreference(turn: Turn, body: Body): Reply {
  const { mercadopago, account } = turn
  const content = readContent(turn, body)
  if (isReply(content)) return content
  const now = mercadopago.world.now()
  const preference: Preference = {
    ...content,
    id: `${account.userId}-${randomUUID()}`,
    account,
    order: null,
    createdAt: now,
    updatedAt: now,
  }
  mercadopago.preferences.set(preference.id, preference)
  account.preferences.push(preference)
  mercadopago.openPages.add(preference)
  return replyJson(201, viewPreference(turn, preference))
}

/** PUT /checkout/preferences/{id}: what is given replaces what was. */
export function answerUpdatePreference(turn: Turn, preference: Preference, body: Body): Reply {
  const content = readContent(turn, { ...preference.body, ...body })
  if (isReply(content)) return content
  Object.assign(preference, content, { updatedAt: turn.mercadopago.world.now() })
  return replyJson(200, viewPreference(turn, preference))
}

export function answerReadPreference(turn: Turn, preference: Preference): Reply {
  return replyJson(200, viewPreference(turn, preference))
}

/** GET /checkout/preferences/search */
export function searchPreferences(turn: Turn, query: URLSearchParams): Reply {
  const reference = query.get('external_reference')
  const found = indexed(turn, turn.account.preferences)
    .filter(({ externalReference }) => reference === null || externalReference === reference)
    .toReversed()
  return replyElements(query, found, (preference) => ({
    ...viewPreference(turn, preference),
    items: preference.items.map(({ title }) => title),
  }))
}

/** Whether a customer can still pay on its page. */
export function isOpenPreference({ opensAt, closesAt }: Preference, now: Date): boolean {
  return (opensAt === null || opensAt <= now) && (closesAt === null || closesAt > now)
}

type Content = Pick<
  Preference,
  'body' | 'items' | 'amount' | 'currency' | 'externalReference' | 'notificationUrl' | 'opensAt' | 'closesAt'
>

function readContent({ mercadopago, account }: Turn, body: Body): Content | Reply {
  const { currency } = sites[account.siteId]
  const items = readItems(body['items'], currency)
  if (isReply(items)) return items
  const refused = refuseUrls(body)
  if (refused) return refused
  const [opensAt, closesAt] = [body['expiration_date_from'], body['expiration_date_to']].map((value) =>
    body['expires'] === true && typeof value === 'string'
      ? readTime(value, mercadopago.world.now())
      : undefined,
  )
  if (opensAt === null || closesAt === null)
    return refuse(400, 'expiration_date invalid', 'invalid_expiration_date')
  return {
    body,
    items,
    amount: items.reduce((sum, { minor, quantity }) => sum + minor * quantity, 0),
    currency,
    externalReference: textOf(body['external_reference']) || null,
    notificationUrl: textOf(body['notification_url']) || null,
    opensAt: opensAt ?? null,
    closesAt: closesAt ?? null,
  }
}

function readItems(given: unknown, currency: string): Item[] | Reply {
  if (!Array.isArray(given) || given.length === 0) return refuse(400, 'items needed', 'invalid_items')
  const items: Item[] = []
  for (const item of given as unknown[]) {
    const fields = isObject(item) ? item : {}
    const minor = readAmount(fields['unit_price'], currency)
    const [title, quantity] = [textOf(fields['title']), fields['quantity']]
    if (typeof minor === 'string') return refuse(400, `unit_price invalid: ${minor}`, 'invalid_items')
    if (title === '') return refuse(400, 'title invalid', 'invalid_items')
    if (typeof quantity !== 'number' || !Number.isInteger(quantity) || quantity < 1)
      return refuse(400, 'quantity invalid', 'invalid_items')
    if ((fields['currency_id'] ?? currency) !== currency)
      return refuse(400, 'currency_id invalid', 'invalid_items')
    items.push({ title, quantity, minor, given: fields })
  }
  return items
}

function refuseUrls(body: Body): Reply | null {
  const backUrls = isObject(body['back_urls']) ? body['back_urls'] : {}
  const wrong = Object.entries(backUrls).find(([, url]) => url !== '' && !isWebAddress(url))
  if (wrong) return refuse(400, `back_urls invalid. Wrong format: ${wrong[0]}`, 'invalid_back_urls')
  if (body['auto_return'] !== undefined && !isWebAddress(backUrls['success']))
    return refuse(400, 'auto_return invalid. back_url.success must be defined', 'invalid_auto_return')
  const url = body['notification_url']
  return url === undefined || url === null || isWebAddress(url)
    ? null
    : refuse(400, 'notification_url invalid', 'invalid_notification_url')
}

/** Where the customer of a preference goes. */
export function backUrlOf({ body }: Preference, end: 'success' | 'pending' | 'failure'): string | null {
  const backUrls = isObject(body['back_urls']) ? body['back_urls'] : {}
  return textOf(backUrls[end]) || null
}

export function viewItems({ items, currency }: Preference): Body[] {
  return items.map(({ given }) => ({ ...given, currency_id: currency }))
}

function viewPreference({ mercadopago }: Turn, preference: Preference): Body {
  const { account, body, closesAt, opensAt } = preference
  const page = `${mercadopago.world.url}/mercadopago/checkout/v1/redirect?pref_id=${preference.id}`
  return {
    additional_info: '',
    auto_return: '',
    back_urls: { success: '', pending: '', failure: '' },
    binary_mode: false,
    payment_methods: null,
    payer: {},
    ...body,
    id: preference.id,
    client_id: String(account.applicationId),
    collector_id: account.userId,
    date_created: writeTime(preference.createdAt),
    last_updated: writeTime(preference.updatedAt),
    expires: opensAt !== null || closesAt !== null,
    expiration_date_from: opensAt && writeTime(opensAt),
    expiration_date_to: closesAt && writeTime(closesAt),
    external_reference: preference.externalReference ?? '',
    init_point: page,
    sandbox_init_point: page,
    items: viewItems(preference),
    marketplace: 'NONE',
    metadata: readMetadata(body['metadata']),
    operation_type: 'regular_payment',
    site_id: account.siteId,
  }
}
