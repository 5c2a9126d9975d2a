import {
  type Dialect,
  Kysely,
  PostgresAdapter,
  PostgresDriver,
  PostgresIntrospector,
  type PostgresPool,
  PostgresQueryCompiler,
} from 'kysely'
import pg from 'pg'
import { keepEffects, runEffects } from './after-commit.ts'
import { answerByCallback, breakWhenSilent, connectionOf, type Send } from './connection-answers.ts'
import { isRefusal } from './database-refusal.ts'
import { keepListening } from './notifications.ts'
import { prepareOften } from './prepared-statements.ts'
import { createPipelinedConnection, type Lent } from './pipelined-connection.ts'
import { askBehind, type Opening, prepareOpenings } from './tenant-statement.ts'

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
    options?: OnceOptions,
  ): Promise<Result>
  /** `asTenant` whose writes are taken back: tells what some work would do. */
  rehearseAsTenant<Result>(scope: TenantScope, work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  asSystem<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  /** Single statements outside a transaction. */
  system: Kysely<Tables>
  /** The same behind each other on one connection: none waits for the answer of the one before. */
  asSystemPipelined<Result>(statement: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  pools(): readonly PoolUse[]
  /** The same on a connection of its own, for those that may take as long as they need: the server ends none of them. */
  asSystemAlone<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>
  /** Hears what is told by `notify` on a channel, see `keepListening`. @returns how to end it */
  listen(channel: string, hear: (payload: string) => void): () => Promise<void>
  close(): Promise<void>
}

export interface OnceOptions {
  /**
   * It is done again should the database's server crash within the next second, since what it belongs to ends later:
   * the commit does not wait for the disk, which is more than half of what it costs.
   */
  isRepeated?: boolean
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
  /** As `system`, but no statement is ended for its time. */
  upkeep: string
}

export interface DatabaseOptions {
  urls: DatabaseUrls
  appConnections?: number
  systemConnections?: number
  /** How long a statement may be without an answer; default 60. */
  answerSeconds?: number
  /** How old a connection may become; default 10 minutes. */
  connectionSeconds?: number
  onError: (error: Error) => void
}

export function openDatabase(options: DatabaseOptions): Database {
  const { urls, appConnections = 10, systemConnections = 8 } = options
  const app = openPool({ ...options, url: urls.app, connections: appConnections, prepare: prepareForTenants })
  const system = openPool({
    ...options,
    url: urls.system,
    connections: systemConnections,
    prepare: prepareOften,
  })
  app.on('connect', gatherWrites)
  const alone = new Set<pg.Client>()
  return {
    asTenant: (scope, work) => lend(app, (session) => runTransaction(session, asTenantOf(scope), work)),
    readAsTenant: (scope, work) => lend(app, (session) => runReading(session, asTenantOf(scope), work)),
    asTenantOnce: (scope, statement, { isRepeated = false } = {}) => {
      const opening = {
        ...(isRepeated ? repeatedOpening : tenantOpening),
        values: [scope.tenantId, scope.productId],
      }
      return lend(app, (session) => runStatement(session, opening, statement))
    },
    rehearseAsTenant: (scope, work) =>
      lend(app, (session) => runTransaction(session, asTenantOf(scope), work, 'rollback')),
    asSystem: (work) => lend(system, (session) => runTransaction(session, undefined, work)),
    system: new Kysely<Tables>({ dialect: dialectOn(system) }),
    asSystemPipelined: createPipelinedConnection(() => lendPipelined(system)),
    pools: () => [useOf('app', app), useOf('system', system)],
    asSystemAlone: (work) => runAlone(alone, options, work),
    listen: (channel, hear) => keepListening({ url: urls.upkeep, channel, hear, onError: options.onError }),
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
  // Half as dear as `select set_config()`, which is planned each time.
  return `; set local app.tenant_id = ${tenant}; set local app.product_id = ${product}`
}

/** `asTenantOf` for what is asked behind it, see `tenant-statement.ts`. */
const tenantOpening = {
  name: 'pipecore_tenant',
  text: `select set_config('app.tenant_id', $1, true), set_config('app.product_id', $2, true)`,
}
/** Should the server crash in the next moment, it is as if the transaction had not been. */
const repeatedOpening = {
  name: 'pipecore_tenant_repeated',
  text: `${tenantOpening.text}, set_config('synchronous_commit', 'off', true)`,
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

async function lendPipelined(pool: pg.Pool): Promise<Lent<Kysely<Tables>>> {
  const client = await pool.connect()
  const session = openSession(client)
  const giveBack = () => {
    session.isOver = true
    client.release()
  }
  return { connection: session.db, giveBack }
}

/** Not of the pool: whoever is lent a connection next would wait for a statement that the one before gave up. */
async function runAlone<Result>(
  open: Set<pg.Client>,
  { urls, onError }: DatabaseOptions,
  work: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({
    connectionString: urls.upkeep,
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
  ask: (text: string, values: readonly unknown[]) => Promise<pg.QueryResult>
  /** What comes now would be of no transaction, or of somebody else's. */
  isOver: boolean
}

function openSession<Client extends pg.ClientBase>(client: Client): Session<Client> {
  const query = (text: string, values: readonly unknown[]) => {
    // What a failed `Promise.all` left behind may come to its next statement late.
    if (session.isOver) throw new Error('A statement came after the end of its transaction.')
    return session.ask(text, values)
  }
  const pool = { connect: async () => ({ query, release: () => undefined }), end: async () => undefined }
  const db = new Kysely<Tables>({ dialect: dialectOn(pool as unknown as PostgresPool) })
  const ask = (text: string, values: readonly unknown[]) => client.query(text, values as unknown[])
  const session: Session<Client> = { client, db, ask, isOver: false }
  return session
}

const adapter = new PostgresAdapter()
/** Of a hundred functions, bound anew for each; it is done with a statement before it is given the next. */
const compiler = new PostgresQueryCompiler()

function dialectOn(pool: PostgresPool): Dialect {
  return {
    createAdapter: () => adapter,
    createDriver: () => new PostgresDriver({ pool }),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => compiler,
  }
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
  keepEffects(db)
  const begun = begin(client, tenant)
  let result: Result
  try {
    if (tenant === undefined) await begun
    result = await work(db)
    await begun
    session.isOver = true
    await (end === 'commit' ? commit(client) : client.query(end))
  } catch (error) {
    session.isOver = true
    // A connection that is gone has rolled back by itself.
    await Promise.allSettled([begun, client.query('rollback')])
    throw error
  }
  if (end === 'commit') runEffects(db)
  return result
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

async function runStatement<Result>(
  session: Session,
  opening: Opening,
  statement: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  keepEffects(session.db)
  let answer: Promise<pg.QueryResult> | undefined
  // Not assigned as it is written: see `answerByCallback`.
  const ask: Session['ask'] = (text, values) => {
    session.isOver = true
    answer = askBehind(session.client, opening, { text, values })
    return answer
  }
  session.ask = ask
  const result = await statement(session.db)
  // Its error may have been overlooked.
  await answer
  runEffects(session.db)
  return result
}

function begin(client: pg.PoolClient, tenant = ''): Promise<unknown> {
  const begun = client.query(`begin${tenant}`)
  // It is awaited after what follows it: a failure in between is no unhandled one.
  begun.catch(() => undefined)
  return begun
}

/**
 * A connection that a broken network swallowed would otherwise be waited for, for ever. The server gives up before that
 * (`roles.ts`), or what was told as failed could still be committed.
 */
const usualAnswerSeconds = 60

/**
 * A server keeps plans as long as their connection. One that was made while its table was empty reads all of it, until
 * somebody analyzes that; where nobody does, until the connection is made anew.
 */
const usualConnectionSeconds = 600

interface PoolOptions extends Pick<DatabaseOptions, 'answerSeconds' | 'connectionSeconds' | 'onError'> {
  url: string
  connections: number
  prepare: (client: pg.ClientBase) => Promise<unknown>
}

function openPool({ url, connections, onError, prepare, ...options }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    maxLifetimeSeconds: options.connectionSeconds ?? usualConnectionSeconds,
    pipeline: true,
    types: { getTypeParser: readColumn },
  })
  // A connection that dies between two statements would otherwise end the process, lent or idle.
  pool.on('error', onError)
  keepBrokenFrom(pool)
  pool.on('connect', (client) => {
    client.on('error', onError)
    answerByCallback(client)
    breakWhenSilent(client, options.answerSeconds ?? usualAnswerSeconds)
    prepare(client).catch(() => undefined)
  })
  return pool
}

/**
 * The server ends a session a moment before its connection breaks, and a statement that is given up breaks it a moment
 * before the driver knows: lent in between, it would fail whoever asks again.
 */
function keepBrokenFrom(pool: pg.Pool): void {
  const end = (client: pg.PoolClient) => void (client as unknown as pg.Client).end()
  pool.on('connect', (client) => {
    connectionOf(client).on('errorMessage', (error) => {
      if (!isRefusal(error)) end(client)
    })
  })
  pool.on('release', (_error, client) => {
    if (connectionOf(client).stream.destroyed) end(client)
  })
}

async function prepareForTenants(client: pg.ClientBase): Promise<void> {
  if (await prepareOften(client)) await prepareOpenings(client, [tenantOpening, repeatedOpening])
}

/** Of a transaction, what is said before anything is waited for leaves in one packet: each costs more than a statement. */
function gatherWrites(client: pg.ClientBase): void {
  const { stream } = connectionOf(client)
  const send = client.query.bind(client) as Send
  let isGathering = false
  const leave = () => {
    isGathering = false
    stream.uncork()
  }
  const query: Send = (...asked) => {
    if (!isGathering) {
      isGathering = true
      stream.cork()
      // After all that follows from promises which are settled.
      queueMicrotask(() => process.nextTick(leave))
    }
    return send(...asked)
  }
  client.query = query
}

const int8 = 20
const timestamptz = 1184

function readColumn(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (oid === int8 && format !== 'binary') return Number
  const read = pg.types.getTypeParser(oid, format ?? 'text') as (value: string) => unknown
  return oid === timestamptz && format !== 'binary' ? (text) => readUtcMoment(text) ?? read(text) : read
}

/** `2026-11-29 21:04:51.123456+00`, as most moments are told: read in a fraction of the driver's time. */
function readUtcMoment(text: string): Date | undefined {
  const isUsual = text.length >= 22 && text.length <= 29 && text[4] === '-' && text[10] === ' '
  if (!isUsual || !text.endsWith('+00')) return undefined
  return new Date(`${text.slice(0, 10)}T${text.slice(11, Math.min(23, text.length - 3))}Z`)
}
