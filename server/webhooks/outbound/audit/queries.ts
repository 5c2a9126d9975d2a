import { type Kysely, type NotNull, type Selectable, sql } from 'kysely'
import type { AttemptRow } from '../queries.ts'
import type { OutboundTables } from '../tables.ts'
import type { AuditTables } from './tables.ts'

type Db = Kysely<AuditTables>
export type AuditKeyRow = Selectable<AuditTables['audit_keys']>
export type ChainRow = Selectable<AuditTables['audit_chains']>
export type BlockRow = Selectable<AuditTables['audit_blocks']>
export type LeavesRow = Selectable<AuditTables['audit_leaves']>
export type SealableAttempt = Omit<AttemptRow, 'body_sha256'> & {
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

export async function listSealable(db: Kysely<OutboundTables>, span: PlaceSpan): Promise<SealableAttempt[]> {
  return (await attemptsBetween(db, span).execute()).map(spellHash)
}

export async function listOfChain(
  db: Kysely<OutboundTables>,
  { product_id: productId, tenant_id: tenantId }: Pick<ChainRow, 'product_id' | 'tenant_id'>,
  span: PlaceSpan,
): Promise<SealableAttempt[]> {
  const rows = await attemptsBetween(db, span)
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

export async function findChains(
  db: Db,
  chains: readonly Pick<ChainRow, 'product_id' | 'tenant_id'>[],
): Promise<ChainRow[]> {
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

export async function insertBlocks(
  db: Db,
  blocks: readonly BlockRow[],
  leaves: readonly LeavesRow[],
): Promise<void> {
  await db.insertInto('audit_blocks').values(blocks).execute()
  await db.insertInto('audit_leaves').values(leaves).execute()
}

export type StoredBlock = BlockRow & { leaves: string | null }

export function listBlocks(
  db: Db,
  { product_id: productId, tenant_id: tenantId }: Pick<ChainRow, 'product_id' | 'tenant_id'>,
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
    .select('l.leaves')
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

/** A day after the attempts, which are still there on the day on which a tenant's wish changes. */
export async function deleteExpiredLeaves(db: Db, limit: number): Promise<number> {
  const { rows } = await sql`
    delete from audit_leaves where (product_id, tenant_id, number) in (
      select c.product_id, c.tenant_id, old.number
      from audit_chains c
      left join tenant_retention() wish on wish.tenant_id = c.tenant_id
      cross join lateral (select attempts_kept_since(c.tenant_id) - interval '1 day' as before offset 0) span
      cross join lateral (
        select l.number from audit_leaves l
        where l.product_id = c.product_id and l.tenant_id = c.tenant_id and l.sealed_at < span.before
        order by l.sealed_at
        limit ${limit}
      ) old
      where wish.changed_at is null or wish.changed_at < now() - interval '2 days'
      limit ${limit})
    returning number`.execute(db)
  return rows.length
}
