import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'

/** Every module adds its own tables by declaration merging; its `queries.ts` takes only those. */
export interface Tables {}

export interface TenantScope {
  tenantId: string
  productId: string
  traceId: string
}

/**
 * The only ways to the tables. `asTenant` sees one tenant's rows whatever the statement says (row-level
 * security under a role that owns nothing); `asSystem` and `system` see all and belong to intake, workers
 * and operators.
 */
export interface Database {
  asTenant<Result>(scope: TenantScope, work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  asSystem<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  /** Single statements outside a transaction. */
  system: Kysely<Tables>
  close(): Promise<void>
}

export interface DatabaseUrls {
  app: string
  system: string
}

export interface DatabaseOptions {
  urls: DatabaseUrls
  appConnections?: number
  systemConnections?: number
  onError: (error: Error) => void
}

export function openDatabase(options: DatabaseOptions): Database {
  const app = openPool(options.urls.app, options.appConnections ?? 10, options.onError)
  const system = openPool(options.urls.system, options.systemConnections ?? 8, options.onError)
  return {
    asTenant: (scope, work) =>
      app.connection().execute((connection) => runTransaction(connection, asTenantOf(scope), work)),
    asSystem: (work) => system.connection().execute((connection) => runTransaction(connection, '', work)),
    system,
    close: async () => {
      await Promise.all([app.destroy(), system.destroy()])
    },
  }
}

function asTenantOf({ tenantId, productId }: TenantScope): string {
  const [tenant, product] = [tenantId, productId].map((id) => pg.escapeLiteral(id))
  return `; select set_config('app.tenant_id', ${tenant}, true), set_config('app.product_id', ${product}, true)`
}

/** Begins in one round trip what would take three: it stands before everything. */
async function runTransaction<Result>(
  connection: Kysely<Tables>,
  settings: string,
  work: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  try {
    const begin = `begin; set local statement_timeout = ${longestOnServerMs}${settings}`
    await sql.raw(begin).execute(connection)
    const result = await work(connection)
    await sql`commit`.execute(connection)
    return result
  } catch (error) {
    // A connection that is gone has rolled back by itself.
    await sql`rollback`.execute(connection).catch(() => undefined)
    throw error
  }
}

/** Below the client's own limit: a statement that is given up is given up on both sides. */
const longestOnServerMs = 45_000
/** A connection that a broken network swallowed would otherwise be waited for, for ever. */
const longestStatementMs = 60_000

function openPool(url: string, connections: number, onError: (error: Error) => void): Kysely<Tables> {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    query_timeout: longestStatementMs,
    types: { getTypeParser: readColumn },
  })
  // A connection that dies between two statements would otherwise end the process, lent or idle.
  pool.on('error', onError)
  pool.on('connect', (client) => client.on('error', onError))
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
}

const int8 = 20

function readColumn(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (oid === int8 && format !== 'binary') return Number
  return pg.types.getTypeParser(oid, format ?? 'text') as (value: string) => unknown
}
