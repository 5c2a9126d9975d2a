import { writeAmount } from './money.ts'
import type { PaymentSnapshot, PaymentStatus, RefundSnapshot } from './providers/provider.ts'
import type { PaymentRow, RefundRow } from './queries.ts'
import { mayMove, refundsFromSum, mayBe } from './refund-rows.ts'
import { advances, isWithoutMoney } from './status.ts'

/** A way in which a provider has a payment otherwise than we knew it. */
export interface Drift {
  drift: 'refund_outside' | 'status_moved' | 'amount_differs' | 'paid_twice'
  /** In words: what we had, and what is there. */
  known: string
  found: string
  /** Applying the snapshot brings ours in line; the rest is for a person. */
  mends: boolean
}

/** What is different, nothing when both tell the same. `twin` is another payment there that took money for ours. */
export function findDrifts(
  payment: PaymentRow,
  refunds: readonly RefundRow[],
  snapshot: PaymentSnapshot,
  twin?: string,
): Drift[] {
  return [
    ...findMove(payment, snapshot),
    ...findAmount(payment, snapshot),
    ...findRefunds(payment, refunds, snapshot),
    ...findDispute(payment, snapshot),
    ...findTwin(payment, snapshot, twin),
  ]
}

export function holdsMoney(status: PaymentStatus): boolean {
  return status === 'authorized' || status === 'confirmed'
}

function findMove(payment: PaymentRow, { status, captured }: PaymentSnapshot): Drift[] {
  const mends = advances(payment.status, status, payment.authorized_at !== null)
  const isLost = payment.status === 'confirmed' && isWithoutMoney(status)
  if (!mends && !isLost) return []
  const isPart = status === 'confirmed' && captured !== payment.amount
  const found = isPart ? `${status} with ${write(payment, captured)}` : status
  return [{ drift: 'status_moved', known: payment.status, found, mends }]
}

function findAmount(payment: PaymentRow, snapshot: PaymentSnapshot): Drift[] {
  const { amount, currency, captured, status } = snapshot
  const isConfirmed = status === 'confirmed'
  if (payment.status === 'confirmed' && isConfirmed && captured > 0 && captured !== payment.captured) {
    const known = `${write(payment, payment.captured)} taken`
    const found = `${write(payment, captured)} taken`
    return [{ drift: 'amount_differs', known, found, mends: captured > payment.captured }]
  }
  if (amount === undefined) return []
  // Where a part of a hold was taken, some providers have that part as the amount.
  const isPart = payment.capture === 'manual' && isConfirmed && amount === captured && amount < payment.amount
  const sameCurrency = currency === undefined || currency === payment.currency
  if (sameCurrency && (amount === payment.amount || isPart)) return []
  const known = write(payment, payment.amount)
  return [
    { drift: 'amount_differs', known, found: writeMoney(amount, currency ?? payment.currency), mends: false },
  ]
}

function findRefunds(payment: PaymentRow, refunds: readonly RefundRow[], snapshot: PaymentSnapshot): Drift[] {
  const seen = snapshot.refunds ?? refundsFromSum(refunds, snapshot.refunded)
  const unmatched = [...refunds]
  return seen.flatMap((one): Drift[] => {
    const known = takeMatch(unmatched, one)
    if (known !== undefined) return findRefundMove(known, one)
    if (one.status === 'failed' || one.status === 'canceled') return []
    const named = snapshot.refunds === undefined ? '' : ` as ${one.providerRefundId}`
    const found = `${write(payment, one.amount)} more given back${named}`
    return [
      {
        drift: 'refund_outside',
        known: `${write(payment, payment.refunded)} given back`,
        found,
        mends: true,
      },
    ]
  })
}

/** The refund of ours that it is; each of ours is one at most. */
function takeMatch(unmatched: RefundRow[], seen: RefundSnapshot): RefundRow | undefined {
  const isOpen = (row: RefundRow) => row.provider_refund_id === null
  const match =
    unmatched.find((row) => row.provider_refund_id === seen.providerRefundId) ??
    unmatched.find((row) => row.id === seen.refundId && mayBe(row, seen)) ??
    unmatched.find(
      (row) =>
        isOpen(row) &&
        seen.refundId === undefined &&
        row.amount === seen.amount &&
        (row.status === 'pending' || row.status === 'unknown'),
    )
  if (match !== undefined) unmatched.splice(unmatched.indexOf(match), 1)
  return match
}

function findRefundMove(known: RefundRow, { status }: RefundSnapshot): Drift[] {
  if (status === 'unknown' || status === known.status || !mayMove(known.status, status)) return []
  const words = (one: string) => `refund ${known.id} ${one}`
  return [{ drift: 'status_moved', known: words(known.status), found: words(status), mends: true }]
}

function findDispute(payment: PaymentRow, { dispute }: PaymentSnapshot): Drift[] {
  if (dispute === undefined || dispute.status === payment.dispute) return []
  const known = payment.dispute === null ? 'no dispute' : `dispute ${payment.dispute}`
  return [{ drift: 'status_moved', known, found: `dispute ${dispute.status}`, mends: true }]
}

function findTwin(payment: PaymentRow, snapshot: PaymentSnapshot, twin: string | undefined): Drift[] {
  const own = snapshot.providerPaymentId ?? payment.provider_payment_id
  if (twin === undefined || twin === own || own === null || !holdsMoney(snapshot.status)) return []
  return [{ drift: 'paid_twice', known: `paid as ${own}`, found: `paid as ${twin} too`, mends: false }]
}

function write({ currency }: PaymentRow, minor: number): string {
  return writeMoney(minor, currency)
}

function writeMoney(minor: number, currency: string): string {
  return `${currency} ${writeAmount(minor, currency)}`
}
