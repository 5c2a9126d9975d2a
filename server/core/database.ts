import type { Socket } from 'node:net'
import { Kysely, PostgresDialect, type PostgresPool } from 'kysely'
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
  /** `asTenant` for work that only reads: nobody waits for its end. */
  readAsTenant<Result>(scope: TenantScope, work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  /** `asTenant` for work of exactly one statement: begun, done and committed in one round trip. */
  asTenantOnce<Result>(
    scope: TenantScope,
    statement: (db: Kysely<Tables>) => Promise<Result>,
  ): Promise<Result>
  /** `asTenant` whose writes are taken back: tells what some work would do. */
  rehearseAsTenant<Result>(scope: TenantScope, work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  asSystem<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  /** Single statements outside a transaction. */
  system: Kysely<Tables>
  pools(): readonly PoolUse[]
  /** The same on a connection of its own, for those that may take as long as they need. */
  asSystemAlone<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  close(): Promise<void>
}

export interface PoolUse {
  pool: string
  open: number
  idle: number
  /** Callers that wait for a connection. */
  waiting: number
  most: number
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
  const alone = new Set<pg.Client>()
  return {
    asTenant: (scope, work) => lend(app, (session) => runTransaction(session, asTenantOf(scope), work)),
    readAsTenant: (scope, work) => lend(app, (session) => runReading(session, asTenantOf(scope), work)),
    asTenantOnce: (scope, statement) =>
      lend(app, (session) => runStatement(session, asTenantOf(scope), statement)),
    rehearseAsTenant: (scope, work) =>
      lend(app, (session) => runTransaction(session, asTenantOf(scope), work, 'rollback')),
    asSystem: (work) => lend(system, (session) => runTransaction(session, undefined, work)),
    system: new Kysely<Tables>({ dialect: new PostgresDialect({ pool: system }) }),
    pools: () => [useOf('app', app), useOf('system', system)],
    asSystemAlone: (work) => runAlone(alone, options, work),
    close: async () => {
      await Promise.all([app.end(), system.end(), ...[...alone].map((client) => client.end())])
    },
  }
}

function useOf(name: string, pool: pg.Pool): PoolUse {
  const { totalCount, idleCount, waitingCount, options } = pool
  return { pool: name, open: totalCount, idle: idleCount, waiting: waitingCount, most: options.max }
}

function asTenantOf({ tenantId, productId }: TenantScope): string {
  const [tenant, product] = [tenantId, productId].map((id) => pg.escapeLiteral(id))
  return `; select set_config('app.tenant_id', ${tenant}, true), set_config('app.product_id', ${product}, true)`
}

async function lend<Result>(pool: pg.Pool, use: (session: Session) => Promise<Result>): Promise<Result> {
  const client = await pool.connect()
  const session = openSession(client)
  try {
    return await use(session)
  } finally {
    session.isOver = true
    client.release()
  }
}

/** Not of the pool: whoever is lent a connection next would wait for a statement that the one before gave up. */
async function runAlone<Result>(
  open: Set<pg.Client>,
  { urls, onError }: DatabaseOptions,
  work: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({
    connectionString: urls.system,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    types: { getTypeParser: readColumn },
  })
  client.on('error', onError)
  open.add(client)
  try {
    await client.connect()
    return await work(openSession(client).db)
  } finally {
    open.delete(client)
    await client.end()
  }
}

/** A lent connection: its statements leave at once and in order, without waiting for each other's answers. */
interface Session<Client extends pg.ClientBase = pg.PoolClient> {
  client: Client
  db: Kysely<Tables>
  /** Called when the next statement of `db` has been handed to the connection. */
  onStatement: (() => void) | undefined
  /** Somebody else may have the connection by now. */
  isOver: boolean
}

function openSession<Client extends pg.ClientBase>(client: Client): Session<Client> {
  const query = (...args: Parameters<pg.ClientBase['query']>) => {
    // What a failed `Promise.all` left behind may come to its next statement late.
    if (session.isOver) throw new Error('A statement came after the end of its transaction.')
    const answer = client.query(...args)
    session.onStatement?.()
    return answer
  }
  const pool = { connect: async () => ({ query, release: () => undefined }), end: async () => undefined }
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: pool as unknown as PostgresPool }) })
  const session: Session<Client> = { client, db, onStatement: undefined, isOver: false }
  return session
}

/**
 * A tenant's first statement follows the beginning without waiting for it: should that fail, row-level security
 * leaves the statement nothing to do.
 */
async function runTransaction<Result>(
  session: Session,
  tenant: string | undefined,
  work: (db: Kysely<Tables>) => Promise<Result>,
  end: 'commit' | 'rollback' = 'commit',
): Promise<Result> {
  const { client, db } = session
  const begun = begin(client, tenant)
  try {
    if (tenant === undefined) await begun
    const result = await work(db)
    await begun
    if (end === 'commit') await commit(client)
    else await client.query(end)
    return result
  } catch (error) {
    session.isOver = true
    // A connection that is gone has rolled back by itself.
    await Promise.allSettled([begun, client.query('rollback')])
    throw error
  }
}

/** A statement whose error nobody looked at makes of a commit a rollback, and of that no error. */
async function commit(client: pg.PoolClient): Promise<void> {
  const { command } = await client.query('commit')
  if (command !== 'COMMIT') throw new Error('The transaction was rolled back: one of its statements failed.')
}

async function runReading<Result>(
  session: Session,
  tenant: string,
  work: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  const { client, db } = session
  const begun = begin(client, `; set local transaction_read_only = on${tenant}`)
  try {
    const result = await work(db)
    await begun
    client.query('rollback').catch(() => undefined)
    return result
  } catch (error) {
    session.isOver = true
    // What may still be under way must not hold up who is lent the connection next.
    await Promise.allSettled([begun, client.query('rollback')])
    throw error
  }
}

/** All three leave in one packet. After a statement that failed, a commit rolls back. */
async function runStatement<Result>(
  session: Session,
  tenant: string,
  statement: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  const { client } = session
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
  const handedOver = new Promise<void>((resolve) => (session.onStatement = resolve))
  stream.cork()
  const begun = begin(client, tenant)
  const answer = Promise.resolve(session.db).then(statement)
  await Promise.race([handedOver, answer.catch(() => undefined)])
  session.onStatement = undefined
  const committed = commit(client)
  stream.uncork()
  await Promise.allSettled([begun, answer, committed])
  const [, result] = await Promise.all([begun, answer, committed])
  return result
}

function begin(client: pg.PoolClient, tenant = ''): Promise<unknown> {
  const begun = client.query(`begin; set local statement_timeout = ${longestOnServerMs}${tenant}`)
  // It is awaited after what follows it: a failure in between is no unhandled one.
  begun.catch(() => undefined)
  return begun
}

/** Below the client's own limit: a statement that is given up is given up on both sides. */
const longestOnServerMs = 45_000
/** A connection that a broken network swallowed would otherwise be waited for, for ever. */
const longestStatementMs = 60_000

function openPool(url: string, connections: number, onError: (error: Error) => void): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    query_timeout: longestStatementMs,
    pipeline: true,
    types: { getTypeParser: readColumn },
  })
  // A connection that dies between two statements would otherwise end the process, lent or idle.
  pool.on('error', onError)
  pool.on('connect', (client) => client.on('error', onError))
  return pool
}

const int8 = 20

function readColumn(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (oid === int8 && format !== 'binary') return Number
  return pg.types.getTypeParser(oid, format ?? 'text') as (value: string) => unknown
}
