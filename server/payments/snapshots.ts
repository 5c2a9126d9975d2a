import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import { countRecorded, type NewEvent, recordEvents } from '#webhooks/outbound'
import { nextCheckAt } from './checks.ts'
import { eventAbout, eventAboutRefund, traceOf } from './events.ts'
import type { PaymentSnapshot, PaymentStatus } from './providers/provider.ts'
import {
  type CallEnd,
  listRefunds,
  type PaymentChange,
  type PaymentRow,
  type RefundRow,
  updatePayment,
} from './queries.ts'
import { isOver, type Operation } from './operation.ts'
import { readJson } from './presentation.ts'
import { mergeRefunds, type RefundStep, sumRefunded } from './refund-rows.ts'
import type { PaymentEndChange } from './joint-queries.ts'
import { endTogether } from './joint-writes.ts'
import { advances, isOpen, isWithoutMoney } from './status.ts'

/**
 * Brings a payment in line with what its provider says and tells what changed, each change once: whoever saw it
 * first has moved the row, which the caller holds locked. `extra` is written along.
 */
export async function applySnapshot(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  snapshot: PaymentSnapshot,
  extra: PaymentChange = {},
): Promise<PaymentRow> {
  const now = context.now()
  const { refunds, steps } = await readRefunds(context, db, payment, snapshot)
  const change = changeOf(payment, snapshot, now)
  return savePayment(context, db, scope, payment, {
    change: { ...change, refunded: sumRefunded(refunds), ...extra },
    refunds,
    steps,
  })
}

/** Refunds can only be of money that was taken: most payments need no look at them. */
function mayHaveRefunds(payment: PaymentRow, snapshot: PaymentSnapshot): boolean {
  return payment.status === 'confirmed' || snapshot.refunded > 0 || (snapshot.refunds?.length ?? 0) > 0
}

async function readRefunds(
  context: Context,
  db: Kysely<Tables>,
  payment: PaymentRow,
  snapshot: PaymentSnapshot,
) {
  if (!mayHaveRefunds(payment, snapshot)) return { refunds: [], steps: [] }
  const known = await listRefunds(db, payment.tenant_id, payment.id)
  const operation = readJson<Operation>(payment.operation)
  const running = operation !== null && !isOver(context, operation) ? operation.refundId : undefined
  return mergeRefunds(db, payment, { refunds: known, snapshot, running }, context.now())
}

export interface PaymentStep {
  change: PaymentChange
  refunds: readonly RefundRow[]
  steps: readonly RefundStep[]
}

/** Writes a change of a payment, when it is looked at next, and the events that follow from it. */
export async function savePayment(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  { change, refunds, steps }: PaymentStep,
): Promise<PaymentRow> {
  const now = context.now()
  const next = rowAfter(payment, change, refunds, now)
  await updatePayment(db, payment.tenant_id, payment.id, differenceOf(payment, next))
  await recordEvents(db, traceOf(scope, payment), eventsBetween(payment, next, steps, now), now)
  return next
}

/**
 * `applySnapshot` in one round trip, for a payment that had its call and nothing else since it was read.
 * @returns undefined, with nothing written, where it takes more than that
 */
export async function applyAtOnce(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
  snapshot: PaymentSnapshot,
  call: CallEnd,
): Promise<PaymentRow | undefined> {
  if (mayHaveRefunds(payment, snapshot)) return undefined
  const now = context.now()
  const change = { ...changeOf(payment, snapshot, now), operation: null }
  const next = rowAfter(payment, change, [], now)
  const events = eventsBetween(payment, next, [], now)
  const telling = { scope: traceOf(scope, payment), events, now }
  const opened = await endTogether(context, scope, { known: payment, next, call, telling })
  if (opened === null) return undefined
  countRecorded(events)
  if (opened > 0) wakeWork('delivery')
  return next
}

/** Whether what the provider says is what is known, of a payment that nothing acts on and nothing was given back of. */
export function tellsNothingNew(context: Context, payment: PaymentRow, snapshot: PaymentSnapshot): boolean {
  const { operation, told, refunded } = payment
  if (operation !== null || !told || refunded > 0) return false
  if (snapshot.refunded > 0 || (snapshot.refunds?.length ?? 0) > 0) return false
  const now = context.now()
  const { updated_at: _, ...news } = differenceOf(
    payment,
    rowAfter(payment, changeOf(payment, snapshot, now), [], now),
  )
  return Object.keys(news).length === 0
}

function rowAfter(
  payment: PaymentRow,
  change: PaymentChange,
  refunds: readonly RefundRow[],
  now: Date,
): PaymentRow {
  const next: PaymentRow = { ...payment, ...change, told: true, updated_at: now } as PaymentRow
  const isOpenEnded = change.check_at === undefined && next.operation === null
  return isOpenEnded ? { ...next, check_at: nextCheckAt(next, refunds, now) } : next
}

function differenceOf(before: PaymentRow, after: PaymentRow): PaymentChange {
  const names = Object.keys(after) as Array<keyof PaymentRow>
  return Object.fromEntries(
    names.filter((name) => before[name] !== after[name]).map((name) => [name, after[name]]),
  )
}

function changeOf(payment: PaymentRow, snapshot: PaymentSnapshot, now: Date): PaymentEndChange {
  // Money of another currency is not the money that was asked for, whatever the provider calls it.
  const isForeign = snapshot.currency !== undefined && snapshot.currency !== payment.currency
  const moves = !isForeign && advances(payment.status, snapshot.status, payment.authorized_at !== null)
  const status = moves ? snapshot.status : payment.status
  const isEnd = !isOpen(status) && status !== 'authorized'
  return {
    status,
    provider_payment_id: providerIdOf(payment, snapshot, moves && !isWithoutMoney(status)),
    provider_checkout_id: payment.provider_checkout_id ?? snapshot.providerCheckoutId ?? null,
    captured: status === 'confirmed' ? Math.max(payment.captured, snapshot.captured) : payment.captured,
    action: actionOf(payment, snapshot, status),
    ...(snapshot.method !== undefined && { method: JSON.stringify(snapshot.method) }),
    ...(snapshot.details !== undefined && {
      details: JSON.stringify({ ...JSON.parse(payment.details), ...snapshot.details }),
    }),
    ...(snapshot.dispute !== undefined && { dispute: snapshot.dispute.status }),
    failure: failureOf(payment, snapshot, status),
    expires_at: isEnd ? null : (snapshot.expiresAt ?? payment.expires_at),
    // Used, or of no more use.
    ...(!isOpen(status) && { method_token: null }),
    ...(moves && status === 'authorized' && { authorized_at: now }),
    ...(moves && status === 'confirmed' && { confirmed_at: now }),
    ...(moves && isEnd && { ended_at: now }),
  }
}

/** Of several attempts at one checkout, the one that got the money is the payment. */
function providerIdOf(payment: PaymentRow, snapshot: PaymentSnapshot, isBetter: boolean): string | null {
  const { provider_payment_id: known } = payment
  return (isBetter ? snapshot.providerPaymentId : undefined) ?? known ?? snapshot.providerPaymentId ?? null
}

function actionOf(payment: PaymentRow, snapshot: PaymentSnapshot, status: PaymentStatus): string | null {
  if (status !== 'requires_action' && status !== 'pending') return null
  return snapshot.action === undefined ? payment.action : JSON.stringify(snapshot.action)
}

function failureOf(payment: PaymentRow, snapshot: PaymentSnapshot, status: PaymentStatus): string | null {
  if (status === 'authorized' || status === 'confirmed') return null
  return snapshot.failure === undefined ? payment.failure : JSON.stringify(snapshot.failure)
}

/** What to tell about the way from one state to the next. */
function eventsBetween(
  before: PaymentRow,
  after: PaymentRow,
  steps: readonly RefundStep[],
  now: Date,
): NewEvent[] {
  const events: NewEvent[] = []
  if (!before.told) events.push(eventAbout(after, 'payment.created', before.created_at))
  if (before.status !== after.status || (!before.told && after.status !== 'pending')) {
    events.push(eventAbout(after, `payment.${after.status}`, now))
    // A capture after the authorization is no second completion.
    const checkout = before.status === 'authorized' ? undefined : checkoutEvents[after.status]
    if (after.checkout_id !== null && checkout !== undefined) events.push(eventAbout(after, checkout, now))
  }
  for (const { refund, type } of steps) {
    events.push(eventAboutRefund(after, refund, type, now))
    if (type === 'refund.succeeded') events.push(eventAboutRefund(after, refund, 'payment.refunded', now))
  }
  if (after.dispute !== null && after.dispute !== before.dispute) {
    events.push(eventAbout(after, 'payment.disputed', now, { dispute: after.dispute }))
  }
  return events
}

const checkoutEvents: Partial<Record<PaymentStatus, string>> = {
  confirmed: 'checkout.completed',
  authorized: 'checkout.completed',
  failed: 'checkout.failed',
  expired: 'checkout.expired',
  canceled: 'checkout.canceled',
}
