import type { Kysely, RawBuilder } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Database, Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { openRow, type OpenConnection, recallRow } from './connections.ts'
import type { Provider } from './provider.ts'
import { areActive, type ConnectionRow, listActiveConnections } from './queries.ts'

type Db = Kysely<Tables>

export interface RouteRule {
  /** Whether a provider can take this work; all can when absent. */
  accepts?: (providerId: string) => boolean
  /** What to do when there is none: a sentence. */
  advice: string
}

/**
 * The connection new work of a capability goes to.
 * @throws PipeError `connection_missing` (422) when the tenant has none that is active and accepts it
 */
export async function routeConnection(
  db: Db,
  scope: TenantScope,
  capability: string,
  rule: RouteRule,
): Promise<ConnectionRow> {
  return chooseRow(await listActiveConnections(db, scope.tenantId, capability), scope, capability, rule)
}

/** Where new work goes, opened. Throws as `routeConnection`. */
export async function openRoute(
  context: Context,
  db: Db,
  scope: TenantScope,
  capability: string,
  rule: RouteRule & { findProvider: (id: string) => Provider<unknown> },
): Promise<OpenConnection<unknown>> {
  const rows = await listActiveConnections(db, scope.tenantId, capability)
  const row = chooseRow(rows, scope, capability, rule)
  routesOf(context.database).set(keyOf(scope, capability), rows)
  return openRow(context, db, row, rule.findProvider(row.provider))
}

/** Where new work went a moment ago. */
export interface RecentRoute {
  connection: OpenConnection<unknown>
  /** Names the connections it was chosen from: routes with the same name stand or fall together. */
  name: string
  /** True in the database while the tenant's active connections are still those. */
  stands: RawBuilder<boolean>
}

/** What `openRoute` answered lately, without asking the database: it counts only for a statement that says `stands`. */
export function recallRoute(
  context: Context,
  scope: TenantScope,
  capability: string,
  { accepts = () => true }: Pick<RouteRule, 'accepts'>,
): RecentRoute | undefined {
  const rows = routesOf(context.database).get(keyOf(scope, capability)) ?? []
  const row = rows.find(({ provider }) => accepts(provider))
  const connection = row && recallRow(context, row)
  if (connection === undefined) return undefined
  const ids = rows.map(({ id }) => id)
  return { connection, name: ids.join(' '), stands: areActive(scope.tenantId, capability, ids) }
}

const recentRoutes = new WeakMap<Database, Recent<string, readonly ConnectionRow[]>>()

/** A connection's credentials never change: others make another connection of it. */
function routesOf(database: Database): Recent<string, readonly ConnectionRow[]> {
  const known = recentRoutes.get(database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  recentRoutes.set(database, known)
  return known
}

function keyOf({ tenantId }: TenantScope, capability: string): string {
  return `${capability} ${tenantId}`
}

function chooseRow(
  rows: readonly ConnectionRow[],
  scope: TenantScope,
  capability: string,
  { accepts = () => true, advice }: RouteRule,
): ConnectionRow {
  const best = rows.find((row) => accepts(row.provider))
  if (best !== undefined) return best
  const text = `Tenant ${scope.tenantId} has no active provider for ${capability} that can take this. ${advice}`
  throw new PipeError('connection_missing', 422, text)
}
