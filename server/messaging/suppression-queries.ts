import type { Kysely, Selectable } from 'kysely'
import type { MessagingTables } from './tables.ts'

type Db = Kysely<MessagingTables>
export type SuppressionRow = Selectable<MessagingTables['suppressions']>

export function findSuppression(
  db: Db,
  tenantId: string,
  channel: string,
  address: string,
): Promise<SuppressionRow | undefined> {
  return db
    .selectFrom('suppressions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('channel', '=', channel)
    .where('address', '=', address)
    .executeTakeFirst()
}

/** Undefined when the address was on the list already. */
export function insertSuppression(db: Db, row: SuppressionRow): Promise<SuppressionRow | undefined> {
  return db
    .insertInto('suppressions')
    .values(row)
    .onConflict((conflict) => conflict.columns(['tenant_id', 'channel', 'address']).doNothing())
    .returningAll()
    .executeTakeFirst()
}

export async function deleteSuppression(
  db: Db,
  tenantId: string,
  channel: string,
  address: string,
): Promise<boolean> {
  const row = await db
    .deleteFrom('suppressions')
    .where('tenant_id', '=', tenantId)
    .where('channel', '=', channel)
    .where('address', '=', address)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function deleteSuppressionById(db: Db, tenantId: string, id: string): Promise<boolean> {
  const row = await db
    .deleteFrom('suppressions')
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export function listSuppressions(
  db: Db,
  tenantId: string,
  filter: { channel: string | undefined; before: string | undefined; limit: number },
): Promise<SuppressionRow[]> {
  let query = db
    .selectFrom('suppressions')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.channel !== undefined) query = query.where('channel', '=', filter.channel)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}
