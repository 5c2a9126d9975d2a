import { type Kysely, type Selectable, sql, type Updateable } from 'kysely'
import type { Channel } from './providers/provider.ts'
import type { MessagingTables } from './tables.ts'

type Db = Kysely<MessagingTables>
export type MessageRow = Selectable<MessagingTables['messages']>
export type AttemptRow = Selectable<MessagingTables['message_attempts']>
export type ReportRow = Selectable<MessagingTables['message_reports']>

export async function insertMessage(db: Db, row: MessageRow, content: object): Promise<void> {
  await db.insertInto('messages').values(row).execute()
  await db
    .insertInto('message_contents')
    .values({ tenant_id: row.tenant_id, message_id: row.id, content: JSON.stringify(content) })
    .execute()
}

/** What a message says, as the object it was stored as; undefined when it was forgotten. */
export async function findContent<Content>(
  db: Db,
  tenantId: string,
  messageId: string,
): Promise<Content | undefined> {
  const row = await db
    .selectFrom('message_contents')
    .select('content')
    .where('tenant_id', '=', tenantId)
    .where('message_id', '=', messageId)
    .executeTakeFirst()
  return row === undefined ? undefined : (JSON.parse(row.content) as Content)
}

export function findMessage(db: Db, tenantId: string, id: string): Promise<MessageRow | undefined> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function lockMessage(db: Db, tenantId: string, id: string): Promise<MessageRow | undefined> {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

export function lockMessageByProviderId(...about: AboutMessage): Promise<MessageRow | undefined> {
  return byProviderId(...about)
    .forUpdate()
    .executeTakeFirst()
}

export function findMessageByProviderId(...about: AboutMessage): Promise<MessageRow | undefined> {
  return byProviderId(...about).executeTakeFirst()
}

type AboutMessage = [db: Db, tenantId: string, provider: string, providerMessageId: string]

/** SendGrid's events carry ours up to the first dot of theirs. */
function byProviderId(...[db, tenantId, provider, providerMessageId]: AboutMessage) {
  return db
    .selectFrom('messages')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
    .where('direction', '=', 'out')
    .where('provider_message_id', 'in', [providerMessageId, providerMessageId.split('.')[0] ?? ''])
}

export async function updateMessage(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<MessagingTables['messages']>,
): Promise<void> {
  await db
    .updateTable('messages')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export async function insertAttempt(db: Db, row: AttemptRow): Promise<void> {
  await db.insertInto('message_attempts').values(row).execute()
}

export async function updateAttempt(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<MessagingTables['message_attempts']>,
): Promise<void> {
  await db
    .updateTable('message_attempts')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .execute()
}

export function listAttempts(db: Db, tenantId: string, messageId: string): Promise<AttemptRow[]> {
  return db
    .selectFrom('message_attempts')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('message_id', '=', messageId)
    .orderBy('id')
    .execute()
}

export async function insertReport(db: Db, row: ReportRow): Promise<void> {
  await db.insertInto('message_reports').values(row).execute()
}

export function listReports(db: Db, tenantId: string, messageId: string): Promise<ReportRow[]> {
  return db
    .selectFrom('message_reports')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('message_id', '=', messageId)
    .orderBy('id')
    .execute()
}

export interface MessageFilter {
  channel?: Channel | undefined
  provider?: string | undefined
  status?: MessageRow['status'] | undefined
  direction?: 'out' | 'in' | undefined
  to?: string | undefined
  reference?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
  before?: string | undefined
  limit: number
}

export function listMessages(db: Db, tenantId: string, filter: MessageFilter): Promise<MessageRow[]> {
  let query = db
    .selectFrom('messages')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.channel !== undefined) query = query.where('channel', '=', filter.channel)
  if (filter.provider !== undefined) query = query.where('provider', '=', filter.provider)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.direction !== undefined) query = query.where('direction', '=', filter.direction)
  if (filter.to !== undefined) query = query.where('to_address', '=', filter.to)
  if (filter.reference !== undefined) query = query.where('reference', '=', filter.reference)
  if (filter.since !== undefined) query = query.where('created_at', '>=', filter.since)
  if (filter.until !== undefined) query = query.where('created_at', '<', filter.until)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

export async function countAutoReplies(db: Db, tenantId: string, to: string, since: Date): Promise<number> {
  const row = await db
    .selectFrom('messages')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('tenant_id', '=', tenantId)
    .where('to_address', '=', to)
    .where('auto_reply', 'is not', null)
    .where('created_at', '>', since)
    .executeTakeFirstOrThrow()
  return row.count
}

/** Serialises what concerns one contact of a tenant until the transaction ends. */
export async function lockContact(db: Db, tenantId: string, contact: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`${tenantId} ${contact}`}, 0))`.execute(db)
}

export async function saveInboundTime(
  db: Db,
  window: { tenantId: string; sender: string; contact: string; at: Date },
): Promise<void> {
  await db
    .insertInto('whatsapp_windows')
    .values({
      tenant_id: window.tenantId,
      sender: window.sender,
      contact: window.contact,
      last_inbound_at: window.at,
    })
    .onConflict((conflict) =>
      conflict.columns(['tenant_id', 'sender', 'contact']).doUpdateSet({
        last_inbound_at: sql`greatest(whatsapp_windows.last_inbound_at, excluded.last_inbound_at)`,
      }),
    )
    .execute()
}

/** A contact counts under the address given and under the form the provider answered for it before. */
export async function findLastInbound(
  db: Db,
  tenantId: string,
  sender: string,
  contact: string,
): Promise<Date | undefined> {
  const row = await db
    .selectFrom('whatsapp_windows')
    .select((select) => select.fn.max('last_inbound_at').as('at'))
    .where('tenant_id', '=', tenantId)
    .where('sender', '=', sender)
    .where((where) =>
      where.or([
        where('contact', '=', contact),
        where(
          'contact',
          'in',
          where
            .selectFrom('messages')
            .select('recipient')
            .where('messages.tenant_id', '=', tenantId)
            .where('messages.to_address', '=', contact)
            .where('recipient', 'is not', null)
            .$castTo<{ recipient: string }>(),
        ),
      ]),
    )
    .executeTakeFirst()
  return row?.at ?? undefined
}

/** For paths that name a message only; what the caller may see is decided by the tenant it answers. */
export async function findTenantOfMessage(db: Db, id: string): Promise<string | undefined> {
  const row = await db.selectFrom('messages').select('tenant_id').where('id', '=', id).executeTakeFirst()
  return row?.tenant_id
}
