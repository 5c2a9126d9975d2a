import type { Kysely, Selectable } from 'kysely'
import type { Channel } from '../providers/provider.ts'
import type { MessagingTables } from '../tables.ts'

type Db = Kysely<MessagingTables>
export type AutoReplyRow = Selectable<MessagingTables['auto_replies']>

export function listActiveReplies(db: Db, tenantId: string, channel: Channel): Promise<AutoReplyRow[]> {
  return db
    .selectFrom('auto_replies')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('channel', '=', channel)
    .where('active', '=', true)
    .orderBy('priority')
    .orderBy('name')
    .execute()
}

export function listReplies(db: Db, tenantId: string): Promise<AutoReplyRow[]> {
  return db
    .selectFrom('auto_replies')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('channel')
    .orderBy('priority')
    .orderBy('name')
    .execute()
}

export function upsertReply(db: Db, row: AutoReplyRow): Promise<AutoReplyRow> {
  const { tenant_id: _tenant, name: _name, ...change } = row
  return db
    .insertInto('auto_replies')
    .values(row)
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name']).doUpdateSet(change))
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function deleteReply(db: Db, tenantId: string, name: string): Promise<boolean> {
  const row = await db
    .deleteFrom('auto_replies')
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .returning('name')
    .executeTakeFirst()
  return row !== undefined
}
