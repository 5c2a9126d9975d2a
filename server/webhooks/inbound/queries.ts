import { createHash } from 'node:crypto'
import { type Insertable, type Kysely, type Selectable, sql } from 'kysely'
import type { InboundTables } from './tables.ts'

type Db = Kysely<InboundTables>
export type InboundWebhookRow = Selectable<InboundTables['inbound_webhooks']>

export async function insertWebhooks(
  db: Db,
  rows: readonly Insertable<InboundTables['inbound_webhooks']>[],
): Promise<void> {
  await db.insertInto('inbound_webhooks').values(rows).execute()
}

export function findWebhook(db: Db, tenantId: string, id: string): Promise<InboundWebhookRow | undefined> {
  return db
    .selectFrom('inbound_webhooks')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export function listWebhooks(
  db: Db,
  tenantId: string,
  filter: { state?: 'stored' | 'refused'; before?: string; limit: number },
): Promise<InboundWebhookRow[]> {
  let query = db
    .selectFrom('inbound_webhooks')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

/** A refused webhook that passed after all: which connection it belongs to is known now. */
export async function acceptWebhook(
  db: Db,
  tenantId: string,
  id: string,
  accepted: { connectionId: string; at: Date },
): Promise<void> {
  await db
    .updateTable('inbound_webhooks')
    .set({
      state: 'stored',
      connection_id: accepted.connectionId,
      sealed_request: null,
      accepted_at: accepted.at,
    })
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .where('state', '=', 'refused')
    .execute()
}

const longestKey = 200

/** Keys come from outside; an index row holds no more than 2.7 kB. */
function boundKey(key: string): string {
  return key.length <= longestKey ? key : createHash('sha256').update(key).digest('hex')
}

/** True when nobody recorded this fact before: the caller's transaction now owns it. */
export async function recordFact(
  db: Db,
  fact: { tenantId: string; provider: string; key: string; webhookId: string },
): Promise<boolean> {
  const recorded = await db
    .insertInto('inbound_facts')
    .values({
      tenant_id: fact.tenantId,
      provider: fact.provider,
      fact_key: boundKey(fact.key),
      webhook_id: fact.webhookId,
    })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'provider', 'fact_key']).doNothing())
    .returning('fact_key')
    .executeTakeFirst()
  return recorded !== undefined
}

export type FactRow = Selectable<InboundTables['inbound_facts']>

/** Which of these facts were taken before, by their keys as given. */
export async function findFacts(
  db: Db,
  tenantId: string,
  provider: string,
  keys: readonly string[],
): Promise<Map<string, FactRow>> {
  if (keys.length === 0) return new Map()
  const rows = await db
    .selectFrom('inbound_facts')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
    .where('fact_key', 'in', keys.map(boundKey))
    .execute()
  const known = new Map(rows.map((row) => [row.fact_key, row]))
  return new Map(
    keys.flatMap((key) => {
      const fact = known.get(boundKey(key))
      return fact === undefined ? [] : [[key, fact] as const]
    }),
  )
}

export function listFactsOf(db: Db, tenantId: string, webhookId: string): Promise<FactRow[]> {
  return db
    .selectFrom('inbound_facts')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('webhook_id', '=', webhookId)
    .orderBy('recorded_at')
    .orderBy('fact_key')
    .execute()
}

/** Not those of webhooks whose request is still there, as it may be for a while after a tenant's wish changed. */
export async function deleteExpiredFacts(
  db: Db,
  days: { atLeast: number; longer: number },
  now: Date,
): Promise<void> {
  await sql`
    delete from inbound_facts fact
    where recorded_at < ${now}::timestamptz - make_interval(days => ${days.atLeast})
      and not exists (
        select from tenant_retention() wish
        where wish.tenant_id = fact.tenant_id
          and fact.recorded_at >= ${now}::timestamptz - make_interval(days => wish.raw_retention_days + ${days.longer}))
      and not exists (
        select from inbound_webhooks webhook where webhook.id = fact.webhook_id and webhook.body is not null)`.execute(
    db,
  )
}
