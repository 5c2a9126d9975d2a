import { type Kysely, type Selectable, sql } from 'kysely'
import type { OutboundTables } from './tables.ts'

type Db = Kysely<OutboundTables>
export type EventTypeRow = Selectable<OutboundTables['event_types']>

/** Undefined when this version is there already. */
export function insertEventType(db: Db, row: EventTypeRow): Promise<EventTypeRow | undefined> {
  return db
    .insertInto('event_types')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
}

export async function describeEventType(db: Db, row: EventTypeRow, description: string): Promise<void> {
  await db
    .updateTable('event_types')
    .set({ description })
    .where('product_id', '=', row.product_id)
    .where('name', '=', row.name)
    .where('version', '=', row.version)
    .execute()
}

type EventTypeAmong = EventTypeRow & {
  /** All of its type. */
  versions: number[]
  supported_versions: number[]
}

/** The newest version unless one is named. */
export function findEventType(
  db: Db,
  productId: string,
  name: string,
  version: number | undefined,
): Promise<EventTypeAmong | undefined> {
  const all = sql`from event_types other
    where other.product_id = event_types.product_id and other.name = event_types.name`
  const query = db
    .selectFrom('event_types')
    .selectAll()
    .select([
      sql<number[]>`array(select other.version ${all} order by other.version)`.as('versions'),
      sql<number[]>`array(select other.version ${all} and other.supported order by other.version)`.as(
        'supported_versions',
      ),
    ])
    .where('product_id', '=', productId)
    .where('name', '=', name)
    .orderBy('version', 'desc')
    .limit(1)
  return (version === undefined ? query : query.where('version', '=', version)).executeTakeFirst()
}

export async function listVersions(db: Db, productId: string, name: string): Promise<number[]> {
  const rows = await db
    .selectFrom('event_types')
    .select('version')
    .where('product_id', '=', productId)
    .where('name', '=', name)
    .orderBy('version')
    .execute()
  return rows.map((row) => row.version)
}

/** The newest version of each type. */
export function listEventTypes(db: Db, productId: string): Promise<EventTypeRow[]> {
  return db
    .selectFrom('event_types')
    .selectAll()
    .distinctOn('name')
    .where('product_id', '=', productId)
    .orderBy('name')
    .orderBy('version', 'desc')
    .execute()
}

export async function countEventTypes(db: Db, productId: string): Promise<number> {
  const row = await db
    .selectFrom('event_types')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('product_id', '=', productId)
    .executeTakeFirstOrThrow()
  return row.count
}

/** The versions that were deleted. */
export async function deleteEventTypes(db: Db, productId: string, name: string): Promise<number[]> {
  const rows = await db
    .deleteFrom('event_types')
    .where('product_id', '=', productId)
    .where('name', '=', name)
    .returning('version')
    .execute()
  return rows.map((row) => row.version)
}
