import { createHash } from 'node:crypto'
import { type Kysely, type RawBuilder, type Selectable, sql } from 'kysely'
import { batchSize, deleteInBatches } from '#core/batches.ts'
import { bufferArray, columnArray, textArray, timestampArray } from '#core/sql-arrays.ts'
import type { InboundTables } from './tables.ts'

type Db = Kysely<InboundTables>
export type InboundWebhookRow = Selectable<InboundTables['inbound_webhooks']>

/** By name: whole rows can't be prepared, see `core/prepared-statements.ts`. */
const columns = [
  'id',
  'tenant_id',
  'capability',
  'provider',
  'connection_id',
  'state',
  'failed_check',
  'reason',
  'method',
  'target',
  'headers',
  'body',
  'trace_id',
  'received_at',
  'sealed_request',
  'accepted_at',
] as const satisfies ReadonlyArray<keyof InboundWebhookRow>
const allColumns = sql.raw(columns.join(', '))

/** As a statement of its own, or as part of one that also stores what follows. */
export function webhookInsertion(rows: readonly InboundWebhookRow[]): RawBuilder<unknown> {
  const texts = (read: (row: InboundWebhookRow) => string | null) => columnArray(textArray, rows.map(read))
  const moments = (read: (row: InboundWebhookRow) => Date | null) =>
    columnArray(timestampArray, rows.map(read))
  const bodies = columnArray(
    bufferArray,
    rows.map(({ body }) => body),
  )
  return sql`
    insert into inbound_webhooks (${allColumns})
    select * from unnest(
      ${texts((row) => row.id)}::text[], ${texts((row) => row.tenant_id)}::text[],
      ${texts((row) => row.capability)}::text[], ${texts((row) => row.provider)}::text[],
      ${texts((row) => row.connection_id)}::text[], ${texts((row) => row.state)}::text[],
      ${texts((row) => row.failed_check)}::text[], ${texts((row) => row.reason)}::text[],
      ${texts((row) => row.method)}::text[], ${texts((row) => row.target)}::text[],
      ${texts((row) => row.headers)}::text[], ${bodies}::bytea[],
      ${texts((row) => row.trace_id)}::text[], ${moments((row) => row.received_at)}::timestamptz[],
      ${texts((row) => row.sealed_request)}::text[], ${moments((row) => row.accepted_at)}::timestamptz[]
    )`
}

export function findWebhook(db: Db, tenantId: string, id: string): Promise<InboundWebhookRow | undefined> {
  return db
    .selectFrom('inbound_webhooks')
    .select(columns)
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

export interface NewFact {
  tenantId: string
  provider: string
  key: string
  webhookId: string
}

/**
 * `recordFact` of several, as parts of a `with` that also writes down what follows: of those whose place, counted from
 * 1, is in `due`. The last part is `new_facts`, the `place` of those that nobody recorded before.
 */
export function factRecording(facts: readonly NewFact[], due: RawBuilder<unknown>): RawBuilder<unknown> {
  const texts = (read: (fact: NewFact) => string) => textArray(facts.map(read))
  return sql`
    due_facts as materialized (
      select distinct on (tenant_id, provider, fact_key) * from unnest(
        ${texts((fact) => fact.tenantId)}::text[], ${texts((fact) => fact.provider)}::text[],
        ${texts((fact) => boundKey(fact.key))}::text[], ${texts((fact) => fact.webhookId)}::text[]
      ) with ordinality as given (tenant_id, provider, fact_key, webhook_id, place)
      where place in (${due}) order by tenant_id, provider, fact_key, place
    ),
    recorded_facts as (
      insert into inbound_facts (tenant_id, provider, fact_key, webhook_id)
      select tenant_id, provider, fact_key, webhook_id from due_facts
      on conflict (tenant_id, provider, fact_key) do nothing returning tenant_id, provider, fact_key
    ),
    new_facts as (select place from due_facts join recorded_facts using (tenant_id, provider, fact_key))`
}

/** True when nobody recorded this fact before: the caller's transaction now owns it. */
export async function recordFact(db: Db, fact: NewFact): Promise<boolean> {
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
  await deleteInBatches(async () => {
    const { numAffectedRows } = await sql`
      delete from inbound_facts where ctid = any(array(
        select ctid from inbound_facts fact
        where recorded_at < ${now}::timestamptz - make_interval(days => ${days.atLeast})
          and not exists (
            select from tenant_retention() wish
            where wish.tenant_id = fact.tenant_id
              and fact.recorded_at >= ${now}::timestamptz - make_interval(days => wish.raw_retention_days + ${days.longer}))
          and not exists (
            select from inbound_webhooks webhook where webhook.id = fact.webhook_id and webhook.body is not null)
        limit ${batchSize}))`.execute(db)
    return Number(numAffectedRows)
  })
}
