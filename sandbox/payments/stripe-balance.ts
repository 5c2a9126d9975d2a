import { z } from 'zod'
import { writeLedger } from './ledger.ts'
import type { LedgerEntry } from './ledger.ts'
import { toIsoMinor } from './stripe-amounts.ts'
import { listRoute } from './stripe-lists.ts'
import type { BalanceTransaction, PaymentIntent } from './stripe-objects.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const FEE_SHARE = 0.036
const SETTLES_AFTER_SECONDS = 7 * 24 * 60 * 60

const categories = {
  charge: 'charge',
  refund: 'refund',
  adjustment: 'dispute',
  refund_failure: 'refund_failure',
} as const

type Movement = {
  type: BalanceTransaction['type']
  /** Negative when it leaves the account. */
  amount: number
  currency: string
  source: string
  description?: string | null
}

export function addMovement(work: Work, { type, amount, currency, source, description }: Movement): string {
  const fee = type === 'charge' ? Math.ceil(amount * FEE_SHARE) : 0
  const { balance } = work.account
  balance.set(currency, (balance.get(currency) ?? 0) + amount - fee)
  const transaction: BalanceTransaction = {
    id: createId('txn'),
    object: 'balance_transaction',
    amount,
    available_on: work.at + SETTLES_AFTER_SECONDS,
    created: work.at,
    currency,
    description: description ?? null,
    exchange_rate: null,
    fee,
    net: amount - fee,
    payout: null,
    reporting_category: categories[type],
    source,
    status: 'pending',
    type,
  }
  return addObject(work, transaction, [source]).id
}

/** Writes the money, or the right to it, into the sandbox's own books. */
export function book(work: Work, kind: LedgerEntry['kind'], intent: PaymentIntent, amount: number): void {
  writeLedger(work.stripe.world, {
    provider: 'stripe',
    account: work.account.name,
    kind,
    payment: intent.id,
    reference: referenceOf(work, intent),
    amount: toIsoMinor(amount, intent.currency),
    currency: intent.currency.toUpperCase(),
  })
}

/** What PipeCore calls a payment, or the checkout or subscription it belongs to. */
export function referenceOf({ account }: Work, intent: PaymentIntent): string | null {
  return referenceIn(intent.metadata) ?? account.followers.get(intent.id)?.reference ?? null
}

export function referenceIn(metadata: Record<string, string>): string | null {
  return metadata['pipecore_payment_id'] ?? metadata['pipecore_subscription_id'] ?? null
}

const nothing = z.strictObject({})

export const balanceRoutes: Routes = {
  'GET balance_transactions': listRoute<BalanceTransaction>('balance_transaction', 'balance_transactions', {
    parents: ['source'],
    equals: ['type', 'currency', 'payout'],
  }),
  'GET balance_transactions/:id': route('read', nothing, ({ account }, _, id) =>
    getObject(account, 'balance_transaction', id),
  ),
  'GET balance': route('read', nothing, ({ account }) => ({
    object: 'balance',
    available: [{ amount: 0, currency: 'clp', source_types: { card: 0 } }],
    livemode: account.livemode,
    pending: [...account.balance].map(([currency, amount]) => ({
      amount,
      currency,
      source_types: { card: amount },
    })),
  })),
}
