import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { NotDone, Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import { recordEvents } from '#webhooks/outbound'
import { type Account, openAccount } from './accounts.ts'
import { requireCancelable, requireCapturable, requireRefundable } from './advice.ts'
import { eventAboutRefund, traceOf } from './events.ts'
import type { Operation } from './operation.ts'
import { type CallResult, prepareOperation, type PreparedCall } from './operations.ts'
import { waitForOperation } from './operation-wait.ts'
import { readJson } from './presentation.ts'
import { insertRefund, listRefunds, lockPayment, type PaymentRow, type RefundRow } from './queries.ts'
import { lookAtPayment, runOperation } from './recovery.ts'
import { sumSpoken } from './refund-rows.ts'

const firstPollMs = 40
const longestPollMs = 500
const patienceMs = 8_000

/** Takes held money, all of it or less. @throws PipeError 409 `payment_state`, `capture_too_late`, `payment_busy` */
export async function capturePayment(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  asked: { amount?: number | undefined; idempotencyKey?: string | undefined },
): Promise<PaymentRow> {
  return changePayment(context, scope, paymentId, {
    name: 'capture',
    request: { amount: asked.amount },
    idempotencyKey: asked.idempotencyKey,
    isDone: ({ status, captured }) =>
      status === 'confirmed' && (asked.amount === undefined || asked.amount === captured),
    prepare: async (db, payment, account) => {
      const { provider } = account
      const amount = requireCapturable(payment, context.now(), asked.amount)
      if (amount < payment.amount && !provider.capabilities.partialCapture) {
        throw new PipeError('capture_whole_only', 409, `${provider.title} captures only the whole amount.`)
      }
      return prepareOperation(context, db, scope, payment, account, { kind: 'capture', amount })
    },
  })
}

/** Gives held money back, or closes what waits for the customer. @throws PipeError 409 `payment_state` */
export async function cancelPayment(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  idempotencyKey: string | undefined,
): Promise<PaymentRow> {
  return changePayment(context, scope, paymentId, {
    name: 'cancel',
    request: {},
    idempotencyKey,
    isDone: (payment) => payment.status === 'canceled' || payment.status === 'expired',
    prepare: async (db, payment, account) => {
      requireCancelable(payment)
      return prepareOperation(context, db, scope, payment, account, { kind: 'cancel' })
    },
  })
}

export interface RefundWish {
  amount?: number | undefined
  reason?: string | undefined
  reference?: string | undefined
  idempotencyKey?: string | undefined
}

/**
 * Gives money back, all that is left or a part. A provider that recognises no repetition is read first, so that
 * what was refunded elsewhere counts.
 * @throws PipeError 409 `payment_state`, `refund_too_late`, `refund_whole_only`, `payment_busy`
 */
export async function refundPayment(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  wish: RefundWish,
): Promise<{ refund: RefundRow; payment: PaymentRow }> {
  const { idempotencyKey, ...request } = wish
  await readWhereNothingIsKept(context, scope, paymentId)
  let refundId = ''
  let stored: RefundRow | undefined
  const payment = await changePayment(context, scope, paymentId, {
    name: 'refund',
    request,
    idempotencyKey,
    prepare: async (db, current, account) => {
      const refund = await storeRefund(context, db, scope, current, account, request)
      stored = refund.row
      refundId = stored.id
      return prepareOperation(context, db, scope, current, account, {
        kind: 'refund',
        amount: stored.amount,
        refundId,
        isFull: refund.isFull,
      })
    },
    onKnown: (key) => void (refundId = key),
  })
  const refunds = await readRefunds(context, scope, paymentId, stored)
  const refund = refunds.find(({ id }) => id === refundId)
  if (refund === undefined) throw notFound('refund', refundId)
  return { refund, payment }
}

/** What was stored here has been asked of the provider: an error would tell that it was not. */
function readRefunds(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  stored: RefundRow | undefined,
): Promise<RefundRow[]> {
  const read = context.database.asTenant(scope, (db) => listRefunds(db, scope.tenantId, paymentId))
  return stored === undefined ? read : read.catch(() => [stored])
}

async function readWhereNothingIsKept(
  context: Context,
  scope: TenantScope,
  paymentId: string,
): Promise<void> {
  const mustRead = await context.database.asTenant(scope, async (db) => {
    const payment = await requireLocked(db, scope, paymentId)
    const account = await openAccount(context, db, scope, payment)
    return payment.status === 'confirmed' && account.provider.capabilities.idempotency === undefined
  })
  if (mustRead) await lookAtPayment(context, scope, paymentId, 'request')
}

async function storeRefund(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  { provider }: Account,
  wish: RefundWish,
): Promise<{ row: RefundRow; isFull: boolean }> {
  const now = context.now()
  const spoken = sumSpoken(await listRefunds(db, payment.tenant_id, payment.id))
  const amount = requireRefundable(payment, now, { asked: wish.amount, spoken })
  if (amount < payment.captured && !provider.capabilities.partialRefund) {
    throw new PipeError('refund_whole_only', 409, `${provider.title} gives back only the whole amount.`)
  }
  const row: RefundRow = {
    id: createId('rfd', now),
    tenant_id: payment.tenant_id,
    payment_id: payment.id,
    provider_refund_id: null,
    amount,
    status: 'pending',
    kind: 'refund',
    reason: wish.reason ?? null,
    reference: wish.reference ?? null,
    source: 'api',
    failure: null,
    created_at: now,
    settled_at: null,
  }
  await insertRefund(db, row)
  await recordEvents(
    db,
    traceOf(scope, payment),
    [eventAboutRefund(payment, row, 'refund.created', now)],
    now,
  )
  return { row, isFull: amount === payment.captured - spoken }
}

interface Change {
  name: 'capture' | 'cancel' | 'refund'
  request: object
  idempotencyKey: string | undefined
  /** Asked for again, it is answered as it stands. */
  isDone?(payment: PaymentRow): boolean
  prepare(db: Kysely<Tables>, payment: PaymentRow, account: Account): Promise<PreparedCall>
  /** The key of a change that was asked for before. */
  onKnown?(key: string): void
}

/** One change at a time: others of the same payment wait for its end, a repetition gets its result. */
async function changePayment(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  change: Change,
): Promise<PaymentRow> {
  const deadline = performance.now() + patienceMs
  for (let pollMs = firstPollMs; ; pollMs = Math.min(pollMs * 1.5, longestPollMs)) {
    const begun = await beginChange(context, scope, paymentId, change)
    if ('call' in begun) return answerTo(change, await runOperation(context, scope, begun.call))
    if ('payment' in begun) return begun.payment
    if ('key' in begun) {
      change.onKnown?.(begun.key)
      return answerAgain(change, await waitForOperation(context, scope, paymentId, begun.key))
    }
    if (performance.now() > deadline) throw busy()
    // Nobody runs it: whoever wants the next change may as well look.
    if (begun.isUnknown && pollMs === firstPollMs) await lookAtPayment(context, scope, paymentId, 'request')
    await sleep(pollMs)
  }
}

type Begun = { call: PreparedCall } | { payment: PaymentRow } | { key: string } | { isUnknown: boolean }

class Busy extends Error {
  readonly isUnknown: boolean

  constructor(operation: Operation | null) {
    super('busy')
    this.isUnknown = operation?.state === 'unknown'
  }
}

async function beginChange(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  change: Change,
): Promise<Begun> {
  const once = {
    key: change.idempotencyKey,
    operation: `payments.${change.name}`,
    request: { payment_id: paymentId, ...change.request },
  }
  let begun: Begun | undefined
  try {
    const { key } = await context.database.asTenant(scope, (db) =>
      runOnce(db, scope, once, async () => {
        const payment = await requireLocked(db, scope, paymentId)
        if (payment.operation !== null) throw new Busy(readJson<Operation>(payment.operation))
        if (change.isDone?.(payment)) begun = { payment }
        else {
          const account = await openAccount(context, db, scope, payment)
          begun = { call: await change.prepare(db, payment, account) }
        }
        return { key: 'call' in begun ? begun.call.operation.key : paymentId }
      }),
    )
    return begun ?? { key }
  } catch (error) {
    if (error instanceof Busy) return { isUnknown: error.isUnknown }
    throw error
  }
}

function busy(): PipeError {
  const text =
    'Another call about this payment has no known end yet; see under_way. It is looked up; try again in a while.'
  return new PipeError('payment_busy', 409, text, { retryAfterSeconds: 10 })
}

async function requireLocked(db: Kysely<Tables>, scope: TenantScope, paymentId: string): Promise<PaymentRow> {
  const payment = await lockPayment(db, scope.tenantId, paymentId)
  if (payment === undefined) throw notFound('payment', paymentId)
  return payment
}

/** A refused capture or cancel leaves nothing behind to read: it is told at once. A refused refund tells itself. */
function answerTo(
  change: Change,
  { payment, outcome }: { payment: PaymentRow; outcome: Outcome<CallResult> },
): PaymentRow {
  if (outcome.outcome !== 'refused' || change.name === 'refund' || change.isDone?.(payment)) return payment
  throw providerRefused(outcome)
}

/** What was refused once is not done by asking again under the same key. */
function answerAgain(change: Change, payment: PaymentRow): PaymentRow {
  if (change.isDone === undefined || change.isDone(payment) || payment.operation !== null) return payment
  const text = 'This was refused when it was asked for first. To try again, use another Idempotency-Key.'
  throw new PipeError('provider_refused', 409, text)
}

export function providerRefused({ error }: NotDone): PipeError {
  const isPassing = error.retry !== 'never'
  return new PipeError('provider_refused', isPassing ? 503 : 409, error.message, {
    ...(isPassing && { retryAfterSeconds: 10 }),
  })
}
