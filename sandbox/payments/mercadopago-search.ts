import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import { viewPayment } from './mercadopago-payment-view.ts'
import type { Payment } from './mercadopago-payment.ts'
import { refuse } from './mercadopago-replies.ts'
import { readTime } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Page = { limit: number; offset: number }

/** `limit` and `offset` of a search, or null when they are none. */
function readPage(query: URLSearchParams, longest = 1_000): Page | null {
  const [limit, offset] = [Number(query.get('limit') ?? 30), Number(query.get('offset') ?? 0)]
  const isGood = Number.isInteger(limit) && Number.isInteger(offset) && limit >= 0 && offset >= 0
  return isGood ? { limit: Math.min(limit, longest), offset } : null
}

/** What was found, as most of MercadoPago's searches answer it. */
export function replyFound<One>(
  query: URLSearchParams,
  found: One[],
  view: (one: One) => Record<string, unknown>,
): Reply {
  const page = readPage(query)
  if (!page) return refuse(400, 'Invalid value for limit or offset')
  const results = found.slice(page.offset, page.offset + page.limit).map(view)
  return replyJson(200, { paging: { total: found.length, ...page }, results })
}

/** As older searches answer it. */
export function replyElements<One>(
  query: URLSearchParams,
  found: One[],
  view: (one: One) => Record<string, unknown>,
): Reply {
  const page = readPage(query)
  if (!page) return refuse(400, 'Invalid value for limit or offset')
  const end = page.offset + page.limit
  const elements = found.slice(page.offset, end).map(view)
  return replyJson(200, { elements, next_offset: Math.min(end, found.length), total: found.length })
}

/** Without what is too new for the index of searches. */
export function indexed<One extends { createdAt: Date }>({ mercadopago, account }: Turn, all: One[]): One[] {
  const lagMs = account.options.search_lag_ms
  if (lagMs === 0) return all
  const limit = mercadopago.world.now().getTime() - lagMs
  return all.filter(({ createdAt }) => createdAt.getTime() <= limit)
}

const dates = {
  date_created: (payment: Payment) => payment.createdAt,
  date_last_updated: (payment: Payment) => payment.updatedAt,
  date_approved: (payment: Payment) => payment.approvedAt,
  money_release_date: (payment: Payment) => payment.approvedAt,
} as const
type DateName = keyof typeof dates

/** GET /v1/payments/search */
export function searchPayments(turn: Turn, query: URLSearchParams): Reply {
  const { mercadopago, account } = turn
  const range = readRange(query, mercadopago.world.now())
  if (typeof range === 'string') return refuse(400, range)
  const sort = query.get('sort') ?? 'date_created'
  if (!isDateName(sort) && sort !== 'id') return refuse(400, `Invalid value for sort: ${sort}`)
  const found = indexed(turn, candidates(account, query))
    .filter((payment) => isWithin(payment, range) && hasValues(payment, query))
    .toSorted((a, b) => keyOf(a, sort) - keyOf(b, sort))
  if (query.get('criteria')?.toLowerCase() !== 'asc') found.reverse()
  return replyFound(query, found, (payment) => viewPayment(payment, mercadopago.world.url))
}

function candidates(account: MercadopagoAccount, query: URLSearchParams): Payment[] {
  const reference = query.get('external_reference')
  return reference === null ? account.payments : (account.paymentsByReference.get(reference) ?? [])
}

type Range = { name: DateName; from: number; to: number }

function readRange(query: URLSearchParams, now: Date): Range | null | string {
  const [begin, end] = [query.get('begin_date'), query.get('end_date')]
  if (begin === null && end === null) return null
  const name = query.get('range') ?? 'date_created'
  if (!isDateName(name)) return `Invalid value for range: ${name}`
  const [from, to] = [begin, end].map((text) => (text === null ? null : readTime(text, now)))
  if (begin !== null && !from) return 'Invalid value for begin_date'
  if (end !== null && !to) return 'Invalid value for end_date'
  return { name, from: from?.getTime() ?? 0, to: to?.getTime() ?? Number.POSITIVE_INFINITY }
}

function isDateName(name: string): name is DateName {
  return Object.hasOwn(dates, name)
}

function isWithin(payment: Payment, range: Range | null): boolean {
  if (range === null) return true
  const time = dates[range.name](payment)?.getTime()
  return time !== undefined && time >= range.from && time <= range.to
}

function hasValues(payment: Payment, query: URLSearchParams): boolean {
  const values: Record<string, string | null> = {
    status: payment.status,
    status_detail: payment.detail,
    payment_method_id: payment.method.id,
    payment_type_id: payment.method.type,
    operation_type: payment.operationType,
    id: String(payment.id),
    'payer.email': payment.payer.email,
  }
  return Object.entries(values).every(([name, value]) => !query.has(name) || query.get(name) === value)
}

function keyOf(payment: Payment, sort: DateName | 'id'): number {
  return sort === 'id' ? payment.id : (dates[sort](payment)?.getTime() ?? 0)
}
