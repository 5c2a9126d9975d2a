import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { type FieldError, invalidRequest } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import type { Account } from './accounts.ts'
import type { Terms } from './advice.ts'
import { toCheckoutCommand, toPaymentCommand } from './commands.ts'
import { wireProblem } from './money.ts'
import { deadlineOf } from './operation.ts'
import { type PreparedCall, toCall, toLogEntry, toOperation } from './operations.ts'
import { toLogRow } from './payment-log.ts'
import { waitForOperation } from './operation-wait.ts'
import { insertPaymentsWithCalls } from './joint-queries.ts'
import type { LogRow, PaymentRow } from './queries.ts'
import { runOperation } from './recovery.ts'
import { recallAccount, type Route, routePayment } from './routing.ts'
import type { NewCheckout, NewPayment } from './schema.ts'
import { storeTogether } from './joint-writes.ts'

export interface TakeOptions {
  idempotencyKey?: string | undefined
}

/** What both ways of asking for money have in common. */
export interface PaymentInput extends Omit<NewPayment, 'amount'> {
  amount: number
  items?: NewCheckout['items'] | undefined
  expires_at?: string | undefined
  checkout?: boolean
  subscriptionId?: string
}

/**
 * Asks for money once: stored before the provider is called, so that whatever happens to the call or to this
 * process, its end is found out and told.
 * @throws PipeError 422 `request_invalid`, `connection_missing`
 */
export async function createPayment(
  context: Context,
  scope: TenantScope,
  input: PaymentInput,
  { idempotencyKey }: TakeOptions = {},
): Promise<PaymentRow> {
  if (idempotencyKey !== undefined) return createOnce(context, scope, input, idempotencyKey)
  const call = (await storeAsBefore(context, scope, input)) ?? (await storeAnew(context, scope, input))
  return (await runOperation(context, scope, call)).payment
}

/** By the route of the last such payment, in one round trip. Undefined where that has changed, or can't take it. */
async function storeAsBefore(
  context: Context,
  scope: TenantScope,
  input: PaymentInput,
): Promise<PreparedCall | undefined> {
  const recalled = recallAccount(context, scope, input)
  if (recalled === undefined) return undefined
  const { call, log, faults } = prepare(context, scope, input, recalled)
  const written = { payment: call.payment, call: log }
  const isStored = faults.length === 0 && (await storeTogether(context, scope, written, recalled.route))
  return isStored ? call : undefined
}

async function storeAnew(context: Context, scope: TenantScope, input: PaymentInput): Promise<PreparedCall> {
  const route = await context.database.readAsTenant(scope, (db) => routePayment(context, db, scope, input))
  const { call, log } = prepareOrRefuse(context, scope, input, route)
  await storeTogether(context, scope, { payment: call.payment, call: log })
  return call
}

async function createOnce(
  context: Context,
  scope: TenantScope,
  input: PaymentInput,
  key: string,
): Promise<PaymentRow> {
  const operation = input.checkout === true ? 'payments.checkout' : 'payments.create'
  let call: PreparedCall | undefined
  const { id } = await context.database.asTenant(scope, (db) =>
    runOnce(db, scope, { key, operation, request: input }, async () => {
      call = await storePayment(context, db, scope, input)
      return { id: call.payment.id }
    }),
  )
  return call === undefined
    ? waitForOperation(context, scope, id, id)
    : (await runOperation(context, scope, call)).payment
}

/** Stores the payment and its call, inside the caller's transaction. */
export async function storePayment(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  input: PaymentInput,
): Promise<PreparedCall> {
  const route = await routePayment(context, db, scope, input)
  const { call, log } = prepareOrRefuse(context, scope, input, route)
  await insertPaymentsWithCalls(db, [{ payment: call.payment, call: log }])
  return call
}

interface Prepared {
  call: PreparedCall
  log: LogRow
  /** Why its provider certainly can't take it. */
  faults: FieldError[]
}

function prepare(
  context: Context,
  scope: TenantScope,
  input: PaymentInput,
  { account, saved }: Route,
): Prepared {
  const payment = toRow(context, scope, input, account)
  const wanted = { kind: 'create' as const, ...(saved !== undefined && { saved }) }
  const log = toLogRow(context, scope, toLogEntry(payment, wanted))
  const operation = toOperation(context, payment, wanted, log.id)
  const row = { ...payment, operation: JSON.stringify(operation), check_at: deadlineOf(context) }
  const faults = listFaults(context, payment, account, saved)
  return { call: toCall(context, row, account, operation, wanted), log, faults }
}

/** What a provider certainly can't do is told before anything is stored. */
function prepareOrRefuse(context: Context, scope: TenantScope, input: PaymentInput, route: Route): Prepared {
  const prepared = prepare(context, scope, input, route)
  const { title } = route.account.provider
  if (prepared.faults.length === 0) return prepared
  throw invalidRequest(`${title} can't take this payment; see errors.`, prepared.faults)
}

function listFaults(
  context: Context,
  payment: PaymentRow,
  { provider, context: { credentials } }: Account,
  saved: Route['saved'],
): FieldError[] {
  const errors: FieldError[] = []
  const { capabilities, title } = provider
  const problem = wireProblem(payment.amount, payment.currency, { title, wire: capabilities.wire })
  if (problem !== undefined) {
    const field = capabilities.wire[payment.currency] === undefined ? 'currency' : 'amount'
    errors.push({ field, message: problem })
  }
  errors.push(...expiryFaults(context, payment))
  const isDirect = payment.flow === 'direct'
  if (isDirect && saved === undefined && !capabilities.tokens) {
    errors.push({
      field: 'token',
      message: `is not taken by ${title}: save the method first, or leave it out`,
    })
  }
  if (!isDirect && payment.return_url === null) {
    errors.push({ field: 'return_url', message: 'is missing: the customer pays on a page and comes back' })
  }
  if (problem === undefined) {
    const command = isDirect ? toPaymentCommand(context, payment, saved) : toCheckoutCommand(context, payment)
    errors.push(...(provider.checkPayment?.(command, credentials) ?? []))
  }
  return errors
}

const shortestPageMs = 5 * 60 * 1000
const longestPageMs = 45 * 24 * 60 * 60 * 1000

function expiryFaults(context: Context, { expires_at: end }: PaymentRow): FieldError[] {
  const openMs = end === null ? shortestPageMs : end.getTime() - context.now().getTime()
  const isPossible = openMs >= shortestPageMs && openMs <= longestPageMs
  return isPossible ? [] : [{ field: 'expires_at', message: 'must be 5 minutes to 45 days from now' }]
}

const tokenBytes = 18

function termsOf({ provider, context: { credentials } }: Account): Terms {
  return { ...provider.windows(credentials), cancel: provider.capabilities.cancel }
}

export function toRow(
  context: Context,
  scope: TenantScope,
  input: PaymentInput,
  account: Account,
): PaymentRow {
  const now = context.now()
  const isDirect = input.method_id !== undefined || input.token !== undefined
  return {
    id: createId('pay', now),
    tenant_id: scope.tenantId,
    provider: account.provider.id,
    connection_id: account.connectionId,
    flow: isDirect ? 'direct' : 'checkout',
    status: 'pending',
    amount: input.amount,
    currency: input.currency,
    capture: input.capture,
    captured: 0,
    refunded: 0,
    provider_payment_id: null,
    provider_checkout_id: null,
    checkout_id: input.checkout === true ? createId('chk', now) : null,
    items: input.items === undefined ? null : JSON.stringify(input.items),
    subscription_id: input.subscriptionId ?? null,
    method_id: input.method_id ?? null,
    reference: input.reference ?? null,
    description: input.description ?? null,
    customer: JSON.stringify(input.customer),
    metadata: JSON.stringify(input.metadata),
    installments: input.installments,
    return_url: input.return_url ?? null,
    cancel_url: input.cancel_url ?? null,
    return_token: randomBytes(tokenBytes).toString('base64url'),
    method_token:
      input.token === undefined
        ? null
        : JSON.stringify({ token: input.token, brand: input.brand, issuer: input.issuer }),
    action: null,
    method: null,
    failure: null,
    dispute: null,
    details: '{}',
    windows: JSON.stringify(termsOf(account)),
    operation: null,
    told: false,
    check_at: null,
    expires_at: input.expires_at === undefined ? null : new Date(input.expires_at),
    trace_id: scope.traceId,
    created_at: now,
    authorized_at: null,
    confirmed_at: null,
    ended_at: null,
    updated_at: now,
  }
}
