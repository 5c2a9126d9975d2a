import { type Kysely, type Selectable, sql, type Updateable } from 'kysely'
import type { PaymentsTables } from '../tables.ts'

type Db = Kysely<PaymentsTables>
export type SubscriptionRow = Selectable<PaymentsTables['payment_subscriptions']>
export type SubscriptionChange = Updateable<PaymentsTables['payment_subscriptions']>
export type ChargeRow = Selectable<PaymentsTables['payment_subscription_charges']>
export type ChargeChange = Updateable<PaymentsTables['payment_subscription_charges']>

export async function insertSubscription(db: Db, row: SubscriptionRow): Promise<void> {
  await db.insertInto('payment_subscriptions').values(row).execute()
}

export function findSubscription(db: Db, tenantId: string, id: string): Promise<SubscriptionRow | undefined> {
  return db
    .selectFrom('payment_subscriptions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function lockSubscription(db: Db, tenantId: string, id: string): Promise<SubscriptionRow | undefined> {
  return db
    .selectFrom('payment_subscriptions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export interface SubscriptionIds {
  subscriptionId?: string | undefined
  providerSubscriptionId?: string | undefined
}

/** The subscription of a tenant that either of these ids names. */
export async function findSubscriptionBy(
  db: Db,
  tenantId: string,
  provider: string,
  { subscriptionId, providerSubscriptionId }: SubscriptionIds,
): Promise<SubscriptionRow | undefined> {
  const query = db
    .selectFrom('payment_subscriptions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
  if (providerSubscriptionId !== undefined) {
    const found = await query
      .where('provider_subscription_id', '=', providerSubscriptionId)
      .executeTakeFirst()
    if (found !== undefined) return found
  }
  return subscriptionId === undefined ? undefined : query.where('id', '=', subscriptionId).executeTakeFirst()
}

export function findSubscriptionByReturnToken(db: Db, token: string): Promise<SubscriptionRow | undefined> {
  return db
    .selectFrom('payment_subscriptions')
    .selectAll()
    .where('return_token', '=', token)
    .executeTakeFirst()
}

/** For paths that name a subscription only; what the caller may see is decided by the tenant it answers. */
export async function findTenantOfSubscription(db: Db, id: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('payment_subscriptions')
    .select('tenant_id')
    .where('id', '=', id)
    .executeTakeFirst()
  return row?.tenant_id
}

export async function updateSubscription(
  db: Db,
  tenantId: string,
  id: string,
  change: SubscriptionChange,
): Promise<void> {
  await db
    .updateTable('payment_subscriptions')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export interface SubscriptionFilter {
  provider?: string | undefined
  status?: SubscriptionRow['status'] | undefined
  reference?: string | undefined
  customerReference?: string | undefined
  before?: string | undefined
  limit: number
}

export function listSubscriptions(
  db: Db,
  tenantId: string,
  filter: SubscriptionFilter,
): Promise<SubscriptionRow[]> {
  let query = db
    .selectFrom('payment_subscriptions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.provider !== undefined) query = query.where('provider', '=', filter.provider)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.reference !== undefined) query = query.where('reference', '=', filter.reference)
  if (filter.customerReference !== undefined) {
    query = query.where(sql<boolean>`customer::jsonb ->> 'reference' = ${filter.customerReference}`)
  }
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

/** Takes subscriptions that are due for a look, and puts them off so that nobody else takes them meanwhile. */
export function takeDueSubscriptions(
  db: Db,
  now: Date,
  putOffTo: Date,
  limit: number,
): Promise<Array<Pick<SubscriptionRow, 'id' | 'tenant_id' | 'trace_id'>>> {
  return db
    .updateTable('payment_subscriptions')
    .set({ check_at: putOffTo })
    .where('id', 'in', (select) =>
      select
        .selectFrom('payment_subscriptions')
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

export async function insertCharge(db: Db, row: ChargeRow): Promise<void> {
  await db.insertInto('payment_subscription_charges').values(row).execute()
}

export async function updateCharge(
  db: Db,
  { tenant_id: tenantId, subscription_id: subscriptionId, provider_charge_id: id }: ChargeRow,
  change: ChargeChange,
): Promise<void> {
  await db
    .updateTable('payment_subscription_charges')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('subscription_id', '=', subscriptionId)
    .where('provider_charge_id', '=', id)
    .execute()
}

function chargesOf(db: Db, tenantId: string, subscriptionId: string) {
  return db
    .selectFrom('payment_subscription_charges')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('subscription_id', '=', subscriptionId)
}

/** The latest, newest first. */
export function listCharges(
  db: Db,
  tenantId: string,
  subscriptionId: string,
  limit: number,
): Promise<ChargeRow[]> {
  return chargesOf(db, tenantId, subscriptionId)
    .orderBy(sql`period_start desc nulls last`)
    .orderBy('created_at', 'desc')
    .orderBy('attempt', 'desc')
    .limit(limit)
    .execute()
}

export function listChargesBy(
  db: Db,
  tenantId: string,
  subscriptionId: string,
  providerChargeIds: readonly string[],
): Promise<ChargeRow[]> {
  if (providerChargeIds.length === 0) return Promise.resolve([])
  return chargesOf(db, tenantId, subscriptionId)
    .where('provider_charge_id', 'in', providerChargeIds)
    .execute()
}

/** What we charge now or do not know the end of: at most one. */
export function findChargeUnderWay(
  db: Db,
  tenantId: string,
  subscriptionId: string,
): Promise<ChargeRow | undefined> {
  return chargesOf(db, tenantId, subscriptionId).where('status', '=', 'scheduled').executeTakeFirst()
}

/** Our own tries to charge one period, oldest first. */
export function listTries(
  db: Db,
  tenantId: string,
  subscriptionId: string,
  periodStart: Date,
): Promise<ChargeRow[]> {
  return chargesOf(db, tenantId, subscriptionId)
    .where('period_start', '=', periodStart)
    .orderBy('attempt')
    .execute()
}
