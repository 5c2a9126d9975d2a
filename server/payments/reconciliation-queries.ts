import { type Kysely, type Selectable, sql } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { Drift } from './drifts.ts'
import type { PaymentRow, RefundRow } from './queries.ts'
import type { PaymentsTables } from './tables.ts'

type Db = Kysely<PaymentsTables>
export type ReconciliationRow = Selectable<PaymentsTables['payment_reconciliations']>

export interface StoredDrift extends Pick<Drift, 'drift' | 'known' | 'found'> {
  payment_id: string
}

export async function insertReconciliation(db: Db, row: ReconciliationRow): Promise<void> {
  await db.insertInto('payment_reconciliations').values(row).execute()
}

export function findReconciliation(
  db: Db,
  tenantId: string,
  id: string,
): Promise<ReconciliationRow | undefined> {
  return db
    .selectFrom('payment_reconciliations')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

/** For paths that name a reconciliation only. */
export async function findTenantOfReconciliation(db: Db, id: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('payment_reconciliations')
    .select('tenant_id')
    .where('id', '=', id)
    .executeTakeFirst()
  return row?.tenant_id
}

export interface ReconciliationFilter {
  provider?: string | undefined
  state?: ReconciliationRow['state'] | undefined
  before?: string | undefined
  limit: number
}

export function listReconciliations(
  db: Db,
  tenantId: string,
  filter: ReconciliationFilter,
): Promise<ReconciliationRow[]> {
  let query = db
    .selectFrom('payment_reconciliations')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.provider !== undefined) query = query.where('provider', '=', filter.provider)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

/** Only one that is running ends, and only once. */
export async function endReconciliation(
  db: Db,
  tenantId: string,
  id: string,
  end: Pick<ReconciliationRow, 'state' | 'checked' | 'note' | 'error' | 'ended_at'>,
): Promise<void> {
  await db
    .updateTable('payment_reconciliations')
    .set(end)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .where('state', '=', 'running')
    .execute()
}

/** Keeps a difference with the transaction that mends it: a run that begins anew has it already. */
export async function addDrifts(
  db: Db,
  tenantId: string,
  id: string,
  found: readonly StoredDrift[],
  most: number,
): Promise<void> {
  const row = await db
    .selectFrom('payment_reconciliations')
    .select('drifts')
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
  if (row === undefined) return
  const known = JSON.parse(row.drifts) as StoredDrift[]
  const isKnown = (one: StoredDrift) =>
    known.some(({ payment_id, drift, found: words }) => {
      return payment_id === one.payment_id && drift === one.drift && words === one.found
    })
  const drifts = [...known, ...found.filter((one) => !isKnown(one))].slice(0, most)
  await db
    .updateTable('payment_reconciliations')
    .set({ drifts: JSON.stringify(drifts) })
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

/** Whether this difference of a payment was told before. */
export async function isDriftTold(
  db: Db,
  tenantId: string,
  paymentId: string,
  note: string,
): Promise<boolean> {
  const told = await db
    .selectFrom('payment_log')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('subject', '=', paymentId)
    .where('action', '=', 'drift_detected')
    .where('note', '=', note)
    .executeTakeFirst()
  return told !== undefined
}

/** Our payments among those a provider lists, by its ids and by ours. */
export async function findListed(
  db: Db,
  tenantId: string,
  provider: string,
  ids: { paymentIds: readonly string[]; providerPaymentIds: readonly string[] },
): Promise<PaymentRow[]> {
  if (ids.paymentIds.length + ids.providerPaymentIds.length === 0) return []
  return db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
    .where((where) =>
      where.or([
        where('id', '=', sql<string>`any(${ids.paymentIds})`),
        where('provider_payment_id', '=', sql<string>`any(${ids.providerPaymentIds})`),
      ]),
    )
    .execute()
}

export async function listRefundsOfPayments(
  db: Db,
  tenantId: string,
  paymentIds: readonly string[],
): Promise<RefundRow[]> {
  if (paymentIds.length === 0) return []
  return db
    .selectFrom('payment_refunds')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('payment_id', '=', sql<string>`any(${paymentIds})`)
    .orderBy('id')
    .execute()
}

/** Oldest first, after the one read last. */
export function listPaymentsSince(
  db: Db,
  tenantId: string,
  provider: string,
  since: Date,
  { after, limit }: { after: string; limit: number },
): Promise<PaymentRow[]> {
  return db
    .selectFrom('payments')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
    .where('id', '>=', firstIdOf('pay', since))
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** Tenants that ever took a payment, in their order: a step of the index for each, whatever the number of payments. */
export async function listPayingTenants(db: Db, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ tenant_id: string }>`
    with recursive paying as (
      (select tenant_id from payments where tenant_id > ${after} order by tenant_id limit 1)
      union all
      select (select p.tenant_id from payments p where p.tenant_id > paying.tenant_id order by p.tenant_id limit 1)
        from paying where paying.tenant_id is not null
    )
    select tenant_id from paying where tenant_id is not null limit ${limit}`.execute(db)
  return rows.map((row) => row.tenant_id)
}
