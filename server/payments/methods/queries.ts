import type { Kysely, Selectable, Updateable } from 'kysely'
import type { PaymentsTables } from '../tables.ts'

type Db = Kysely<PaymentsTables>
type MethodRow = Selectable<PaymentsTables['payment_methods']>

export async function insertMethod(db: Db, row: MethodRow): Promise<void> {
  await db.insertInto('payment_methods').values(row).execute()
}

export function findMethod(db: Db, tenantId: string, id: string): Promise<MethodRow | undefined> {
  return db
    .selectFrom('payment_methods')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function lockMethod(db: Db, tenantId: string, id: string): Promise<MethodRow | undefined> {
  return db
    .selectFrom('payment_methods')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export function findMethodByReturnToken(db: Db, token: string): Promise<MethodRow | undefined> {
  return db.selectFrom('payment_methods').selectAll().where('return_token', '=', token).executeTakeFirst()
}

export async function findTenantOfMethod(db: Db, id: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('payment_methods')
    .select('tenant_id')
    .where('id', '=', id)
    .executeTakeFirst()
  return row?.tenant_id
}

/** Of all tenants, begun before a moment, in the order of their ids. */
export function listPendingMethods(
  db: Db,
  { before, after, limit }: { before: Date; after: string | undefined; limit: number },
): Promise<Array<Pick<MethodRow, 'id' | 'tenant_id' | 'trace_id'>>> {
  let query = db
    .selectFrom('payment_methods')
    .select(['id', 'tenant_id', 'trace_id'])
    .where('status', '=', 'pending')
    .where('created_at', '<', before)
    .orderBy('id')
    .limit(limit)
  if (after !== undefined) query = query.where('id', '>', after)
  return query.execute()
}

export async function updateMethod(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<PaymentsTables['payment_methods']>,
): Promise<void> {
  await db
    .updateTable('payment_methods')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export interface MethodFilter {
  customerReference?: string | undefined
  status?: MethodRow['status'] | undefined
  before?: string | undefined
  limit: number
}

export function listMethods(db: Db, tenantId: string, filter: MethodFilter): Promise<MethodRow[]> {
  let query = db
    .selectFrom('payment_methods')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.customerReference !== undefined) {
    query = query.where('customer_reference', '=', filter.customerReference)
  }
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}
