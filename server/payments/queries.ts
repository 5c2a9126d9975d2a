import { type Kysely, type RawBuilder, type Selectable, sql, type Updateable } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { PaymentsTables } from './tables.ts'

type Db = Kysely<PaymentsTables>
export type PaymentRow = Selectable<PaymentsTables['payments']>
export type PaymentChange = Updateable<PaymentsTables['payments']>
export type RefundRow = Selectable<PaymentsTables['payment_refunds']>
export type LogRow = Selectable<PaymentsTables['payment_log']>

export async function insertPayment(db: Db, row: PaymentRow): Promise<void> {
  await db.insertInto('payments').values(row).execute()
}

/** A payment with the call that will be made for it, in one statement. */
export async function insertPaymentWithCall(db: Db, row: PaymentRow, call: LogRow): Promise<void> {
  // As JSON: sixty parameters cost more to write and to plan than the rows to store.
  await sql`
    with call as (
      insert into payment_log select * from jsonb_populate_record(null::payment_log, ${JSON.stringify(call)})
    )
    insert into payments select * from jsonb_populate_record(null::payments, ${JSON.stringify(row)})`.execute(
    db,
  )
}

export interface CallEnd {
  logId: string
  change: Updateable<PaymentsTables['payment_log']>
}

/**
 * Writes how a call ended, what that makes of its payment and the events that follow, in one statement, if nobody
 * touched the payment since it was read as `known`. @returns how many deliveries were opened; undefined when
 * somebody did, and nothing was written.
 */
export async function changeUntouched(
  db: Db,
  known: PaymentRow,
  change: PaymentChange,
  call: CallEnd,
  recording: RawBuilder<number>,
): Promise<number | undefined> {
  const row = await db
    .with('moved', (inner) =>
      inner
        .updateTable('payments')
        .set(change)
        .where('tenant_id', '=', known.tenant_id)
        .where('id', '=', known.id)
        .where('operation', '=', known.operation)
        .where('status', '=', known.status)
        .where('told', '=', known.told)
        .where('updated_at', '=', known.updated_at)
        .returning('id'),
    )
    .with('ended', (inner) =>
      inner
        .updateTable('payment_log')
        .set(call.change)
        .where('tenant_id', '=', known.tenant_id)
        .where('id', '=', call.logId)
        .where((where) => where.exists(where.selectFrom('moved').select('moved.id'))),
    )
    .selectFrom('moved')
    .select(recording.as('opened'))
    .executeTakeFirst()
  return row?.opened
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
  const query = db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
  if (providerPaymentId !== undefined) {
    const found = await query.where('provider_payment_id', '=', providerPaymentId).executeTakeFirst()
    if (found !== undefined) return found
  }
  if (providerCheckoutId !== undefined) {
    const found = await query.where('provider_checkout_id', '=', providerCheckoutId).executeTakeFirst()
    if (found !== undefined) return found
  }
  return paymentId === undefined ? undefined : query.where('id', '=', paymentId).executeTakeFirst()
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
  if (filter.since !== undefined) query = query.where('created_at', '>=', filter.since)
  if (filter.until !== undefined) query = query.where('created_at', '<', filter.until)
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
