import type { Kysely } from 'kysely'
import type { Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { wakeWork } from '#jobs'
import { type NewFact, recordFact } from '#webhooks/inbound'
import { type Account, openAccount } from './accounts.ts'
import { endOfCall, hourlyRecoveries, nextRecoveryAt } from './checks.ts'
import { toRef } from './commands.ts'
import { traceOf } from './events.ts'
import { findChoice } from './methods/saved-methods.ts'
import { deadlineOf, isOver, type Operation } from './operation.ts'
import { lookTogether } from './joint-writes.ts'
import {
  type CallResult,
  orAsItStands,
  performCall,
  type PreparedCall,
  toCall,
  toLogEntry,
} from './operations.ts'
import { type LogEntry, timeCall, toReadRow, writeLog } from './payment-log.ts'
import { readJson } from './presentation.ts'
import type { PaymentSnapshot } from './providers/provider.ts'
import {
  findPayment,
  insertLog,
  listRefunds,
  lockPayment,
  type LogRow,
  type PaymentRow,
  updatePayment,
} from './queries.ts'
import { sumSpoken } from './refund-rows.ts'
import { moveRefund } from './settlement.ts'
import { applySnapshot, savePayment, tellsNothingNew } from './snapshots.ts'
import { isOpen, isWithoutMoney } from './status.ts'

/** Makes a call; where the provider says that its state does not allow it, the state is read at once. */
export async function runOperation(
  context: Context,
  scope: TenantScope,
  call: PreparedCall,
): Promise<{ payment: PaymentRow; outcome: Outcome<CallResult> }> {
  const { payment, outcome } = await performCall(context, scope, call)
  const wasState = outcome.outcome === 'refused' && outcome.error.kind === 'state'
  const current = wasState ? await lookAfterCall(context, scope, payment ?? call.payment) : payment
  if (current === undefined) throw notFound('payment', call.payment.id)
  return { payment: current, outcome }
}

function lookAfterCall(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<PaymentRow | undefined> {
  const follow = () => lookAtPayment(context, scope, payment.id, 'call')
  return orAsItStands(context, scope, payment, { follow, find: findPayment })
}

export type Look = 'call' | 'webhook' | 'return' | 'janitor' | 'reconciliation' | 'request'

/**
 * Reads a payment at its provider and brings ours in line: the one path of webhook, return and janitor. An
 * operation without a known end is judged by what was read: it had its effect, or it is made again where that
 * can't double, or it is given up.
 */
export async function lookAtPayment(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  look: Look,
): Promise<PaymentRow | undefined> {
  const opened = await context.database.asTenant(scope, async (db) => {
    const payment = await findPayment(db, scope.tenantId, paymentId)
    return payment && openPayment(context, db, scope, payment)
  })
  return opened && lookAtOpened(context, scope, opened, { look })
}

/** A payment as it was read, and the account to look at it with. */
export interface OpenPayment {
  payment: PaymentRow
  /** Undefined when the tenant has none left at this provider; the payment is tried again tomorrow. */
  account: Account | undefined
}

export async function openPayment(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<OpenPayment> {
  return { payment, account: await findAccount(context, db, scope, payment) }
}

/** A webhook that spoke of a payment: written down with what was then seen. */
export interface Occasion {
  fact: NewFact
  log: LogRow
}

export interface Glance {
  look: Look
  /** As a webhook names it: searches by our reference lag behind. */
  providerPaymentId?: string | undefined
  occasion?: Occasion
}

export async function lookAtOpened(
  context: Context,
  scope: TenantScope,
  { payment, account }: OpenPayment,
  { look, providerPaymentId, occasion }: Glance,
): Promise<PaymentRow | undefined> {
  if (account === undefined) {
    if (occasion !== undefined) await context.database.asTenant(scope, (db) => writeOccasion(db, occasion))
    return payment
  }
  const readAt = context.now()
  const ended = await timeCall(
    () =>
      account.provider.read(
        { ...(providerPaymentId && { providerPaymentId }), ...toRef(payment) },
        account.context,
      ),
    account.lastAnswer,
  )
  const read = toReadRow(context, traceOf(scope, payment), readEntry(payment, look), ended)
  if (occasion !== undefined && isQuiet(context, payment, ended.outcome)) {
    const { fact, log: notice } = occasion
    if (await lookTogether(context, scope, { known: payment, read, notice, fact })) return payment
  }
  const judged = await context.database.asTenant(scope, async (db) => {
    const current = await lockPayment(db, scope.tenantId, payment.id)
    if (current === undefined) return undefined
    if (occasion !== undefined) await writeOccasion(db, occasion)
    await insertLog(db, read)
    return judge(context, db, scope, {
      before: payment,
      payment: current,
      account,
      read: ended.outcome,
      readAt,
    })
  })
  wakeWork('delivery')
  if (judged?.again === undefined) return judged?.payment
  return (await performCall(context, scope, judged.again)).payment
}

function readEntry(payment: PaymentRow, look: Look): LogEntry {
  return { subject: payment.id, provider: payment.provider, action: 'read_payment', note: words[look] }
}

/** A webhook that is read again after a crash is no second one. */
export async function writeOccasion(db: Kysely<Tables>, { fact, log }: Occasion): Promise<void> {
  if (await recordFact(db, fact)) await insertLog(db, log)
}

/** Most webhooks tell what the answer to our own call told before. */
function isQuiet(
  context: Context,
  payment: PaymentRow,
  read: Outcome<{ snapshot: PaymentSnapshot | undefined }>,
): boolean {
  if (read.outcome !== 'done' || read.snapshot === undefined) return false
  return tellsNothingNew(context, payment, read.snapshot)
}

async function findAccount(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<Account | undefined> {
  try {
    return await openAccount(context, db, scope, payment)
  } catch (error) {
    if (!(error instanceof PipeError) || error.status >= 500) throw error
    const isOld = context.now().getTime() - payment.created_at.getTime() > longestUnreadMs
    const checkAt = isOld ? null : new Date(context.now().getTime() + dayMs)
    await updatePayment(db, scope.tenantId, payment.id, { check_at: checkAt })
    return undefined
  }
}

export const words: Record<Look, string> = {
  call: 'Read because the provider said that its state does not allow the call.',
  webhook: 'Read because a webhook spoke of it.',
  return: 'Read because the customer came back.',
  janitor: 'Read by the janitor.',
  reconciliation: 'Read for reconciliation.',
  request: 'Read on request.',
}

interface Reading {
  /** As it was when the reading began. */
  before: PaymentRow
  payment: PaymentRow
  account: Account
  read: Outcome<{ snapshot: PaymentSnapshot | undefined }>
  /** What was seen was so at this time at the latest. */
  readAt: Date
}

interface Judgement {
  payment: PaymentRow
  /** A call to make once this has committed. */
  again?: PreparedCall
}

async function judge(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  reading: Reading,
): Promise<Judgement> {
  const { payment, read } = reading
  const operation = readJson<Operation>(payment.operation)
  // Only of the call that was there when the reading began does it tell anything.
  const isSame = operation?.logId === readJson<Operation>(reading.before.operation)?.logId
  const isOurs = operation !== null && isSame && isOver(context, operation)
  if (read.outcome !== 'done') {
    if (isOurs) return { payment: await waitOn(context, db, scope, payment, operation) }
    return { payment: await readLater(context, db, scope, reading) }
  }
  const { snapshot } = read
  const seen =
    snapshot === undefined
      ? payment
      : await applySnapshot(context, db, scope, payment, snapshot, keep(payment))
  if (!isOurs) return { payment: snapshot === undefined ? await endMissing(context, db, scope, seen) : seen }
  if (await hasEffect(db, seen, operation, snapshot)) {
    const change = { operation: null, check_at: undefined }
    const refunds = await listRefunds(db, scope.tenantId, seen.id)
    return { payment: await savePayment(context, db, scope, seen, { change, refunds, steps: [] }) }
  }
  return judgeAbsent(context, db, scope, { ...reading, payment: seen }, operation)
}

const minuteMs = 60 * 1000
const dayMs = 24 * 60 * minuteMs
const longestUnreadMs = 45 * dayMs

/**
 * Nothing was learnt: it is read again soon, ever less often. Only a sale that needs our own confirmation ends by
 * time all the same: without it nothing was taken.
 */
async function readLater(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { payment, account }: Reading,
): Promise<PaymentRow> {
  if (payment.operation !== null) return payment
  const now = context.now().getTime()
  const ageMs = now - payment.created_at.getTime()
  const openMs = now - (payment.expires_at?.getTime() ?? Infinity)
  const isDeserted = account.provider.commit !== undefined && openMs > dayMs
  if (isDeserted && !isWithoutMoney(payment.status) && payment.status !== 'confirmed') {
    return expire(context, db, scope, payment)
  }
  const waitMs = Math.min(Math.max(ageMs / 10, minuteMs), dayMs)
  const change = { check_at: ageMs > longestUnreadMs ? null : new Date(now + waitMs) }
  return savePayment(context, db, scope, payment, { change, refunds: [], steps: [] })
}

/** The provider certainly has nothing of it: once its time is over, nobody pays it any more. */
async function endMissing(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<PaymentRow> {
  if (payment.operation !== null) return payment
  const openMs = context.now().getTime() - (payment.expires_at?.getTime() ?? Infinity)
  if (isOpen(payment.status) && openMs > dayMs) return expire(context, db, scope, payment)
  const refunds = payment.status === 'confirmed' ? await listRefunds(db, scope.tenantId, payment.id) : []
  return savePayment(context, db, scope, payment, { change: {}, refunds, steps: [] })
}

function expire(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<PaymentRow> {
  const change = { status: 'expired' as const, action: null, expires_at: null, ended_at: context.now() }
  return savePayment(context, db, scope, payment, { change, refunds: [], steps: [] })
}

/** What was due for an operation stays due while it has no end. */
function keep(payment: PaymentRow) {
  return payment.operation === null ? {} : { check_at: payment.check_at }
}

async function hasEffect(
  db: Kysely<Tables>,
  payment: PaymentRow,
  operation: Operation,
  snapshot: PaymentSnapshot | undefined,
): Promise<boolean> {
  switch (operation.kind) {
    case 'create':
      return snapshot !== undefined && payment.flow === 'direct'
    case 'commit':
      return payment.status !== 'requires_action'
    case 'capture':
      return payment.status === 'confirmed'
    case 'cancel':
      return !isOpen(payment.status) && payment.status !== 'authorized'
    case 'refund': {
      const refunds = await listRefunds(db, payment.tenant_id, payment.id)
      return refunds.some(({ id, provider_refund_id: known }) => id === operation.refundId && known !== null)
    }
  }
}

/** As long as the libraries of the providers repeat by themselves: later a charge would come as a surprise. */
const longestCreateMs = 15 * 60 * 1000
/** After this a request that was on its way has arrived or is lost. */
const settledMs = 30 * 1000

async function judgeAbsent(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { payment, account, readAt }: Reading,
  operation: Operation,
): Promise<Judgement> {
  const keptMs = account.provider.capabilities.idempotency?.keptMs ?? 0
  const isKept = readAt.getTime() - Date.parse(operation.firstCalledAt) < keptMs
  const calledMs = readAt.getTime() - Date.parse(operation.calledAt)
  const ageMs = context.now().getTime() - payment.created_at.getTime()
  // Without a key at the provider the first call must be past before a second is safe.
  const isPast = isKept || calledMs > settledMs + context.config.providerTimeoutMs
  if (!isPast) return { payment: await waitOn(context, db, scope, payment, operation) }
  const isPage = operation.kind === 'create' && payment.flow === 'checkout'
  if (operation.isBarred === true || !(await isPossible(db, payment, operation))) {
    return { payment: await giveUp(context, db, scope, payment, operation) }
  }
  const isGone = operation.kind === 'create' && (await isMethodGone(context, db, scope, payment))
  if (isGone && calledMs < settledMs) return { payment: await waitOn(context, db, scope, payment, operation) }
  const mayRepeat = operation.kind !== 'create' || (isKept && ageMs < longestCreateMs && !isPage && !isGone)
  if (!mayRepeat) return { payment: await giveUp(context, db, scope, payment, operation) }
  if (operation.round > 60) return { payment: await waitOn(context, db, scope, payment, operation) }
  return { payment, again: await prepareAgain(context, db, scope, { payment, account, operation }) }
}

async function isMethodGone(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { method_id: methodId }: PaymentRow,
): Promise<boolean> {
  return methodId !== null && (await findChoice(context, db, scope, methodId)) === undefined
}

/** A refund that others have spent meanwhile would be refused for ever. */
async function isPossible(db: Kysely<Tables>, payment: PaymentRow, operation: Operation): Promise<boolean> {
  if (operation.kind !== 'refund') return true
  const refunds = await listRefunds(db, payment.tenant_id, payment.id)
  const others = refunds.filter(({ id }) => id !== operation.refundId)
  return (operation.amount ?? 0) <= payment.captured - sumSpoken(others)
}

async function prepareAgain(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { payment, account, operation }: { payment: PaymentRow; account: Account; operation: Operation },
): Promise<PreparedCall> {
  const trace = traceOf(scope, payment)
  const { kind, amount = payment.amount } = operation
  const logId = await writeLog(context, db, trace, toLogEntry(payment, { kind, amount }))
  const again: Operation = {
    ...operation,
    logId,
    state: 'running',
    unsure: true,
    isBarred: false,
    calledAt: context.now().toISOString(),
    round: operation.round + 1,
  }
  await updatePayment(db, scope.tenantId, payment.id, {
    operation: JSON.stringify(again),
    check_at: deadlineOf(context),
  })
  const refunds = await listRefunds(db, scope.tenantId, payment.id)
  const saved =
    payment.method_id === null ? undefined : await findChoice(context, db, scope, payment.method_id)
  return toCall(context, payment, account, again, {
    isFull: sumSpoken(refunds) === payment.captured,
    ...(saved !== undefined && { saved }),
  })
}

/** Nothing more is known: look again later, or leave it to a person. */
async function waitOn(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  operation: Operation,
): Promise<PaymentRow> {
  const round = operation.round + 1
  if (operation.kind === 'refund' && round > hourlyRecoveries) return leaveRefund(context, db, scope, payment)
  const checkAt = nextRecoveryAt(round, context.now(), endOfCall(operation, payment))
  const change = {
    operation: JSON.stringify({ ...operation, state: 'unknown', round } satisfies Operation),
    check_at: checkAt ?? null,
    ...(operation.kind === 'create' && payment.status === 'pending' && { status: 'unknown' as const }),
  }
  if (checkAt === undefined) {
    await writeLog(context, db, traceOf(scope, payment), {
      subject: payment.id,
      provider: payment.provider,
      action: 'decided',
      note: 'The provider could not tell for weeks what became of the call. A person has to look there.',
    })
  }
  const moved =
    operation.kind === 'refund'
      ? await moveRefund(context, db, payment, operation, 'unknown', null)
      : { refunds: [], steps: [] }
  return savePayment(context, db, scope, payment, { change, ...moved })
}

/** Its amount stays spoken for; the rest of the payment can be given back again. */
async function leaveRefund(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
): Promise<PaymentRow> {
  await writeLog(context, db, traceOf(scope, payment), {
    subject: payment.id,
    provider: payment.provider,
    action: 'decided',
    note: 'The provider could not tell for three days what became of a refund. A person has to look there.',
  })
  const refunds = await listRefunds(db, scope.tenantId, payment.id)
  return savePayment(context, db, scope, payment, { change: { operation: null }, refunds, steps: [] })
}

async function giveUp(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  operation: Operation,
): Promise<PaymentRow> {
  await writeLog(context, db, traceOf(scope, payment), {
    subject: payment.id,
    provider: payment.provider,
    action: 'decided',
    note: 'The provider shows nothing of it: it had no effect, and it is not tried again.',
  })
  const failure = JSON.stringify({ code: 'not_processed', providerCode: 'not_found', retry: 'same' })
  if (operation.kind === 'refund') {
    const moved = await moveRefund(context, db, payment, operation, 'failed', failure)
    return savePayment(context, db, scope, payment, { change: { operation: null }, ...moved })
  }
  const change = {
    operation: null,
    ...(isOpen(payment.status) &&
      operation.kind === 'create' && { status: 'failed' as const, failure, ended_at: context.now() }),
  }
  return savePayment(context, db, scope, payment, { change, refunds: [], steps: [] })
}
