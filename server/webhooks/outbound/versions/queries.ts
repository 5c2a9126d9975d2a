import { type Kysely, sql } from 'kysely'
import type { EventTypeRow } from '../catalog-queries.ts'
import type { EndpointRow } from '../queries.ts'
import type { OutboundTables } from '../tables.ts'

type Db = Kysely<OutboundTables>

/** Those of these that are in the catalogue, kept as they are until the transaction ends. */
export function lockVersions(
  db: Db,
  productId: string,
  wanted: ReadonlyArray<readonly [name: string, version: number]>,
): Promise<Pick<EventTypeRow, 'name' | 'version' | 'supported'>[]> {
  const names = wanted.map(([name]) => name)
  const versions = wanted.map(([, version]) => version)
  return db
    .selectFrom('event_types')
    .select(['name', 'version', 'supported'])
    .where('product_id', '=', productId)
    .where(sql<boolean>`(name, version) in (select * from unnest(${names}::text[], ${versions}::int[]))`)
    .orderBy('name')
    .forShare()
    .execute()
}

export async function listSupported(db: Db, productId: string, name: string): Promise<number[]> {
  const rows = await db
    .selectFrom('event_types')
    .select('version')
    .where('product_id', '=', productId)
    .where('name', '=', name)
    .where('supported', '=', true)
    .orderBy('version')
    .execute()
  return rows.map((row) => row.version)
}

export async function saveSupport(db: Db, row: EventTypeRow): Promise<void> {
  await db
    .updateTable('event_types')
    .set({ supported: row.supported })
    .where('product_id', '=', row.product_id)
    .where('name', '=', row.name)
    .where('version', '=', row.version)
    .execute()
}

export type PinningEndpoint = Pick<EndpointRow, 'id' | 'product_id' | 'tenant_id' | 'url'> & {
  pinned: number
}

/** Endpoints that pin one of these versions, locked in the order in which all do that. */
export async function lockPinning(
  db: Db,
  productId: string,
  name: string,
  versions: readonly number[],
): Promise<PinningEndpoint[]> {
  return db
    .selectFrom('endpoints')
    .select(['id', 'product_id', 'tenant_id', 'url', sql<number>`(versions ->> ${name})::int`.as('pinned')])
    .where('product_id', '=', productId)
    .where('deleted_at', 'is', null)
    .where(sql<boolean>`(versions ->> ${name})::int = any(${versions}::int[])`)
    .orderBy('id')
    .forUpdate()
    .execute()
}

export async function removePins(
  db: Db,
  endpointIds: readonly string[],
  name: string,
  now: Date,
): Promise<void> {
  await db
    .updateTable('endpoints')
    .set({ versions: sql`versions - ${name}::text`, updated_at: now })
    .where('id', '=', sql<string>`any(${endpointIds}::text[])`)
    .execute()
}
