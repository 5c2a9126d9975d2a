import type { Kysely } from 'kysely'
import type { NotDone, Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import type { Account } from '../accounts.ts'
import { nextRecoveryAt } from '../checks.ts'
import { findChoice } from '../methods/saved-methods.ts'
import { deadlineOf } from '../operation.ts'
import { orAsItStands, tryCall } from '../operations.ts'
import { finishLog, type FinishedCall, timeCall, writeLog } from '../payment-log.ts'
import { readJson } from '../presentation.ts'
import type { MethodChoice, SubscriptionChange, SubscriptionSnapshot } from '../providers/provider.ts'
import { lookAtPayment } from '../recovery.ts'
import { failureFrom } from '../settlement.ts'
import { toSubscriptionCommand, toSubscriptionRef } from './commands.ts'
import type { SubscriptionOperation, WantedChange } from './operation.ts'
import {
  findSubscription,
  lockSubscription,
  type SubscriptionChange as RowChange,
  type SubscriptionRow,
  updateSubscription,
} from './queries.ts'
import { type Applied, applySubscriptionSnapshot } from './subscription-snapshots.ts'
import { saveSubscription } from './transitions.ts'

const dayMs = 24 * 60 * 60 * 1000

type CallResult = { snapshot: SubscriptionSnapshot }

/** A call that is written down and will be made once the transaction has committed. */
export interface SubscriptionCall {
  /** As it was written down. */
  row: SubscriptionRow
  operation: SubscriptionOperation
  account: Account
  run(): Promise<Outcome<CallResult>>
}

export interface NewOperation {
  kind: SubscriptionOperation['kind']
  change?: WantedChange
  /** The call is made again under its key. */
  again?: SubscriptionOperation
}

/** Makes an operation the subscription's one: written down with the caller's transaction, before any call. */
export async function prepareCall(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: { row: SubscriptionRow; account: Account },
  { kind, change, again }: NewOperation,
): Promise<SubscriptionCall> {
  const entry = { subject: row.id, provider: row.provider, action: `${kind}_subscription` }
  const logId = await writeLog(context, db, scope, { ...entry, amount: change?.amount ?? row.amount })
  const operation: SubscriptionOperation = {
    kind,
    // The subscription's own id where there is but one such call, so that a repetition can't become a second one.
    key: again?.key ?? (kind === 'create' ? row.id : logId),
    logId,
    ...(change !== undefined && { change }),
    calledAt: context.now().toISOString(),
    state: 'running',
    round: again === undefined ? 0 : again.round + 1,
  }
  const written = { operation: JSON.stringify(operation), check_at: deadlineOf(context) }
  await updateSubscription(db, row.tenant_id, row.id, written)
  const methodId = kind === 'create' ? row.method_id : change?.methodId
  const method = methodId ? await findChoice(context, db, scope, methodId) : undefined
  const run = async () => callVerb(context, { row, account }, operation, method) ?? notOffered
  return { row: { ...row, ...written }, operation, account, run }
}

function callVerb(
  context: Context,
  { row, account }: { row: SubscriptionRow; account: Account },
  { kind, key, change = {} }: SubscriptionOperation,
  method: MethodChoice | undefined,
): Promise<Outcome<CallResult>> | undefined {
  const { subscriptions } = account.provider
  const ref = toSubscriptionRef(row)
  switch (kind) {
    case 'create':
      return subscriptions?.create(toSubscriptionCommand(context, row, method), account.context)
    case 'cancel':
      return subscriptions?.cancel(ref, key, account.context)
    case 'update': {
      const { amount, paused, cancelAtPeriodEnd } = change
      const wanted: SubscriptionChange = {
        ...(amount !== undefined && { amount }),
        ...(method !== undefined && { method }),
        ...(paused !== undefined && { paused }),
        ...(cancelAtPeriodEnd !== undefined && { cancelAtPeriodEnd }),
        key,
      }
      return subscriptions?.update(ref, wanted, account.context)
    }
  }
}

const notOffered: NotDone = {
  outcome: 'refused',
  error: {
    kind: 'content',
    retry: 'never',
    failover: false,
    message: 'The provider knows no subscriptions.',
  },
}

export interface PerformedCall {
  row: SubscriptionRow | undefined
  outcome: Outcome<CallResult>
}

/** Makes the call and writes down how it ended. */
export async function performCall(
  context: Context,
  scope: TenantScope,
  call: SubscriptionCall,
): Promise<PerformedCall> {
  const ended = await timeCall(
    () => tryCall(call),
    () => call.account.lastAnswer(),
  )
  const follow = () => settle(context, scope, call, ended)
  const row = await orAsItStands(context, scope, call.row, { follow, find: findSubscription })
  return { row, outcome: ended.outcome }
}

type EndedCall = FinishedCall & { outcome: Outcome<CallResult> }

async function settle(
  context: Context,
  scope: TenantScope,
  call: SubscriptionCall,
  ended: EndedCall,
): Promise<SubscriptionRow | undefined> {
  const settled = await context.database.asTenant(scope, (db) => settleCall(context, db, scope, call, ended))
  wakeWork('delivery')
  for (const paymentId of settled?.paymentIds ?? []) await lookAtPayment(context, scope, paymentId, 'request')
  return settled?.row
}

async function settleCall(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row: { id }, operation, account }: SubscriptionCall,
  ended: EndedCall,
): Promise<Applied | undefined> {
  const row = await lockSubscription(db, scope.tenantId, id)
  await finishLog(db, scope, operation.logId, ended)
  if (row === undefined) return undefined
  const { outcome } = ended
  // The janitor may have been faster: then only what this call learnt is new.
  const isOurs = readJson<SubscriptionOperation>(row.operation)?.key === operation.key
  if (outcome.outcome === 'done') {
    const extra = isOurs ? { operation: null, ...columnsOf(operation.change) } : {}
    return applySubscriptionSnapshot(context, db, scope, { row, account }, outcome.snapshot, extra)
  }
  if (!isOurs) return { row, paymentIds: [] }
  const change =
    outcome.outcome === 'refused'
      ? refusedChange(context, operation, outcome)
      : unknownChange(context, row, operation)
  return { row: await saveSubscription(context, db, scope, row, change), paymentIds: [] }
}

/** What the provider does not say of itself: which of our methods it charges. */
function columnsOf(change: WantedChange | undefined): RowChange {
  return change?.methodId === undefined ? {} : { method_id: change.methodId }
}

/** A subscription that was never made is over; any other is read again. */
function refusedChange(context: Context, { kind }: SubscriptionOperation, { error }: NotDone): RowChange {
  if (kind !== 'create') return { operation: null, check_at: context.now() }
  return { operation: null, check_at: null, status: 'expired', failure: JSON.stringify(failureFrom(error)) }
}

/** Nobody knows yet what became of the call: when to look for it. */
export function unknownChange(
  context: Context,
  row: SubscriptionRow,
  operation: SubscriptionOperation,
): RowChange {
  const now = context.now()
  const left: SubscriptionOperation = { ...operation, state: 'unknown' }
  return {
    operation: JSON.stringify(left),
    check_at: nextRecoveryAt(operation.round, now) ?? new Date(now.getTime() + dayMs),
    ...(operation.kind === 'create' && row.status === 'pending' && { status: 'unknown' as const }),
  }
}
