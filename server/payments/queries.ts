import { type Kysely, type Selectable, sql, type Updateable } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { PaymentsTables } from './tables.ts'

type Db = Kysely<PaymentsTables>
export type PaymentRow = Selectable<PaymentsTables['payments']>
export type PaymentChange = Updateable<PaymentsTables['payments']>
export type RefundRow = Selectable<PaymentsTables['payment_refunds']>
export type LogRow = Selectable<PaymentsTables['payment_log']>

/** Every column by its name: whole rows can't be prepared, see `core/prepared-statements.ts`. */
const paymentColumns: Record<keyof PaymentRow, true> = {
  id: true,
  tenant_id: true,
  provider: true,
  connection_id: true,
  flow: true,
  status: true,
  amount: true,
  currency: true,
  capture: true,
  captured: true,
  refunded: true,
  provider_payment_id: true,
  provider_checkout_id: true,
  checkout_id: true,
  items: true,
  subscription_id: true,
  method_id: true,
  reference: true,
  description: true,
  customer: true,
  metadata: true,
  installments: true,
  return_url: true,
  cancel_url: true,
  return_token: true,
  method_token: true,
  action: true,
  method: true,
  failure: true,
  dispute: true,
  details: true,
  windows: true,
  operation: true,
  told: true,
  check_at: true,
  expires_at: true,
  trace_id: true,
  created_at: true,
  authorized_at: true,
  confirmed_at: true,
  ended_at: true,
  updated_at: true,
}
export const allColumns = sql.raw(Object.keys(paymentColumns).join(', '))

export async function insertPayment(db: Db, row: PaymentRow): Promise<void> {
  await db.insertInto('payments').values(row).execute()
}

export interface CallEnd {
  logId: string
  change: Updateable<PaymentsTables['payment_log']>
}

/** Writes how a call ended and locks what it was about, in one statement. */
export function endCallAndLock(
  db: Db,
  tenantId: string,
  id: string,
  call: CallEnd,
): Promise<PaymentRow | undefined> {
  return db
    .with('call', (inner) =>
      inner
        .updateTable('payment_log')
        .set(call.change)
        .where('tenant_id', '=', tenantId)
        .where('id', '=', call.logId),
    )
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export function findPayment(db: Db, tenantId: string, id: string): Promise<PaymentRow | undefined> {
  return db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function findPaymentOfCheckout(
  db: Db,
  tenantId: string,
  checkoutId: string,
): Promise<PaymentRow | undefined> {
  return db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('checkout_id', '=', checkoutId)
    .executeTakeFirst()
}

export function lockPayment(db: Db, tenantId: string, id: string): Promise<PaymentRow | undefined> {
  return db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export interface ProviderIds {
  paymentId?: string | undefined
  providerPaymentId?: string | undefined
  providerCheckoutId?: string | undefined
}

/** The payment of a tenant that any of these ids names. */
export async function findPaymentBy(
  db: Db,
  tenantId: string,
  provider: string,
  ids: ProviderIds,
): Promise<PaymentRow | undefined> {
  const { paymentId, providerPaymentId, providerCheckoutId } = ids
  const find = async (column: keyof PaymentRow, id: string | undefined) => {
    if (id === undefined) return undefined
    const { rows } = await sql<PaymentRow>`
      select ${allColumns} from payments
      where tenant_id = ${tenantId} and provider = ${provider} and ${sql.ref(column)} = ${id}`.execute(db)
    return rows[0]
  }
  return (
    (await find('provider_payment_id', providerPaymentId)) ??
    (await find('provider_checkout_id', providerCheckoutId)) ??
    (await find('id', paymentId))
  )
}

export function findPaymentByReturnToken(db: Db, token: string): Promise<PaymentRow | undefined> {
  return db.selectFrom('payments').selectAll().where('return_token', '=', token).executeTakeFirst()
}

/** For paths that name a payment only; what the caller may see is decided by the tenant it answers. */
export async function findTenantOfPayment(db: Db, id: string): Promise<string | undefined> {
  const column = id.startsWith('chk_') ? 'checkout_id' : 'id'
  const row = await db.selectFrom('payments').select('tenant_id').where(column, '=', id).executeTakeFirst()
  return row?.tenant_id
}

export async function updatePayment(
  db: Db,
  tenantId: string,
  id: string,
  change: PaymentChange,
): Promise<void> {
  await db
    .updateTable('payments')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export interface PaymentFilter {
  provider?: string | undefined
  status?: PaymentRow['status'] | undefined
  currency?: string | undefined
  reference?: string | undefined
  subscriptionId?: string | undefined
  customerReference?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
  before?: string | undefined
  limit: number
}

export function listPayments(db: Db, tenantId: string, filter: PaymentFilter): Promise<PaymentRow[]> {
  let query = db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.provider !== undefined) query = query.where('provider', '=', filter.provider)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.currency !== undefined) query = query.where('currency', '=', filter.currency)
  if (filter.reference !== undefined) query = query.where('reference', '=', filter.reference)
  if (filter.subscriptionId !== undefined) query = query.where('subscription_id', '=', filter.subscriptionId)
  if (filter.customerReference !== undefined) {
    query = query.where(sql<boolean>`customer::jsonb ->> 'reference' = ${filter.customerReference}`)
  }
  if (filter.since !== undefined) query = query.where('id', '>=', firstIdOf('pay', filter.since))
  if (filter.until !== undefined) query = query.where('id', '<', firstIdOf('pay', filter.until))
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

/** Takes payments that are due for a look, and puts them off so that nobody else takes them meanwhile. */
export async function takeDuePayments(
  db: Db,
  now: Date,
  putOffTo: Date,
  limit: number,
): Promise<Array<Pick<PaymentRow, 'id' | 'tenant_id' | 'trace_id'>>> {
  return db
    .updateTable('payments')
    .set({ check_at: putOffTo })
    .where('id', 'in', (select) =>
      select
        .selectFrom('payments')
        .select('id')
        .where('check_at', '<=', now)
        .orderBy('check_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returning(['id', 'tenant_id', 'trace_id'])
    .execute()
}

export function listRefunds(db: Db, tenantId: string, paymentId: string): Promise<RefundRow[]> {
  return db
    .selectFrom('payment_refunds')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('payment_id', '=', paymentId)
    .orderBy('id')
    .execute()
}

export async function insertRefund(db: Db, row: RefundRow): Promise<void> {
  await db.insertInto('payment_refunds').values(row).execute()
}

export async function updateRefund(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<PaymentsTables['payment_refunds']>,
): Promise<void> {
  await db
    .updateTable('payment_refunds')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export async function insertLog(db: Db, row: LogRow): Promise<void> {
  await db.insertInto('payment_log').values(row).execute()
}

/** What a webhook was found to be about when it was read between two moments. */
export async function listSubjectsOfWebhook(
  db: Db,
  tenantId: string,
  webhookId: string,
  { since, until }: { since: Date; until: Date },
): Promise<string[]> {
  const rows = await db
    .selectFrom('payment_log')
    .select('subject')
    .distinct()
    .where('tenant_id', '=', tenantId)
    .where('id', '>=', firstIdOf('plg', since))
    .where('id', '<', firstIdOf('plg', until))
    .where('webhook_id', '=', webhookId)
    .orderBy('subject')
    .execute()
  return rows.map((row) => row.subject)
}

export async function updateLog(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<PaymentsTables['payment_log']>,
): Promise<void> {
  await db
    .updateTable('payment_log')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export function listLogOf(db: Db, tenantId: string, subject: string): Promise<LogRow[]> {
  return db
    .selectFrom('payment_log')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('subject', '=', subject)
    .orderBy('id')
    .execute()
}

export interface LogFilter {
  provider?: string | undefined
  action?: string | undefined
  outcome?: string | undefined
  subject?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
  before?: string | undefined
  limit: number
}

export function listLog(db: Db, tenantId: string, filter: LogFilter): Promise<LogRow[]> {
  let query = db
    .selectFrom('payment_log')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.provider !== undefined) query = query.where('provider', '=', filter.provider)
  if (filter.action !== undefined) query = query.where('action', '=', filter.action)
  if (filter.outcome !== undefined) query = query.where('outcome', '=', filter.outcome)
  if (filter.subject !== undefined) query = query.where('subject', '=', filter.subject)
  if (filter.since !== undefined) query = query.where('at', '>=', filter.since)
  if (filter.until !== undefined) query = query.where('at', '<', filter.until)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}
