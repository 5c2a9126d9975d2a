import type { Operation } from './operation.ts'
import type { RefundStatus } from './providers/provider.ts'
import type { PaymentRow } from './queries.ts'
import { isOpen, isWithoutMoney } from './status.ts'

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const soonestMs = minute
const latestMs = day
const marginMs = 30 * second
/** Longer than any provider leaves a payment open. */
const longestOpenMs = 45 * day

/** Waits between the looks at a call whose end nobody knows: for three days, then daily until it is left to a person. */
const recoveryWaitsMs = [5 * second, 15 * second, 45 * second, 2 * minute, 6 * minute, 20 * minute, hour]
export const hourlyRecoveries = 7 + 71
const mostRecoveries = hourlyRecoveries + 42

/** When the janitor looks at a payment again, undefined when never: webhooks get lost and tabs get closed. */
export function nextCheckAt(
  payment: Pick<PaymentRow, 'status' | 'flow' | 'failure' | 'created_at' | 'expires_at' | 'ended_at'>,
  refunds: ReadonlyArray<{ status: RefundStatus }>,
  now: Date,
): Date | null {
  if (isWithoutMoney(payment.status)) return nextLateLookAt(payment, now)
  const ageMs = now.getTime() - payment.created_at.getTime()
  const isSettling = refunds.some(({ status }) => status === 'pending' || status === 'unknown')
  const isWaiting = isOpen(payment.status) || payment.status === 'authorized' || isSettling
  if (!isWaiting || ageMs > longestOpenMs) return null
  const byAgeMs = Math.min(Math.max(ageMs / 2, soonestMs), latestMs)
  const expiryMs = payment.expires_at === null ? Infinity : payment.expires_at.getTime() - now.getTime()
  const waitMs = expiryMs >= 0 ? Math.min(byAgeMs, expiryMs + marginMs) : byAgeMs
  return new Date(now.getTime() + waitMs)
}

const lateLooksMs = [5 * minute, 45 * minute]

/** What ended without the provider's own word may still turn up there: a page was just being paid, a search lagged. */
function nextLateLookAt(
  { flow, failure, ended_at: endedAt }: Pick<PaymentRow, 'flow' | 'failure' | 'ended_at'>,
  now: Date,
): Date | null {
  const isSure = flow === 'direct' && failure?.includes('"not_processed"') !== true
  if (isSure || endedAt === null) return null
  const looks = lateLooksMs.map((ms) => new Date(endedAt.getTime() + ms))
  return looks.find((at) => at > now) ?? null
}

/**
 * `endsAt`: until when the call can still be made, where that is soon: it is tried about once a minute until then.
 * @returns undefined when there were enough looks
 */
export function nextRecoveryAt(round: number, now: Date, endsAt: Date | null = null): Date | undefined {
  if (round >= mostRecoveries) return undefined
  const waitMs = recoveryWaitsMs[round] ?? (round < hourlyRecoveries ? hour : day)
  const isEnding = endsAt !== null && endsAt > now
  return new Date(now.getTime() + (isEnding ? Math.min(waitMs, minute) : waitMs))
}

/** What a customer agreed to has to be confirmed before the page ends; else it is never paid. */
export function endOfCall(
  { kind }: Pick<Operation, 'kind'>,
  { expires_at: pageEndsAt }: Pick<PaymentRow, 'expires_at'>,
): Date | null {
  return kind === 'commit' ? pageEndsAt : null
}
