import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { Account } from '../accounts.ts'
import type { Failure, SubscriptionSnapshot, SubscriptionStatus } from '../providers/provider.ts'
import { mergeCharges } from './charges.ts'
import { isEnded, nextLookAt } from './checks.ts'
import type { SubscriptionChange, SubscriptionRow } from './queries.ts'
import { saveSubscription } from './transitions.ts'

export interface Applied {
  row: SubscriptionRow
  /** Payments that have to be read at the provider once this has committed. */
  paymentIds: readonly string[]
}

/**
 * Brings a subscription in line with what its provider says and tells what changed, each change once: whoever saw
 * it first has moved the row, which the caller holds locked. `extra` is written along.
 */
export async function applySubscriptionSnapshot(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: { row: SubscriptionRow; account: Account },
  snapshot: SubscriptionSnapshot,
  extra: SubscriptionChange = {},
): Promise<Applied> {
  const charges = await mergeCharges(context, db, scope, { row, account }, snapshot.charges)
  const paid = charges.steps.filter(({ became }) => became === 'paid').length
  const change = { ...changeOf(row, snapshot), periods: row.periods + paid, ...extra }
  const next = { ...row, ...change } as SubscriptionRow
  // What was due for an operation stays due while it has no end.
  if (next.operation === null) change.check_at = nextLookAt(next, charges.openSince, context.now())
  const saved = await saveSubscription(context, db, scope, row, change, charges.steps)
  return { row: saved, paymentIds: charges.paymentIds }
}

function changeOf(row: SubscriptionRow, snapshot: SubscriptionSnapshot): SubscriptionChange {
  const status = statusAfter(row.status, snapshot.status)
  return {
    status,
    provider_subscription_id: snapshot.providerSubscriptionId,
    amount: snapshot.amount ?? row.amount,
    period_start: snapshot.currentPeriodStart ?? row.period_start,
    period_end: snapshot.currentPeriodEnd ?? row.period_end,
    trial_end: snapshot.trialEnd ?? row.trial_end,
    cancel_at_period_end: snapshot.cancelAtPeriodEnd ?? row.cancel_at_period_end,
    action: status !== 'pending' ? null : snapshot.action ? JSON.stringify(snapshot.action) : row.action,
    failure: failureOf(row, snapshot, status),
    // The provider has made of it what it needs.
    method_token: null,
    ...(snapshot.details !== undefined && {
      details: JSON.stringify({ ...JSON.parse(row.details), ...snapshot.details }),
    }),
  }
}

/** What ended stays so, what began does not wait again, and a word that nobody knows changes nothing. */
function statusAfter(current: SubscriptionStatus, seen: SubscriptionStatus): SubscriptionStatus {
  const isWaiting = current === 'pending' || current === 'unknown'
  if (isEnded(current) || seen === 'unknown' || (seen === 'pending' && !isWaiting)) return current
  return seen
}

function failureOf(
  row: SubscriptionRow,
  { failure, charges }: SubscriptionSnapshot,
  status: SubscriptionStatus,
): string | null {
  if (status === 'active' || status === 'trialing') return null
  const told: Failure | undefined = failure ?? charges.at(-1)?.failure
  return told === undefined ? row.failure : JSON.stringify(told)
}
