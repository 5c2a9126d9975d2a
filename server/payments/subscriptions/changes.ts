import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { wakeWork } from '#jobs'
import { type Account, openAccount } from '../accounts.ts'
import { providerRefused } from '../changes.ts'
import { openMethod } from '../methods/saved-methods.ts'
import { isEnded } from './checks.ts'
import { toCycle } from './commands.ts'
import { lookAfterChange } from './look.ts'
import type { WantedChange } from './operation.ts'
import { performCall, prepareCall, type SubscriptionCall } from './operations.ts'
import { firstPeriodFrom, periodOf } from './periods.ts'
import { presentSubscription } from './presentation.ts'
import { lockSubscription, type SubscriptionChange as RowChange, type SubscriptionRow } from './queries.ts'
import type { Subscription, SubscriptionPatch } from './schema.ts'
import { findAmountFaults } from './subscriptions.ts'
import { saveSubscription } from './transitions.ts'

const firstPollMs = 40
const longestPollMs = 500
const patienceMs = 8_000

/**
 * Changes what is charged from the next period on, with what, and whether at all.
 * @throws PipeError 404, 409 `subscription_state`, `subscription_busy`, `provider_refused`, 422 `request_invalid`
 */
export async function updateSubscription(
  context: Context,
  scope: TenantScope,
  id: string,
  patch: SubscriptionPatch,
): Promise<Subscription> {
  return changeSubscription(context, scope, id, async (db, row) => {
    const wanted = findDifference(row, patch)
    if (Object.keys(wanted).length === 0) return { row }
    const account = await openAccount(context, db, scope, row)
    refuseByState(row, wanted)
    await refuseByProvider(context, db, scope, { row, account }, wanted)
    if (row.mode === 'native') {
      const change = { kind: 'update' as const, change: wanted }
      return { call: await prepareCall(context, db, scope, { row, account }, change) }
    }
    const saved = await saveSubscription(context, db, scope, row, changeOf(context, row, wanted))
    return { row: saved, isDue: true }
  })
}

/** Ends a subscription at once; what was paid stays paid. @throws PipeError 404, 409 `subscription_busy` */
export async function cancelSubscription(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<Subscription> {
  return changeSubscription(context, scope, id, async (db, row) => {
    if (isEnded(row.status)) return { row }
    if (row.mode === 'native') {
      const account = await openAccount(context, db, scope, row)
      return { call: await prepareCall(context, db, scope, { row, account }, { kind: 'cancel' }) }
    }
    const change = { status: 'canceled' as const }
    return { row: await saveSubscription(context, db, scope, row, change), isDue: true }
  })
}

interface Begun {
  row?: SubscriptionRow
  /** What the change made due, such as a charge with the new method, is done before the answer. */
  isDue?: boolean
  call?: SubscriptionCall
}

/** One change at a time: others wait for its end. */
async function changeSubscription(
  context: Context,
  scope: TenantScope,
  id: string,
  begin: (db: Kysely<Tables>, row: SubscriptionRow) => Promise<Begun>,
): Promise<Subscription> {
  const deadline = performance.now() + patienceMs
  for (let pollMs = firstPollMs; ; pollMs = Math.min(pollMs * 1.5, longestPollMs)) {
    const begun = await context.database.asTenant(scope, async (db) => {
      const row = await lockSubscription(db, scope.tenantId, id)
      if (row === undefined) throw notFound('subscription', id)
      return row.operation === null ? begin(db, row) : undefined
    })
    if (begun !== undefined) return presentSubscription(await finishChange(context, scope, id, begun))
    if (performance.now() > deadline) throw busy()
    await sleep(pollMs)
  }
}

async function finishChange(
  context: Context,
  scope: TenantScope,
  id: string,
  { row, isDue = false, call }: Begun,
): Promise<SubscriptionRow> {
  wakeWork('delivery')
  const current = call === undefined ? row : await makeCall(context, scope, call)
  const seen = isDue && current ? await lookAfterChange(context, scope, current, 'request') : current
  if (seen === undefined) throw notFound('subscription', id)
  return seen
}

/** A refused change leaves nothing behind to read: it is told at once, unless it was made already. */
async function makeCall(
  context: Context,
  scope: TenantScope,
  call: SubscriptionCall,
): Promise<SubscriptionRow | undefined> {
  const { row, outcome } = await performCall(context, scope, call)
  if (outcome.outcome !== 'refused') return row
  const wasState = outcome.error.kind === 'state'
  const seen = wasState ? await lookAfterChange(context, scope, row ?? call.row, 'call') : row
  if (call.operation.kind === 'cancel' && seen !== undefined && isEnded(seen.status)) return seen
  throw providerRefused(outcome)
}

function busy(): PipeError {
  const text =
    'Another call about this subscription has no known end yet; see under_way. It is looked up; try again in a while.'
  return new PipeError('subscription_busy', 409, text, { retryAfterSeconds: 10 })
}

/** Only what is not so already. */
function findDifference(row: SubscriptionRow, patch: SubscriptionPatch): WantedChange {
  const { amount, method_id: methodId, paused, cancel_at_period_end: cancelAtPeriodEnd } = patch
  return {
    ...(amount !== undefined && amount !== row.amount && { amount }),
    ...(methodId !== undefined && methodId !== row.method_id && { methodId }),
    ...(paused !== undefined && paused !== (row.status === 'paused') && { paused }),
    ...(cancelAtPeriodEnd !== undefined &&
      cancelAtPeriodEnd !== row.cancel_at_period_end && { cancelAtPeriodEnd }),
  }
}

function refuseByState({ status }: SubscriptionRow, { paused }: WantedChange): void {
  const isBegun = status !== 'pending' && status !== 'unknown' && !isEnded(status)
  const mayPause = status === 'active' || status === 'trialing'
  if (isBegun && (paused !== true || mayPause)) return
  const verb = isBegun ? 'paused' : 'changed'
  const text = `This subscription is ${status.replaceAll('_', ' ')} and can't be ${verb}.`
  throw new PipeError('subscription_state', 409, text)
}

async function refuseByProvider(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: { row: SubscriptionRow; account: Account },
  { amount, methodId }: WantedChange,
): Promise<void> {
  const errors = amount === undefined ? [] : findAmountFaults(amount, row.currency, account.provider)
  if (methodId !== undefined) {
    const method = await openMethod(context, db, scope, methodId)
    const owner = await openAccount(context, db, scope, method.row)
    if (owner.connectionId !== account.connectionId) {
      const message = `was saved at another account than the subscription's, at ${account.provider.title}`
      errors.push({ field: 'method_id', message })
    }
  }
  if (errors.length > 0) throw invalidRequest('The subscription can not be changed so; see errors.', errors)
}

/** A change of what PipeCore charges by itself. */
function changeOf(
  context: Context,
  row: SubscriptionRow,
  { amount, methodId, paused, cancelAtPeriodEnd }: WantedChange,
): RowChange {
  return {
    ...(amount !== undefined && { amount }),
    // Without the failure of the method before, what is owed is tried with this one at once.
    ...(methodId !== undefined && { method_id: methodId, failure: null }),
    ...(cancelAtPeriodEnd !== undefined && { cancel_at_period_end: cancelAtPeriodEnd }),
    ...(paused === true && { status: 'paused' as const }),
    ...(paused === false && resume(context, row)),
  }
}

/** The date ran on while it was paused: periods that began meanwhile are not charged any more. */
function resume(context: Context, row: SubscriptionRow): RowChange {
  const now = context.now()
  if (row.trial_end !== null && row.trial_end > now) return { status: 'trialing' }
  const cycle = toCycle(row)
  const missed = firstPeriodFrom(cycle, now).number - 1
  if (missed <= row.periods) return { status: 'active' }
  const { start, end } = periodOf(cycle, missed)
  return { status: 'active', periods: missed, period_start: start, period_end: end }
}
