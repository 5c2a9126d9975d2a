import type { z } from 'zod'
import { PipeError } from '#core/errors.ts'
import { writeAmount } from './money.ts'
import type { MethodSummary, PaymentCapabilities, Windows } from './providers/provider.ts'
import type { PaymentRow } from './queries.ts'
import type { Advice } from './schema.ts'
import { isOpen } from './status.ts'

const dayMs = 24 * 60 * 60 * 1000
type View = z.infer<typeof Advice>

/** What can still be done with a payment, how much of it, and until when. */
export function adviseOn(payment: PaymentRow, now: Date): View {
  const windows = windowsOf(payment)
  return {
    capture: adviseCapture(payment, windows, now),
    cancel: mayCancel(payment, windows),
    refund: adviseRefund(payment, windows, now),
  }
}

/** What holds for one payment: kept with it, so that a changed account does not change it. */
export interface Terms extends Windows {
  cancel: PaymentCapabilities['cancel']
}

function windowsOf(payment: PaymentRow): Terms {
  return JSON.parse(payment.windows) as Terms
}

function mayCancel(payment: PaymentRow, { cancel }: Terms): boolean {
  if (payment.status === 'authorized') return cancel !== 'no'
  return isOpen(payment.status) && cancel === 'authorized_or_open'
}

/** @throws PipeError 409 `payment_state` */
export function requireCancelable(payment: PaymentRow): void {
  if (!mayCancel(payment, windowsOf(payment))) throw wrongState(payment, 'canceled')
}

function adviseCapture(payment: PaymentRow, windows: Windows, now: Date): View['capture'] {
  if (payment.status !== 'authorized' || windows.captureDays === undefined) return null
  const until = after(payment.authorized_at ?? payment.created_at, windows.captureDays * dayMs)
  if (until <= now) return null
  return { until: until.toISOString(), amount: payment.amount, note: null }
}

function adviseRefund(payment: PaymentRow, windows: Windows, now: Date): View['refund'] {
  const left = payment.captured - payment.refunded
  if (payment.status !== 'confirmed' || left <= 0) return null
  const takenAt = payment.confirmed_at ?? payment.created_at
  const until = after(takenAt, windows.refundDays * dayMs)
  if (until <= now) return null
  const method = payment.method === null ? undefined : (JSON.parse(payment.method) as MethodSummary)
  const onlyWhole = method !== undefined && (windows.fullRefundOnly ?? []).includes(method.type)
  const reversalUntil =
    windows.reversalMs === undefined || payment.refunded > 0 ? null : after(takenAt, windows.reversalMs)
  return {
    until: until.toISOString(),
    amount: left,
    note: onlyWhole ? `Paid by ${method.type}: it can only be given back as a whole.` : null,
    only_whole: onlyWhole,
    reversal_until: reversalUntil !== null && reversalUntil > now ? reversalUntil.toISOString() : null,
  }
}

function after(start: Date, ms: number): Date {
  return new Date(start.getTime() + ms)
}

/**
 * The amount to capture, once it is certain that the provider may be asked.
 * @throws PipeError 409 `payment_state`, `capture_too_late`, 422 `amount_too_large`
 */
export function requireCapturable(payment: PaymentRow, now: Date, asked: number | undefined): number {
  const windows = windowsOf(payment)
  if (payment.status !== 'authorized') throw wrongState(payment, 'captured')
  const advice = adviseCapture(payment, windows, now)
  if (advice === null) {
    const days = windows.captureDays ?? 0
    throw new PipeError('capture_too_late', 409, `The ${days} days to capture this payment are over.`)
  }
  return requireWithin(asked, advice.amount, payment.currency)
}

/**
 * The amount to give back, once it is certain that the provider may be asked. `spoken` is what other refunds of
 * the payment have or may still get.
 * @throws PipeError 409 `payment_state`, `refund_too_late`, `refund_whole_only`, 422 `amount_too_large`
 */
export function requireRefundable(
  payment: PaymentRow,
  now: Date,
  { asked, spoken }: { asked: number | undefined; spoken: number },
): number {
  if (payment.status !== 'confirmed') throw wrongState(payment, 'refunded')
  const left = payment.captured - spoken
  if (left <= 0) {
    throw new PipeError(
      'payment_refunded',
      409,
      'All of this payment was given back already, or is about to be.',
    )
  }
  const windows = windowsOf(payment)
  const advice = adviseRefund(payment, windows, now)
  if (advice === null) {
    const text = `The ${windows.refundDays} days to refund this payment are over; pay the customer back otherwise.`
    throw new PipeError('refund_too_late', 409, text)
  }
  const amount = requireWithin(asked, left, payment.currency)
  if (advice.only_whole && amount !== payment.captured) {
    throw new PipeError('refund_whole_only', 409, advice.note ?? 'It can only be given back as a whole.')
  }
  return amount
}

function requireWithin(asked: number | undefined, most: number, currency: string): number {
  if (asked === undefined || asked <= most) return asked ?? most
  const text = `At most ${currency} ${writeAmount(most, currency)} is left.`
  throw new PipeError('amount_too_large', 422, text, {
    errors: [{ field: 'amount', message: `must be at most ${most}` }],
  })
}

function wrongState(payment: PaymentRow, verb: string): PipeError {
  return new PipeError(
    'payment_state',
    409,
    `This payment is ${payment.status.replaceAll('_', ' ')} and can't be ${verb}.`,
  )
}
