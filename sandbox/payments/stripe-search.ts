import { z } from 'zod'
import { textOf } from '../http.ts'
import { invalidRequest } from './stripe-errors.ts'
import { checkLimit } from './stripe-lists.ts'
import type { StripeObject } from './stripe-objects.ts'
import { integer, text } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Route, Routes } from './stripe-route.ts'
import { metadataKey, objectsOf } from './stripe-state.ts'
import type { StripeAccount } from './stripe-state.ts'

type Clause = { isNegated: boolean; key: string | null; field: string; operator: string; value: string }
type Query = { clauses: Clause[]; joint: 'AND' | 'OR' }

const searched = z.strictObject({ query: text, limit: integer.optional(), page: text.optional() })

const types: Record<string, string> = {
  charges: 'charge',
  customers: 'customer',
  invoices: 'invoice',
  payment_intents: 'payment_intent',
  prices: 'price',
  products: 'product',
  subscriptions: 'subscription',
}

export const searchRoutes: Routes = Object.fromEntries(
  Object.entries(types).map(([path, type]) => [`GET ${path}/search`, searchRoute(type, path)]),
)

/** Finds what was made a while ago: an object is not found before the account's lag is over. */
function searchRoute(type: string, path: string): Route {
  return route('read', searched, ({ account, stripe }, { query: written, limit, page }) => {
    const query = parseQuery(written)
    const nowMs = stripe.world.now().getTime()
    const found = candidates(account, type, query)
      .filter(({ created }) => created * 1_000 + account.options.searchLagMs <= nowMs)
      .filter((object) => matches(object, query))
      .toReversed()
    const start = page === undefined ? 0 : found.findIndex(({ id }) => id === page) + 1
    const data = found.slice(start, start + checkLimit(limit))
    const hasMore = start + data.length < found.length
    return {
      object: 'search_result',
      url: `/v1/${path}/search`,
      has_more: hasMore,
      data,
      next_page: hasMore ? data.at(-1)!.id : null,
    }
  })
}

const clausePattern =
  /\s*(?:(AND|OR)\s+)?(-?)(?:metadata\[(?:"([^"]*)"|'([^']*)')\]|([\w.]+))\s*(:|~|>=|<=|>|<)\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))\s*/gy

function parseQuery(written: string): Query {
  const matched = [...written.matchAll(clausePattern)]
  const length = matched.reduce((sum, [all]) => sum + all.length, 0)
  const joints = new Set(matched.slice(1).map(([, joint]) => joint ?? 'AND'))
  if (length !== written.length || matched.length === 0 || joints.size > 1) {
    const message = `Unable to parse the search query: ${written}. See https://stripe.com/docs/search#search-query-language.`
    throw invalidRequest(message, { param: 'query' })
  }
  const clauses = matched.map((parts) => {
    const [, , sign, doubleKey, singleKey, field = '', operator = ':', double, single, bare = ''] = parts
    return {
      isNegated: sign === '-',
      key: doubleKey ?? singleKey ?? null,
      field,
      operator,
      value: double ?? single ?? bare,
    }
  })
  return { clauses, joint: joints.has('OR') ? 'OR' : 'AND' }
}

/** Metadata that must have one value is looked up; anything else is read through. */
function candidates(
  account: StripeAccount,
  type: string,
  { clauses, joint }: Query,
): readonly StripeObject[] {
  const exact = clauses.find(({ key, operator, isNegated }) => key !== null && operator === ':' && !isNegated)
  if (!exact || (joint === 'OR' && clauses.length > 1)) return objectsOf(account, type)
  return account.byMetadata.get(metadataKey(type, exact.key!, exact.value)) ?? []
}

function matches(object: StripeObject, { clauses, joint }: Query): boolean {
  const test = (clause: Clause) => fits(object, clause) !== clause.isNegated
  return joint === 'OR' ? clauses.some(test) : clauses.every(test)
}

function fits(object: StripeObject, { key, field, operator, value }: Clause): boolean {
  const held = key === null ? (object as Record<string, unknown>)[field] : object.metadata?.[key]
  if (held === undefined || held === null) return operator === ':' && value === 'null'
  const [has, wants] = [textOf(held, JSON.stringify(held)).toLowerCase(), value.toLowerCase()]
  if (operator === ':') return has === wants
  if (operator === '~') return has.includes(wants)
  const [a, b] = [Number(held), Number(value)]
  if (operator === '>') return a > b
  if (operator === '<') return a < b
  return operator === '>=' ? a >= b : a <= b
}
