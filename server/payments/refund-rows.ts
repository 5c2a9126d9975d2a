import type { Kysely } from 'kysely'
import type { Tables } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import type { PaymentSnapshot, RefundSnapshot } from './providers/provider.ts'
import { insertRefund, type PaymentRow, type RefundRow, updateRefund } from './queries.ts'

/** Ids of refunds of which the provider tells only the sum. */
const madeUp = 'made_'

export interface RefundStep {
  refund: RefundRow
  /** Of the refund itself: `refund.created`, `refund.succeeded` … */
  type: string
}

interface Sight {
  refunds: readonly RefundRow[]
  snapshot: PaymentSnapshot
  running: string | undefined
}

export interface MergedRefunds {
  /** Being asked for right now: its own call will name it. */
  running?: string | undefined
  refunds: RefundRow[]
  /** What happened, in order. */
  steps: RefundStep[]
}

/** Brings our refunds in line with what the provider says: its list where it keeps one, else the sum. */
export async function mergeRefunds(
  db: Kysely<Tables>,
  payment: PaymentRow,
  { refunds, snapshot, running }: Sight,
  now: Date,
): Promise<MergedRefunds> {
  const merged: MergedRefunds = { refunds: [...refunds], steps: [], running }
  const seen = snapshot.refunds ?? refundsFromSum(refunds, snapshot.refunded)
  for (const one of seen) await mergeRefund(db, payment, merged, one, now)
  return merged
}

/** Sum of what was given back. */
export function sumRefunded(refunds: readonly RefundRow[]): number {
  return sum(refunds.filter(({ status }) => status === 'succeeded'))
}

/** What is given back or may still be: no second refund may spend it. */
export function sumSpoken(refunds: readonly RefundRow[]): number {
  return sum(refunds.filter(({ status }) => status !== 'failed' && status !== 'canceled'))
}

function sum(refunds: readonly RefundRow[]): number {
  return refunds.reduce((total, { amount }) => total + amount, 0)
}

/** A provider without a list tells only how much is gone: first it is what we asked for, the rest was done elsewhere. */
export function refundsFromSum(refunds: readonly RefundRow[], refunded: number): RefundSnapshot[] {
  let missing = refunded - sumRefunded(refunds)
  const found: RefundSnapshot[] = []
  for (const { id, amount, status } of refunds) {
    if ((status !== 'pending' && status !== 'unknown') || amount > missing) continue
    missing -= amount
    found.push({ providerRefundId: `${madeUp}${id}`, refundId: id, amount, status: 'succeeded' })
  }
  if (missing > 0) {
    found.push({ providerRefundId: `found_at_${refunded}`, amount: missing, status: 'succeeded' })
  }
  return found
}

/** One refund as the provider tells it: known by its id, by ours, or as the open one of the same amount. */
export async function mergeRefund(
  db: Kysely<Tables>,
  payment: PaymentRow,
  merged: MergedRefunds,
  seen: RefundSnapshot,
  now: Date,
): Promise<void> {
  const known =
    merged.refunds.find((row) => row.provider_refund_id === seen.providerRefundId) ??
    merged.refunds.find((row) => row.id === seen.refundId && mayBe(row, seen)) ??
    merged.refunds.find(
      (row) =>
        seen.refundId === undefined &&
        row.id !== merged.running &&
        row.provider_refund_id === null &&
        row.amount === seen.amount &&
        row.status !== 'failed',
    )
  if (known === undefined && mayBeRunning(merged, seen)) return
  if (known === undefined) {
    const row = foundRefund(payment, seen, now)
    await insertRefund(db, row)
    merged.refunds.push(row)
    merged.steps.push({ refund: row, type: 'refund.created' })
    if (row.status !== 'pending' && row.status !== 'unknown') {
      merged.steps.push({ refund: row, type: `refund.${row.status}` })
    }
    return
  }
  const moves =
    seen.status !== 'unknown' && seen.status !== known.status && mayMove(known.status, seen.status)
  const isSame = known.provider_refund_id === seen.providerRefundId && known.amount === seen.amount
  if (!moves && isSame) return
  const change = {
    provider_refund_id: isMadeUp(seen.providerRefundId)
      ? (known.provider_refund_id ?? seen.providerRefundId)
      : seen.providerRefundId,
    // What was given back is what the provider says, whatever was asked for.
    amount: seen.amount,
    ...(seen.kind !== undefined && { kind: seen.kind }),
    ...(moves && {
      status: seen.status,
      failure: seen.failure === undefined ? null : JSON.stringify(seen.failure),
      settled_at: seen.status === 'pending' ? null : now,
    }),
  }
  await updateRefund(db, payment.tenant_id, known.id, change)
  const row = { ...known, ...change }
  merged.refunds[merged.refunds.indexOf(known)] = row
  if (moves && row.status !== 'pending') merged.steps.push({ refund: row, type: `refund.${row.status}` })
}

const isMadeUp = (id: string | null) => id?.startsWith(madeUp) !== false

/** A refund of ours that comes back under our own id; a made-up id of the provider's stands for the real one. */
export function mayBe(row: RefundRow, seen: RefundSnapshot): boolean {
  return isMadeUp(row.provider_refund_id) || isMadeUp(seen.providerRefundId)
}

/** It may be the one that is being asked for: the end of that call, or the look after it, says whose it is. */
function mayBeRunning({ refunds, running }: MergedRefunds, seen: RefundSnapshot): boolean {
  if (seen.refundId !== undefined || running === undefined) return false
  return refunds.some((row) => row.id === running && row.amount === seen.amount)
}

/** A bank may still send a refund back; nothing else undoes an end. */
export function mayMove(from: RefundRow['status'], to: RefundRow['status']): boolean {
  if (from === 'pending' || from === 'unknown') return true
  return (from === 'succeeded' && to === 'failed') || (from === 'failed' && to === 'succeeded')
}

function foundRefund(payment: PaymentRow, seen: RefundSnapshot, now: Date): RefundRow {
  return {
    id: createId('rfd', now),
    tenant_id: payment.tenant_id,
    payment_id: payment.id,
    provider_refund_id: seen.providerRefundId,
    amount: seen.amount,
    status: seen.status,
    kind: seen.kind ?? 'refund',
    reason: null,
    reference: null,
    source: 'provider',
    failure: seen.failure === undefined ? null : JSON.stringify(seen.failure),
    created_at: now,
    settled_at: seen.status === 'pending' ? null : now,
  }
}
