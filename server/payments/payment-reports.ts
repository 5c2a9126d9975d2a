import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { presentCheckout, presentLog, presentPayment, presentRefund } from './presentation.ts'
import {
  findPayment,
  findPaymentOfCheckout,
  listLog,
  listPayments as listRows,
  listRefunds,
} from './queries.ts'
import type { Checkout, LogEntry, LogQuery, Payment, PaymentQuery, Refund } from './schema.ts'

/** @throws PipeError 404 */
export async function getPayment(context: Context, scope: TenantScope, id: string): Promise<Payment> {
  const row = await context.database.asTenant(scope, (db) => findPayment(db, scope.tenantId, id))
  if (row === undefined) throw notFound('payment', id)
  return presentPayment(row, context.now())
}

/** @throws PipeError 404 */
export async function getCheckout(context: Context, scope: TenantScope, id: string): Promise<Checkout> {
  const row = await context.database.asTenant(scope, (db) => findPaymentOfCheckout(db, scope.tenantId, id))
  if (row === undefined) throw notFound('checkout', id)
  return presentCheckout(row)
}

/** Newest first. */
export async function listPayments(
  context: Context,
  scope: TenantScope,
  query: PaymentQuery,
): Promise<Page<Payment>> {
  const { limit } = query
  const rows = await context.database.asTenant(scope, (db) =>
    listRows(db, scope.tenantId, {
      provider: query.provider,
      status: query.status,
      currency: query.currency,
      reference: query.reference,
      subscriptionId: query.subscription_id,
      customerReference: query.customer_reference,
      ...boundsOf(query),
      limit: limit + 1,
    }),
  )
  return toPage(rows, limit, (row) => presentPayment(row, context.now()))
}

/** All of a payment, oldest first. @throws PipeError 404 */
export async function listRefundsOf(
  context: Context,
  scope: TenantScope,
  paymentId: string,
): Promise<Page<Refund>> {
  return context.database.asTenant(scope, async (db) => {
    const payment = await findPayment(db, scope.tenantId, paymentId)
    if (payment === undefined) throw notFound('payment', paymentId)
    const rows = await listRefunds(db, scope.tenantId, paymentId)
    return { data: rows.map((row) => presentRefund(row, payment.currency)), next_cursor: null }
  })
}

/** Every call to a provider, webhook, return and decision of a tenant, newest first. */
export async function getPaymentLog(
  context: Context,
  scope: TenantScope,
  query: LogQuery,
): Promise<Page<LogEntry>> {
  const { provider, action, outcome, subject, limit } = query
  const filter = { provider, action, outcome, subject, ...boundsOf(query) }
  const rows = await context.database.asTenant(scope, (db) =>
    listLog(db, scope.tenantId, { ...filter, limit: limit + 1 }),
  )
  return toPage(rows, limit, presentLog)
}

function boundsOf({ since, until, cursor }: Pick<LogQuery, 'since' | 'until' | 'cursor'>) {
  return {
    since: since === undefined ? undefined : new Date(since),
    until: until === undefined ? undefined : new Date(until),
    before: decodeCursor(cursor),
  }
}
