import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { NotDone, Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import type { Account } from './accounts.ts'
import { toCheckoutCommand, toPaymentCommand, toRef } from './commands.ts'
import { traceOf } from './events.ts'
import { deadlineOf, longestWaitMs, mostTries, type Operation } from './operation.ts'
import { type LogEntry, timeCall, writeLog } from './payment-log.ts'
import type { MethodChoice, PaymentSnapshot, RefundSnapshot } from './providers/provider.ts'
import { findPayment, type PaymentRow, updatePayment } from './queries.ts'
import { type EndedCall, settleAtOnce, settleOperation } from './settlement.ts'

export interface CallResult {
  snapshot?: PaymentSnapshot
  refund?: RefundSnapshot
}

/** A call that is written down and will be made once the transaction has committed. */
export interface PreparedCall {
  /** As it was written down. */
  payment: PaymentRow
  operation: Operation
  account: Account
  run(): Promise<Outcome<CallResult>>
}

export interface NewOperation {
  kind: Operation['kind']
  amount?: number
  refundId?: string
  isFull?: boolean
  saved?: Extract<MethodChoice, { kind: 'saved' }>
}

const actions: Record<Operation['kind'], string> = {
  create: 'create_payment',
  commit: 'confirm_payment',
  capture: 'capture_payment',
  cancel: 'cancel_payment',
  refund: 'refund_payment',
}

/** Makes an operation the payment's one: written down with the caller's transaction, before any call. */
export async function prepareOperation(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  payment: PaymentRow,
  account: Account,
  wanted: NewOperation,
): Promise<PreparedCall> {
  const logId = await writeLog(context, db, traceOf(scope, payment), toLogEntry(payment, wanted))
  const operation = toOperation(context, payment, wanted, logId)
  const change = { operation: JSON.stringify(operation), check_at: deadlineOf(context) }
  await updatePayment(db, scope.tenantId, payment.id, change)
  return toCall(context, { ...payment, ...change }, account, operation, wanted)
}

/** A call as the log has it before it is made. */
export function toLogEntry(payment: PaymentRow, wanted: Pick<NewOperation, 'kind' | 'amount'>): LogEntry {
  const isPage = wanted.kind === 'create' && payment.flow === 'checkout'
  return {
    subject: payment.id,
    provider: payment.provider,
    action: isPage ? 'create_checkout' : actions[wanted.kind],
    amount: wanted.amount ?? payment.amount,
  }
}

export function toOperation(
  context: Context,
  payment: PaymentRow,
  wanted: NewOperation,
  logId: string,
): Operation {
  return {
    kind: wanted.kind,
    // The payment's own id where there is but one such call, so that a repetition can't become a second one.
    key: wanted.refundId ?? (wanted.kind === 'create' ? payment.id : logId),
    logId,
    ...(wanted.amount !== undefined && { amount: wanted.amount }),
    ...(wanted.refundId !== undefined && { refundId: wanted.refundId }),
    calledAt: context.now().toISOString(),
    firstCalledAt: context.now().toISOString(),
    state: 'running',
    unsure: false,
    round: 0,
  }
}

export function toCall(
  context: Context,
  payment: PaymentRow,
  account: Account,
  operation: Operation,
  { isFull = false, saved }: Pick<NewOperation, 'isFull' | 'saved'> = {},
): PreparedCall {
  const { provider, context: providerContext } = account
  const ref = toRef(payment)
  const verbs: Record<Operation['kind'], () => Promise<Outcome<CallResult>>> = {
    create: async () =>
      payment.flow === 'checkout'
        ? provider.createCheckout(toCheckoutCommand(context, payment), providerContext)
        : (provider.createPayment?.(toPaymentCommand(context, payment, saved), providerContext) ??
          notOffered),
    commit: async () => provider.commit?.(ref, providerContext) ?? notOffered,
    capture: async () =>
      provider.capture?.(ref, operation.amount ?? payment.amount, operation.key, providerContext) ??
      notOffered,
    cancel: async () => provider.cancel?.(ref, operation.key, providerContext) ?? notOffered,
    refund: () => {
      const { refundId = '', amount = payment.amount, key } = operation
      return provider.refund(ref, { refundId, amount, isFull, key }, providerContext)
    },
  }
  return { payment, operation, account, run: verbs[operation.kind] }
}

const notOffered: NotDone = {
  outcome: 'refused',
  error: { kind: 'content', retry: 'never', failover: false, message: 'The provider does not offer this.' },
}

export interface PerformedCall {
  payment: PaymentRow | undefined
  outcome: Outcome<CallResult>
}

/** Makes the call and writes down how it ended. A call that certainly had no effect is made again, a few times. */
export async function performCall(
  context: Context,
  scope: TenantScope,
  call: PreparedCall,
): Promise<PerformedCall> {
  const ended = { ...call, ...(await timeCall(() => tryCall(call), call.account.lastAnswer)) }
  const follow = () => settle(context, scope, ended)
  const payment = await orAsItStands(context, scope, call.payment, { follow, find: findPayment })
  return { payment, outcome: ended.outcome }
}

async function settle(
  context: Context,
  scope: TenantScope,
  ended: EndedCall,
): Promise<PaymentRow | undefined> {
  const atOnce = await settleAtOnce(context, scope, ended)
  if (atOnce !== undefined) return atOnce
  const payment = await context.database.asTenant(scope, (db) => settleOperation(context, db, scope, ended))
  wakeWork('delivery')
  return payment
}

interface Following<Row> {
  follow: () => Promise<Row | undefined>
  find: (db: Kysely<Tables>, tenantId: string, id: string) => Promise<Row | undefined>
}

/**
 * What follows a call that was made. Where that fails, its subject is answered as it stands, or as it was before where
 * the database can't be asked: an error would tell that nothing happened, and the janitor finds out what did.
 */
export async function orAsItStands<Row extends { id: string }>(
  context: Context,
  scope: TenantScope,
  before: Row,
  { follow, find }: Following<Row>,
): Promise<Row | undefined> {
  try {
    return await follow()
  } catch (error) {
    const { id } = before
    context.log.error(
      { err: error, subject: id },
      'what followed a call could not be written down; it is looked up',
    )
    const read = context.database.readAsTenant(scope, (db) => find(db, scope.tenantId, id))
    return (await read.catch(() => undefined)) ?? before
  }
}

export interface TriedCall<Done> {
  account: Account
  run(): Promise<Outcome<Done>>
}

export async function tryCall<Done extends object>(call: TriedCall<Done>): Promise<Outcome<Done>> {
  let unsure: Outcome<Done> | undefined
  for (let attempt = 1; ; attempt += 1) {
    const startedAt = performance.now()
    const outcome = await call.run()
    if (outcome.outcome === 'unknown') unsure ??= outcome
    const wasQuick = performance.now() - startedAt < call.account.context.timeoutMs / 2
    const waitMs = attempt < mostTries && wasQuick ? waitAfter(call, outcome, attempt) : undefined
    // That the second was refused tells nothing of the first.
    if (waitMs === undefined) return outcome.outcome === 'refused' ? (unsure ?? outcome) : outcome
    await sleep(waitMs)
  }
}

/** Undefined: not to be made again here. */
function waitAfter(call: TriedCall<object>, outcome: Outcome<object>, attempt: number): number | undefined {
  if (outcome.outcome === 'done') return undefined
  const { retry } = outcome.error
  // A connection that broke is tried once more under its key at once, as the providers' own libraries do.
  const isKept = call.account.provider.capabilities.idempotency !== undefined
  if (outcome.outcome === 'unknown') return isKept && retry === 'backoff' && attempt === 1 ? 50 : undefined
  if (retry === 'never') return undefined
  const waitMs = typeof retry === 'object' ? retry.afterMs : 200 * 4 ** (attempt - 1)
  return waitMs <= longestWaitMs ? waitMs : undefined
}
