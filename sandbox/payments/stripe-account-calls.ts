import { z } from 'zod'
import { resourceMissing } from './stripe-errors.ts'
import { checkLimit, isIn } from './stripe-lists.ts'
import { boolean, integer, range, text, texts } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import type { StripeAccount, StripeEvent } from './stripe-state.ts'

const nothing = z.strictObject({})

const listed = z.strictObject({
  created: range.optional(),
  delivery_success: boolean.optional(),
  ending_before: text.optional(),
  limit: integer.optional(),
  starting_after: text.optional(),
  type: text.optional(),
  types: texts.optional(),
})

/** Newest first. */
function listEvents({ events }: StripeAccount, params: z.infer<typeof listed>): object {
  const limit = checkLimit(params.limit)
  const { starting_after: after, created, type, types } = params
  const end = after === undefined ? events.length : events.findLastIndex(({ id }) => id === after)
  if (end === -1) throw resourceMissing('event', after!, 'starting_after')
  const found = events
    .slice(0, end)
    .filter((event) => isIn(event.created, created) && (type === undefined || event.type === type))
    .filter((event) => types === undefined || types.includes(event.type))
    .slice(-limit - 1)
    .toReversed()
  return {
    object: 'list',
    url: '/v1/events',
    has_more: found.length > limit,
    data: found.slice(0, limit).map(readEvent),
  }
}

function readEvent({ text: written }: StripeEvent): object {
  return JSON.parse(written) as object
}

function describeAccount({ id, title }: StripeAccount): object {
  return {
    id,
    object: 'account',
    business_profile: { name: title, url: null },
    capabilities: { card_payments: 'active', transfers: 'active' },
    charges_enabled: true,
    country: 'CL',
    default_currency: 'clp',
    details_submitted: true,
    email: 'cuenta@example.com',
    metadata: {},
    payouts_enabled: true,
    settings: { dashboard: { display_name: title, timezone: 'America/Santiago' } },
    type: 'standard',
  }
}

export const accountRoutes: Routes = {
  'GET account': route('read', nothing, ({ account }) => describeAccount(account)),
  'GET accounts/:id': route('read', nothing, ({ account }, _, id) => {
    if (id !== account.id) throw resourceMissing('account', id)
    return describeAccount(account)
  }),
  'GET events': route('read', listed, ({ account }, params) => listEvents(account, params)),
  'GET events/:id': route('read', nothing, ({ account }, _, id) => {
    const event = account.events.findLast((known) => known.id === id)
    if (!event) throw resourceMissing('event', id)
    return readEvent(event)
  }),
}
