import { type Kysely, type NotNull, type Selectable, sql } from 'kysely'
import type { AttemptRow } from '../queries.ts'
import type { OutboundTables } from '../tables.ts'
import { spelledAttempt } from './spelled-attempt.ts'
import type { AuditTables } from './tables.ts'

type Db = Kysely<AuditTables>
export type AuditKeyRow = Selectable<AuditTables['audit_keys']>
export type ChainRow = Selectable<AuditTables['audit_chains']>
export type BlockRow = Selectable<AuditTables['audit_blocks']>
export type CheckpointRow = Selectable<AuditTables['audit_checkpoints']>
export type ChainName = Pick<ChainRow, 'product_id' | 'tenant_id'>
export type ChainAttempt = Omit<AttemptRow, 'body_sha256'> & {
  place: number
  product_id: string
  /** In hex. */
  body_sha256: string | null
}

/** The last place that was drawn, committed or not. */
export async function readLastPlace(db: Db): Promise<number> {
  const { rows } = await sql<{ place: number }>`
    select last_value - case when is_called then 0 else 1 end as place from attempt_places`.execute(db)
  return rows[0]?.place ?? 0
}

/**
 * Notes a place that `readLastPlace` gave before, with a transaction id taken now: those who drew that place or an
 * earlier one have smaller ids. A note with an id of the future is of another cluster, before a restore.
 */
export async function noteNextPlace(db: Db, lastPlace: number): Promise<void> {
  await sql`
    update audit_horizon set next_place = ${lastPlace}, next_transaction = pg_current_xact_id()::text::bigint
    where sealed_place < ${lastPlace}
      and (next_place = sealed_place or next_transaction > pg_current_xact_id()::text::bigint)`.execute(db)
}

export interface Horizon {
  sealed_place: number
  next_place: number
  /** All that could be recorded up to `next_place` is. */
  is_final: boolean
}

/** Undefined while somebody else seals. */
export async function lockHorizon(db: Db): Promise<Horizon | undefined> {
  const { rows } = await sql<Horizon>`
    select sealed_place, next_place,
      next_transaction <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint as is_final
    from audit_horizon for update skip locked`.execute(db)
  return rows[0]
}

export async function saveSealedPlace(db: Db, place: number): Promise<void> {
  await db.updateTable('audit_horizon').set({ sealed_place: place }).execute()
}

export interface PlaceSpan {
  after: number
  until: number
  limit: number
}

function spellHash<Row extends { body_sha256: Buffer | null }>(row: Row) {
  return { ...row, body_sha256: row.body_sha256?.toString('hex') ?? null }
}

function attemptsBetween(db: Kysely<OutboundTables>, { after, until, limit }: PlaceSpan) {
  return db
    .selectFrom('delivery_attempts')
    .innerJoin('endpoints', 'endpoints.id', 'delivery_attempts.endpoint_id')
    .selectAll('delivery_attempts')
    .select('endpoints.product_id')
    .$narrowType<{ place: NotNull }>()
    .where('place', '>', after)
    .where('place', '<=', until)
    .orderBy('place')
    .limit(limit)
}

/** What the next block of a chain is about. */
export interface Leaves extends ChainName {
  number: number
  attempts: number
  last_place: number
  root: string
  /** It has more than the deliveries of its chain's last announcement. */
  is_news: boolean
}

/**
 * Stores the hashes of attempts for the blocks that these are the next ones of. They are made where the attempts are:
 * to read and spell them here would cost a worker more than to deliver a third of them.
 */
export async function insertLeaves(
  db: Kysely<AuditTables & OutboundTables>,
  span: PlaceSpan,
  sealedAt: Date,
): Promise<Leaves[]> {
  const { rows } = await sql<Leaves>`
    with grouped as (
      select product_id, tenant_id, count(*)::int as attempts, max(place) as last_place,
        string_agg(id || ' ' || encode(sha256(convert_to(${spelledAttempt}, 'UTF8')), 'hex'), E'\n' order by place) as leaves,
        array_agg(distinct event_id) as event_ids
      from (${attemptsBetween(db, span)}) attempt
      group by product_id, tenant_id
    ),
    named as materialized (
      select g.*, coalesce(c.last_number, 0) + 1 as number,
        g.event_ids is distinct from array[c.announced_event_id] as is_news
      from grouped g left join audit_chains c using (product_id, tenant_id)
    ),
    stored as (
      insert into audit_leaves (product_id, tenant_id, number, sealed_at, leaves, event_ids)
      select product_id, tenant_id, number, ${sealedAt}::timestamptz, leaves, event_ids from named
    )
    select product_id, tenant_id, number, attempts, last_place, is_news,
      encode(sha256(convert_to(leaves, 'UTF8')), 'hex') as root
    from named`.execute(db)
  return rows
}

export interface ChainAttempts {
  /** What they are about. Undefined: the whole span is read, which may hold everybody's. */
  eventIds: readonly string[] | undefined
  /** The first and the last of the ids that are named: for the days that are looked at. */
  ids: { first: string; last: string }
  span: PlaceSpan
}

/** A chain's attempts about these events, named by a block or not. */
export async function listOfChain(
  db: Kysely<OutboundTables>,
  { product_id: productId, tenant_id: tenantId }: ChainName,
  { eventIds, ids, span }: ChainAttempts,
): Promise<ChainAttempt[]> {
  const rows = await attemptsBetween(db, span)
    .$if(eventIds !== undefined, (all) => all.where('event_id', '=', sql<string>`any(${eventIds})`))
    .where('delivery_attempts.id', '>=', ids.first)
    // Ids have nothing that sorts behind a tilde.
    .where('delivery_attempts.id', '<=', `${ids.last}~`)
    .where('delivery_attempts.tenant_id', '=', tenantId)
    .where('endpoints.product_id', '=', productId)
    .execute()
  return rows.map(spellHash)
}

export function findAuditKey(db: Db, productId: string): Promise<AuditKeyRow | undefined> {
  return db.selectFrom('audit_keys').selectAll().where('product_id', '=', productId).executeTakeFirst()
}

export async function insertAuditKey(db: Db, row: AuditKeyRow): Promise<void> {
  await db
    .insertInto('audit_keys')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function findChains(db: Db, chains: readonly ChainName[]): Promise<ChainRow[]> {
  const { rows } = await sql<ChainRow>`
    select c.* from audit_chains c
    join unnest(${chains.map((chain) => chain.product_id)}::text[], ${chains.map((chain) => chain.tenant_id)}::text[])
      as wanted (product_id, tenant_id) using (product_id, tenant_id)`.execute(db)
  return rows
}

export async function saveChains(db: Db, rows: readonly ChainRow[]): Promise<void> {
  await db
    .insertInto('audit_chains')
    .values(rows)
    .onConflict((conflict) =>
      conflict.columns(['product_id', 'tenant_id']).doUpdateSet((set) => ({
        last_number: set.ref('excluded.last_number'),
        last_hash: set.ref('excluded.last_hash'),
        last_place: set.ref('excluded.last_place'),
        has_news: set.ref('excluded.has_news'),
        announced_event_id: set.ref('excluded.announced_event_id'),
      })),
    )
    .execute()
}

/** In the order in which all of them are locked. */
export function lockChainsWithNews(db: Db, limit: number): Promise<ChainRow[]> {
  return db
    .selectFrom('audit_chains')
    .selectAll()
    .where('has_news', '=', true)
    .orderBy('product_id')
    .orderBy('tenant_id')
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute()
}

export async function insertBlocks(db: Db, blocks: readonly BlockRow[]): Promise<void> {
  await db.insertInto('audit_blocks').values(blocks).execute()
}

type LeavesRow = Selectable<AuditTables['audit_leaves']>
export type StoredBlock = BlockRow & Pick<LeavesRow, 'event_ids'> & { leaves: string | null }

export function listBlocks(
  db: Db,
  { product_id: productId, tenant_id: tenantId }: ChainName,
  { after, limit }: { after: number; limit: number },
): Promise<StoredBlock[]> {
  return db
    .selectFrom('audit_blocks as b')
    .leftJoin('audit_leaves as l', (join) =>
      join
        .onRef('l.product_id', '=', 'b.product_id')
        .onRef('l.tenant_id', '=', 'b.tenant_id')
        .onRef('l.number', '=', 'b.number'),
    )
    .selectAll('b')
    .select(['l.leaves', 'l.event_ids'])
    .where('b.product_id', '=', productId)
    .where('b.tenant_id', '=', tenantId)
    .where('b.number', '>', after)
    .orderBy('b.number')
    .limit(limit)
    .execute()
}

/** The tenant's attempts of earlier days may be gone. */
export async function readKeptSince(db: Db, tenantId: string): Promise<Date> {
  const { rows } = await sql<{ since: Date }>`select attempts_kept_since(${tenantId}) as since`.execute(db)
  return rows[0]?.since ?? new Date(0)
}

export type ExpiredBlock = ChainName & Pick<BlockRow, 'number' | 'last_place' | 'hash' | 'sealed_at'>

/** Bounds what is taken away of a chain in one transaction. Numbers have no gaps. */
const blocksAtOnce = 2_000

/**
 * Of the next chains that have any, the last of up to 2,000 blocks whose attempts are gone. Blocks go a day after the
 * attempts, which are still there on the day on which a tenant's wish changes.
 */
export async function listExpired(
  db: Db,
  after: ChainName = { product_id: '', tenant_id: '' },
  limit: number,
): Promise<ExpiredBlock[]> {
  const { rows } = await sql<ExpiredBlock>`
    select b.product_id, b.tenant_id, b.number, b.last_place, b.hash, b.sealed_at
    from audit_chains c
    left join tenant_retention() wish on wish.tenant_id = c.tenant_id
    cross join lateral (select attempts_kept_since(c.tenant_id) - interval '1 day' as before offset 0) span
    cross join lateral (
      select number from audit_blocks
      where product_id = c.product_id and tenant_id = c.tenant_id
      order by number limit 1
    ) first
    cross join lateral (
      select least(max(number), first.number + ${blocksAtOnce} - 1) as number from (
        select l.number from audit_leaves l
        where l.product_id = c.product_id and l.tenant_id = c.tenant_id and l.sealed_at < span.before
        order by l.sealed_at
        limit ${blocksAtOnce}
      ) old
    ) last
    join audit_blocks b
      on b.product_id = c.product_id and b.tenant_id = c.tenant_id and b.number = last.number
    where (wish.changed_at is null or wish.changed_at < now() - interval '2 days')
      and (c.product_id, c.tenant_id) > (${after.product_id}, ${after.tenant_id})
    order by c.product_id, c.tenant_id
    limit ${limit}`.execute(db)
  return rows
}

export async function lockChain(
  db: Db,
  { product_id: productId, tenant_id: tenantId }: ChainName,
): Promise<void> {
  await db
    .selectFrom('audit_chains')
    .select('last_number')
    .where('product_id', '=', productId)
    .where('tenant_id', '=', tenantId)
    .forUpdate()
    .execute()
}

/** The blocks of a chain up to this one, with the hashes of their attempts. */
export async function deleteBlocks(
  db: Db,
  { product_id: productId, tenant_id: tenantId, number }: ExpiredBlock,
): Promise<{ blocks: number; attempts: number }> {
  const { rows } = await sql<{ blocks: number; attempts: number }>`
    with leaves as (
      delete from audit_leaves
      where product_id = ${productId} and tenant_id = ${tenantId} and number <= ${number}
    ),
    gone as (
      delete from audit_blocks
      where product_id = ${productId} and tenant_id = ${tenantId} and number <= ${number}
      returning attempts
    )
    select count(*) as blocks, coalesce(sum(attempts), 0)::bigint as attempts from gone`.execute(db)
  return rows[0] ?? { blocks: 0, attempts: 0 }
}

export function findCheckpoint(
  db: Db,
  { product_id: productId, tenant_id: tenantId }: ChainName,
): Promise<CheckpointRow | undefined> {
  return db
    .selectFrom('audit_checkpoints')
    .selectAll()
    .where('product_id', '=', productId)
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()
}

export async function saveCheckpoint(db: Db, row: CheckpointRow): Promise<void> {
  await db
    .insertInto('audit_checkpoints')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['product_id', 'tenant_id']).doUpdateSet((set) => ({
        number: set.ref('excluded.number'),
        last_place: set.ref('excluded.last_place'),
        hash: set.ref('excluded.hash'),
        sealed_at: set.ref('excluded.sealed_at'),
        attempts: set.ref('excluded.attempts'),
        signature: set.ref('excluded.signature'),
      })),
    )
    .execute()
}
