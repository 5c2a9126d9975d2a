import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { PreparedCall } from '../operations.ts'
import { readJson } from '../presentation.ts'
import type { Failure } from '../providers/provider.ts'
import { findPayment } from '../queries.ts'
import { isWithoutMoney } from '../status.ts'
import { isEnded } from './checks.ts'
import { toCycle } from './commands.ts'
import { countDeclines, type FailedTry, planNextTry } from './dunning.ts'
import { firstPeriodFrom } from './periods.ts'
import { type ChargeRow, listTries, type SubscriptionRow, updateCharge } from './queries.ts'
import { saveSubscription } from './transitions.ts'

const secondMs = 1000
const hourMs = 3600 * secondMs

export interface Step {
  row: SubscriptionRow
  /** A charge to make once this has committed. */
  call?: PreparedCall
  /** Nothing more is to be done now. */
  isLast: boolean
}

export function findPaymentOf(db: Kysely<Tables>, { tenant_id: tenantId, payment_id: id }: ChargeRow) {
  return id === null ? undefined : findPayment(db, tenantId, id)
}

const noReason: Failure = { code: 'unknown_reason', providerCode: 'none', retry: 'same' }

export function toFailedTry(charge: ChargeRow): FailedTry {
  return { failure: readJson<Failure>(charge.failure) ?? noReason, endedAt: charge.updated_at }
}

/** A charge ends with its payment, however long that takes. */
export async function settleCharge(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  charge: ChargeRow,
): Promise<Step> {
  const payment = await findPaymentOf(db, charge)
  if (payment?.status === 'confirmed') return settlePaid(context, db, scope, row, charge)
  if (payment !== undefined && isWithoutMoney(payment.status)) {
    const failure = readJson<Failure>(payment.failure) ?? noReason
    // A method that came meanwhile is not to blame, and is tried at once.
    const isBlamed = payment.method_id === row.method_id
    return settleFailed(context, db, scope, row, charge, { failure, isBlamed })
  }
  const now = context.now()
  const waitMs = Math.min(Math.max((now.getTime() - charge.created_at.getTime()) / 2, 5 * secondMs), hourMs)
  const change = { check_at: new Date(now.getTime() + waitMs) }
  return { row: await saveSubscription(context, db, scope, row, change), isLast: true }
}

export async function settlePaid(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  charge: ChargeRow,
): Promise<Step> {
  const settled = { status: 'paid' as const, failure: null, updated_at: context.now() }
  await updateCharge(db, charge, settled)
  const { period_start: start, period_end: end } = charge
  const { number } = firstPeriodFrom(toCycle(row), start ?? row.anchor)
  const isCurrent = number > row.periods
  const change = {
    ...(isCurrent && {
      periods: number,
      period_start: start,
      period_end: end,
      failed_attempts: 0,
      failure: null,
    }),
    ...(isCurrent && isCharged(row) && { status: 'active' as const }),
    check_at: context.now(),
  }
  const steps = [{ became: 'paid' as const, charge: { ...charge, ...settled } }]
  return { row: await saveSubscription(context, db, scope, row, change, steps), isLast: false }
}

/** Neither ended nor paused while the charge was under way. */
function isCharged({ status }: SubscriptionRow): boolean {
  return !isEnded(status) && status !== 'paused'
}

export async function settleFailed(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  charge: ChargeRow,
  { failure, isBlamed }: { failure: Failure; isBlamed: boolean },
): Promise<Step> {
  const now = context.now()
  const text = JSON.stringify(failure)
  const earlier = await listTries(db, row.tenant_id, row.id, charge.period_start ?? row.anchor)
  const tries = earlier.map((one) =>
    one.attempt === charge.attempt ? { failure, endedAt: now } : toFailedTry(one),
  )
  const plan = planNextTry(tries)
  const goesOn = plan.does === 'try' && isCharged(row) && row.status !== 'pending'
  const settled = {
    status: goesOn ? ('retrying' as const) : ('failed' as const),
    failure: text,
    updated_at: now,
  }
  await updateCharge(db, charge, settled)
  const change = {
    status: statusAfterFailure(row, tries),
    failed_attempts: tries.length,
    failure: isBlamed ? text : null,
    check_at: now,
  }
  const nextAttemptAt = goesOn ? plan.at : undefined
  const steps = [{ became: 'failed' as const, charge: { ...charge, ...settled }, nextAttemptAt }]
  return { row: await saveSubscription(context, db, scope, row, change, steps), isLast: false }
}

function statusAfterFailure(row: SubscriptionRow, tries: readonly FailedTry[]): SubscriptionRow['status'] {
  if (row.status === 'pending') return 'expired'
  return isCharged(row) && countDeclines(tries).at(-1) === tries.at(-1) ? 'past_due' : row.status
}
