import { z } from 'zod'
import { readInput } from '../control-call.ts'
import type { ControlCalls } from '../control-call.ts'
import { limitOf } from '../control-lists.ts'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import type { Site } from '../site.ts'
import type { World } from '../world.ts'
import type { LedgerEntry } from './ledger.ts'
import { addPaymentFault, paymentFaults, paymentOperations } from './payment-faults.ts'
import { paymentProviderIds } from './simulator.ts'

/** What the control API can do with payments. */
export const paymentCalls: ControlCalls = {
  'POST pay': {
    does: '{provider, id, choice, …}: what a customer does on the pay page; answers where the browser goes next',
    run: async ({ site, call }) => {
      const { provider, ...input } = paySchema.parse(readInput(call))
      return replyJson(200, await site.payments[provider].pay(input))
    },
  },
  'POST act': {
    does: '{provider, action, …}: what a person does at the provider, such as a refund in its dashboard',
    run: async ({ site, call }) => {
      const { provider, action, ...input } = actSchema.parse(readInput(call))
      return replyJson(200, await site.payments[provider].act(action, input))
    },
  },
  'GET pay': {
    does: '?limit=: pay pages on which a customer could act now, newest first',
    run: ({ site, call }) => replyJson(200, { pages: listOpenPages(site, limitOf(call.query)) }),
  },
  'GET ledger': {
    does: '?provider=&reference=&account=&limit=: the providers’ own books, and their totals per reference',
    run: ({ site, call }) => answerLedger(site.world, call.query),
  },
  'GET payment-faults': {
    does: 'rules in force, all payment faults by name, operations',
    run: ({ site }) => {
      const { paymentFaults: rules } = site.world
      return replyJson(200, { rules, names: paymentFaults, operations: paymentOperations })
    },
  },
  'POST payment-faults': {
    does: '{provider, fault, operation?, reference?, times?, chance?, after_ms?, retry_after?}',
    run: ({ site, call }) => replyJson(201, addPaymentFault(site.world, readInput(call))),
  },
  'DELETE payment-faults': {
    does: 'ends all rules, or /<id>',
    run: ({ site: { world }, first }) => {
      world.paymentFaults = first === undefined ? [] : world.paymentFaults.filter(({ id }) => id !== first)
      return replyJson(200, { rules: world.paymentFaults })
    },
  },
}

const paySchema = z.looseObject({ provider: z.enum(paymentProviderIds) })
const actSchema = z.looseObject({ provider: z.enum(paymentProviderIds), action: z.string() })

/** Newest first, over all providers. */
export function listOpenPages({ payments }: Site, limit: number) {
  return Object.values(payments)
    .flatMap((simulator) => simulator.listOpenPages(limit))
    .toSorted((a, b) => b.at.localeCompare(a.at))
    .slice(0, limit)
}

/** Newest last. Totals are over everything that matches, not only over what is listed. */
function answerLedger(world: World, query: URLSearchParams): Reply {
  const fields = ['provider', 'reference', 'account'] as const
  const asked = fields.filter((field) => query.has(field))
  const wanted = world.ledger.filter((entry) => asked.every((field) => entry[field] === query.get(field)))
  const entries = wanted.slice(-limitOf(query))
  return replyJson(200, { total: wanted.length, totals: sumUp(wanted), entries })
}

type Totals = {
  authorized: number
  charged: number
  refunded: number
  voided: number
  charges: number
  refunds: number
}

function sumUp(entries: LedgerEntry[]): Record<string, Totals> {
  const totals = new Map<string, Totals>()
  for (const { reference, kind, amount } of entries) {
    if (reference === null) continue
    const sums = totals.get(reference) ?? startTotals()
    totals.set(reference, sums)
    sums[sumOf[kind]] += amount
    if (kind === 'charge') sums.charges += 1
    if (kind === 'refund') sums.refunds += 1
  }
  return Object.fromEntries(totals)
}

const sumOf = { authorization: 'authorized', charge: 'charged', refund: 'refunded', void: 'voided' } as const

function startTotals(): Totals {
  return { authorized: 0, charged: 0, refunded: 0, voided: 0, charges: 0, refunds: 0 }
}
