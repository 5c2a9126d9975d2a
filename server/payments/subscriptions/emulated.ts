import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { wakeWork } from '#jobs'
import { deadlineOf } from '../operation.ts'
import { type PreparedCall } from '../operations.ts'
import { storePayment } from '../payments.ts'
import type { Failure } from '../providers/provider.ts'
import { runOperation } from '../recovery.ts'
import { isEnded } from './checks.ts'
import { toCycle, toPaymentInput } from './commands.ts'
import { writeDecision } from './decisions.ts'
import { planNextTry } from './dunning.ts'
import { type Period, periodOf } from './periods.ts'
import {
  type ChargeRow,
  findChargeUnderWay,
  insertCharge,
  listTries,
  lockSubscription,
  type SubscriptionRow,
} from './queries.ts'
import {
  findPaymentOf,
  settleCharge,
  settleFailed,
  settlePaid,
  type Step,
  toFailedTry,
} from './settlement.ts'
import { saveSubscription } from './transitions.ts'

/** Periods charged in one go; what is left over is due at once. */
const mostCharges = 12

/**
 * Charges what is due of a subscription that its provider knows nothing of. A charge and its payment are stored
 * together, under the subscription's lock, before the provider is called: a period is charged again only after
 * its last payment has certainly ended without money.
 */
export async function chargeWhatIsDue(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<SubscriptionRow | undefined> {
  for (let charges = 0; ;) {
    const step = await context.database.asTenant(scope, (db) =>
      takeStep(context, db, scope, id, charges < mostCharges),
    )
    wakeWork('delivery')
    if (step?.call !== undefined) {
      charges += 1
      await runOperation(context, scope, step.call)
    } else if (step?.isLast !== false) return step?.row
  }
}

async function takeStep(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
  mayCharge: boolean,
): Promise<Step | undefined> {
  const row = await lockSubscription(db, scope.tenantId, id)
  if (row === undefined) return undefined
  const underWay = await findChargeUnderWay(db, scope.tenantId, id)
  if (underWay !== undefined) return settleCharge(context, db, scope, row, underWay)
  if (row.status === 'pending' && row.trial_end !== null) {
    const trial = { status: 'trialing' as const, period_start: row.created_at, period_end: row.trial_end }
    return { row: await saveSubscription(context, db, scope, row, trial), isLast: false }
  }
  const due = await findDue(db, row)
  const now = context.now()
  if (due === undefined || due.at > now || !mayCharge) {
    const checkAt = due === undefined ? null : due.at > now ? due.at : now
    return { row: await saveSubscription(context, db, scope, row, { check_at: checkAt }), isLast: true }
  }
  switch (due.does) {
    case 'end':
      return { row: await end(context, db, scope, row), isLast: true }
    case 'settle':
      return settlePaid(context, db, scope, row, due.charge)
    case 'charge':
      return beginCharge(context, db, scope, row, due)
  }
}

type Due = { at: Date } & (
  | { does: 'charge'; period: Period; tries: readonly ChargeRow[] }
  /** Money came in after all. */
  | { does: 'settle'; charge: ChargeRow }
  | { does: 'end' }
)

/** What comes next, and when; undefined when nothing does. */
async function findDue(db: Kysely<Tables>, row: SubscriptionRow): Promise<Due | undefined> {
  if (isEnded(row.status)) return undefined
  if (row.status === 'paused') {
    return row.cancel_at_period_end && row.period_end !== null
      ? { does: 'end', at: row.period_end }
      : undefined
  }
  const period = periodOf(toCycle(row), row.periods + 1)
  const tries = await listTries(db, row.tenant_id, row.id, period.start)
  const last = tries.at(-1)
  const charge = { does: 'charge' as const, at: period.start, period, tries }
  if (last === undefined) return row.cancel_at_period_end ? { does: 'end', at: period.start } : charge
  for (const one of tries) {
    if ((await findPaymentOf(db, one))?.status === 'confirmed') {
      return { does: 'settle', at: period.start, charge: one }
    }
  }
  // A new method wipes the failure of the one before, and is tried at once.
  if (row.failure === null) return charge
  const next = planNextTry(tries.map(toFailedTry))
  return next.does === 'try' ? { ...charge, at: next.at } : { does: 'end', at: next.at }
}

async function end(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
): Promise<SubscriptionRow> {
  const isOwed = row.status === 'past_due'
  const note = isOwed
    ? 'No try to charge the period succeeded: it ends.'
    : 'Its last period is over: it ends.'
  await writeDecision(context, db, scope, row, note)
  return saveSubscription(context, db, scope, row, { status: 'canceled', check_at: null })
}

async function beginCharge(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  { period, tries }: Extract<Due, { does: 'charge' }>,
): Promise<Step> {
  const now = context.now()
  const attempt = tries.length + 1
  const amount = tries[0]?.amount ?? row.amount
  const key = `period ${period.number} attempt ${attempt}`
  await writeDecision(context, db, scope, row, `Charges ${key}, from ${period.start.toISOString()}.`)
  const stored = await storeCharge(context, db, scope, row, amount)
  const charge: ChargeRow = {
    tenant_id: row.tenant_id,
    subscription_id: row.id,
    provider_charge_id: key,
    status: 'scheduled',
    amount,
    currency: row.currency,
    period_start: period.start,
    period_end: period.end,
    payment_id: 'call' in stored ? stored.call.payment.id : null,
    is_first: period.number === 1,
    attempt,
    failure: null,
    created_at: now,
    updated_at: now,
  }
  await insertCharge(db, charge)
  if ('failure' in stored) {
    return settleFailed(context, db, scope, row, charge, { failure: stored.failure, isBlamed: true })
  }
  const saved = await saveSubscription(context, db, scope, row, { check_at: deadlineOf(context) })
  return { row: saved, call: stored.call, isLast: false }
}

/** What can't even be asked of the provider, such as with a removed method, is a failed try as well. */
async function storeCharge(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  amount: number,
): Promise<{ call: PreparedCall } | { failure: Failure }> {
  try {
    return { call: await storePayment(context, db, scope, toPaymentInput(row, amount)) }
  } catch (error) {
    if (!(error instanceof PipeError) || error.status >= 500) throw error
    const isMethod = error.code === 'method_unusable' || error.code === 'payment_method_not_found'
    return {
      failure: isMethod
        ? { code: 'method_unavailable', providerCode: error.code, retry: 'never' }
        : { code: 'provider_refused', providerCode: error.code, retry: 'same' },
    }
  }
}
