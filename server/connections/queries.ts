import { type Kysely, type RawBuilder, type Selectable, sql, type Updateable } from 'kysely'
import type { ConnectionsTables } from './tables.ts'

type Db = Kysely<ConnectionsTables>
export type ConnectionRow = Selectable<ConnectionsTables['connections']>

/** By name: whole rows can't be prepared (`core/prepared-statements.ts`). */
const columns = [
  'id',
  'tenant_id',
  'capability',
  'provider',
  'sealed_credentials',
  'version',
  'active',
  'priority',
  'weight',
  'created_at',
  'updated_at',
  'deleted_at',
] as const satisfies ReadonlyArray<keyof ConnectionRow>

export function findConnection(db: Db, tenantId: string, id: string): Promise<ConnectionRow | undefined> {
  return db
    .selectFrom('connections')
    .select(columns)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

const oldAccountsTried = 5

export function listConnectionsOfProvider(
  db: Db,
  tenantId: string,
  capability: string,
  provider: string,
): Promise<ConnectionRow[]> {
  return db
    .selectFrom('connections')
    .select(columns)
    .where('tenant_id', '=', tenantId)
    .where('capability', '=', capability)
    .where('provider', '=', provider)
    .orderBy('deleted_at', (order) => order.desc().nullsFirst())
    .limit(oldAccountsTried)
    .execute()
}

/** One change at a time of a tenant's connections for a capability, also of those that do not exist yet. */
export async function lockCapability(db: Db, tenantId: string, capability: string): Promise<void> {
  const name = `connections ${tenantId} ${capability}`
  await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(db)
}

export function listConnections(
  db: Db,
  tenantId: string,
  capabilities: readonly string[],
): Promise<ConnectionRow[]> {
  return db
    .selectFrom('connections')
    .select(columns)
    .where('tenant_id', '=', tenantId)
    .where('capability', 'in', capabilities)
    .where('deleted_at', 'is', null)
    .orderBy('capability')
    .orderBy('active', 'desc')
    .orderBy('priority')
    .orderBy('id')
    .execute()
}

/** Best first: what new work is routed to. */
export function listActiveConnections(
  db: Db,
  tenantId: string,
  capability: string,
): Promise<ConnectionRow[]> {
  return db
    .selectFrom('connections')
    .select(columns)
    .where('tenant_id', '=', tenantId)
    .where('capability', '=', capability)
    .where('active', '=', true)
    .where('deleted_at', 'is', null)
    .orderBy('priority')
    .orderBy('updated_at', 'desc')
    .execute()
}

/** Whether these are what `listActiveConnections` would find; see `migrations/0002_routes.sql`. */
export function areActive(tenantId: string, capability: string, ids: readonly string[]): RawBuilder<boolean> {
  return sql<boolean>`active_connections(${tenantId}, ${capability}) = ${ids}`
}

export function insertConnection(
  db: Db,
  row: Pick<
    ConnectionRow,
    | 'id'
    | 'tenant_id'
    | 'capability'
    | 'provider'
    | 'sealed_credentials'
    | 'version'
    | 'active'
    | 'priority'
    | 'weight'
  >,
): Promise<ConnectionRow> {
  return db.insertInto('connections').values(row).returning(columns).executeTakeFirstOrThrow()
}

export function updateConnection(
  db: Db,
  tenantId: string,
  id: string,
  change: Updateable<ConnectionsTables['connections']>,
): Promise<ConnectionRow | undefined> {
  return db
    .updateTable('connections')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returning(columns)
    .executeTakeFirst()
}

export async function deactivateOthers(
  db: Db,
  tenantId: string,
  capability: string,
  keptId: string,
  now: Date,
): Promise<void> {
  await db
    .updateTable('connections')
    .set({ active: false, updated_at: now })
    .where('tenant_id', '=', tenantId)
    .where('capability', '=', capability)
    .where('id', '!=', keptId)
    .where('active', '=', true)
    .execute()
}

export async function deleteConnectionsGoneSince(db: Db, before: Date): Promise<void> {
  await db.deleteFrom('connections').where('deleted_at', '<', before).execute()
}
