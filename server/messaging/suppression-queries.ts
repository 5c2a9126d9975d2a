import { type Kysely, type Selectable, sql } from 'kysely'
import type { Channel } from './providers/provider.ts'
import type { MessagingTables } from './tables.ts'

type Db = Kysely<MessagingTables>
export type SuppressionRow = Selectable<MessagingTables['suppressions']>

export function findSuppression(
  db: Db,
  tenantId: string,
  channel: Channel,
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

/** Whether the address is new on the list. One that is on it keeps its reason and gets the later time. */
export async function insertSuppression(db: Db, row: SuppressionRow): Promise<boolean> {
  const inserted = await db
    .insertInto('suppressions')
    .values(row)
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'channel', 'address'])
        .doUpdateSet({ created_at: sql`greatest(suppressions.created_at, excluded.created_at)` }),
    )
    .returning('id')
    .executeTakeFirst()
  return inserted?.id === row.id
}

export async function deleteSuppression(
  db: Db,
  tenantId: string,
  entry: { channel: Channel; address: string; reasons: readonly string[]; until: Date },
): Promise<boolean> {
  const row = await db
    .deleteFrom('suppressions')
    .where('tenant_id', '=', tenantId)
    .where('channel', '=', entry.channel)
    .where('address', '=', entry.address)
    .where('reason', 'in', entry.reasons)
    .where('created_at', '<=', entry.until)
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
  filter: { channel: Channel | undefined; before: string | undefined; limit: number },
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
