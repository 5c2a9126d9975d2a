import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { Account } from '../accounts.ts'
import { toRow } from '../payments.ts'
import type { SubscriptionCharge } from '../providers/provider.ts'
import { findPaymentBy, insertPayment } from '../queries.ts'
import { toPaymentInput } from './commands.ts'
import { type ChargeRow, insertCharge, listChargesBy, type SubscriptionRow, updateCharge } from './queries.ts'
import type { ChargeStep } from './transitions.ts'

export interface MergedCharges {
  steps: ChargeStep[]
  /** Payments made for charges that were paid: each has to be read at the provider now. */
  paymentIds: string[]
  /** Since when the oldest charge that is not over waits. */
  openSince: Date | undefined
}

/** Brings our charges in line with what the provider lists, and says what became of them since we looked last. */
export async function mergeCharges(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: { row: SubscriptionRow; account: Account },
  seen: readonly SubscriptionCharge[],
): Promise<MergedCharges> {
  const ids = seen.map(({ providerChargeId }) => providerChargeId)
  const known = await listChargesBy(db, row.tenant_id, row.id, ids)
  const merged: MergedCharges = { steps: [], paymentIds: [], openSince: undefined }
  for (const one of seen) {
    const before = known.find((charge) => charge.provider_charge_id === one.providerChargeId)
    const after = toCharge(row, one, before, context.now())
    if (after.status === 'paid' && after.payment_id === null && one.providerPaymentId !== undefined) {
      const payment = await requirePayment(context, db, scope, { row, account }, one, one.providerPaymentId)
      after.payment_id = payment.id
      if (payment.isNew) merged.paymentIds.push(payment.id)
    }
    if (before === undefined) await insertCharge(db, after)
    else await updateCharge(db, before, after)
    const step = stepBetween(before, after)
    if (step !== undefined) merged.steps.push(step)
    if (after.status === 'scheduled' || after.status === 'retrying') merged.openSince ??= after.created_at
  }
  return merged
}

function toCharge(
  row: SubscriptionRow,
  seen: SubscriptionCharge,
  before: ChargeRow | undefined,
  now: Date,
): ChargeRow {
  const isPaid = seen.status === 'paid' || before?.status === 'paid'
  return {
    tenant_id: row.tenant_id,
    subscription_id: row.id,
    provider_charge_id: seen.providerChargeId,
    status: isPaid ? 'paid' : seen.status,
    amount: seen.amount,
    currency: seen.currency,
    period_start: seen.periodStart ?? before?.period_start ?? null,
    period_end: seen.periodEnd ?? before?.period_end ?? null,
    payment_id: before?.payment_id ?? null,
    is_first: seen.isFirst,
    attempt: Math.max(seen.attempt ?? 1, before?.attempt ?? 1),
    failure: isPaid || seen.failure === undefined ? null : JSON.stringify(seen.failure),
    created_at: before?.created_at ?? now,
    updated_at: now,
  }
}

/** What costs nothing, such as a trial, is no charge to tell of. */
function stepBetween(before: ChargeRow | undefined, after: ChargeRow): ChargeStep | undefined {
  if (after.amount === 0) return undefined
  if (after.status === 'paid')
    return before?.status === 'paid' ? undefined : { became: 'paid', charge: after }
  if (!isFailing(after)) return undefined
  const isTold = before !== undefined && isFailing(before) && after.attempt <= before.attempt
  return isTold ? undefined : { became: 'failed', charge: after }
}

function isFailing({ status }: ChargeRow): boolean {
  return status === 'retrying' || status === 'failed'
}

/** The money of a period is a payment like any other: it is told, and can be refunded. */
async function requirePayment(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: { row: SubscriptionRow; account: Account },
  { amount }: SubscriptionCharge,
  providerPaymentId: string,
): Promise<{ id: string; isNew: boolean }> {
  const known = await findPaymentBy(db, row.tenant_id, row.provider, { providerPaymentId })
  if (known !== undefined) return { id: known.id, isNew: false }
  const payment = {
    ...toRow(context, scope, toPaymentInput(row, amount), account),
    flow: 'direct' as const,
    provider_payment_id: providerPaymentId,
    check_at: context.now(),
  }
  await insertPayment(db, payment)
  return { id: payment.id, isNew: true }
}
