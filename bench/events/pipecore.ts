import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Pool } from 'undici'
import { generateMasterKey } from '../../server/core/sealing.ts'
import type { Cluster } from '../postgres.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { createPublisher, type Publish, publishersAtOnce } from './publish.ts'
import { sampleEvents, sampleSchema, sampleTenants, sampleType } from './sample-events.ts'
import type { Receiver } from './receiver.ts'
import type { Side } from './sides/side.ts'

const settlePollMs = 50
const settlePatienceMs = 60_000

export interface PipeCoreOptions {
  cluster: Cluster
  /** Its own. */
  database: string
  tenants: number
  /** Gets the product's events. */
  receiver: Pick<Receiver, 'url'>
  /** One process each: what one spends is told apart. The last is the one that is looked at. */
  roles: ReadonlyArray<'all' | 'api' | 'worker'>
}

export interface Product {
  id: string
  tenants: readonly string[]
  /** Where its events go. */
  url: string
}

export interface PreparedProduct {
  key: string
  endpointId: string
  /** Of the endpoint. */
  secret: string
}

export interface PipeCore extends Side {
  origin: string
  /** The product's. */
  key: string
  secret: string
  /** As superuser, for what no API does: filling tables, and holding deliveries back. */
  sql: pg.Pool
  publish: Publish
  /** Another product beside that of the tenants. */
  addProduct(product: Product): Promise<PreparedProduct>
  /** Nothing is delivered until `open`. */
  shut(): Promise<void>
  close(): Promise<void>
}

/** PipeCore on a database of its own, with a product, its tenants, its type, and an endpoint that wants all. */
export async function startPipeCore(options: PipeCoreOptions): Promise<PipeCore> {
  const databaseUrl = await options.cluster.createDatabase(options.database)
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const { origin, children } = await startServers(databaseUrl, adminKey, options.roles)
  const pool = new Pool(origin, { connections: 8, pipelining: 1 })
  const call = createCall(pool, adminKey)
  const tenants = sampleTenants(options.tenants)
  const { key, secret } = await prepareProduct(call, { id: 'bench', tenants, url: options.receiver.url })
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  const publisher = createPublisher(origin, key)
  const shut = async () => void (await sql.query(shutSeries))
  return {
    name: 'PipeCore',
    origin,
    key,
    processId: children.at(-1)?.pid ?? 0,
    secret,
    sql,
    publish: publisher.publish,
    shut,
    addProduct: (product) => prepareProduct(call, product),
    async fill(count, tenantCount) {
      await shut()
      await forEachAtOnce(sampleEvents(count, tenantCount), publishersAtOnce, publisher.publish)
    },
    open: async () => void (await sql.query('update pipecore.work_series set paused_until = null')),
    settle: () => settle(sql),
    async close() {
      for (const child of children.toReversed()) await endProgram(child)
      await Promise.all([pool.close(), publisher.close(), sql.end()])
    },
  }
}

const shutSeries = `insert into pipecore.work_series (series, paused_until)
  select id, now() + interval '1 hour' from pipecore.endpoints where deleted_at is null
  on conflict (series) do update set paused_until = excluded.paused_until`

async function startServers(
  databaseUrl: string,
  adminKey: string,
  roles: PipeCoreOptions['roles'],
): Promise<{ origin: string; children: ChildProcess[] }> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const env = {
    DATABASE_URL: databaseUrl,
    PIPECORE_ADMIN_KEY: adminKey,
    PIPECORE_MASTER_KEY: generateMasterKey(),
    PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
    PIPECORE_LOG_LEVEL: 'error',
    PORT: String(port),
  }
  const children: ChildProcess[] = []
  for (const role of roles) {
    const flags = role === roles.at(-1) ? nodeFlags : []
    const readyUrl = role === 'worker' ? undefined : `${origin}/ready`
    children.push(await startProgram([...flags, 'server/main.ts', '--role', role], env, readyUrl))
  }
  return { origin, children }
}

/** Such as --cpu-prof, for the process that is looked at. */
const nodeFlags = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')

type Call = (method: 'POST' | 'PUT', path: string, body: object) => Promise<Record<string, unknown>>

function createCall(pool: Pool, key: string): Call {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  return async (method, path, body) => {
    const answer = await pool.request({ method, path, headers, body: JSON.stringify(body) })
    const told = (await answer.body.json()) as Record<string, unknown>
    if (answer.statusCode >= 300) throw new Error(`${path} → ${answer.statusCode} ${JSON.stringify(told)}`)
    return told
  }
}

async function prepareProduct(call: Call, { id, tenants, url }: Product): Promise<PreparedProduct> {
  await call('POST', '/products', { id, name: id })
  await forEachAtOnce(tenants, 8, (tenant) =>
    call('POST', '/tenants', { id: tenant, product_id: id, name: tenant }),
  )
  await call('PUT', `/webhooks/catalog/${sampleType}`, { product_id: id, version: 1, schema: sampleSchema })
  const endpoint = await call('POST', '/webhooks/endpoints', { url, product_id: id })
  const { key } = await call('POST', `/products/${id}/keys`, {})
  return { key: String(key), endpointId: String(endpoint['id']), secret: String(endpoint['secret']) }
}

export async function forEachAtOnce<Item>(
  items: readonly Item[],
  atOnce: number,
  run: (item: Item) => Promise<unknown>,
): Promise<void> {
  const iterator = items.values()
  const loops = Array.from({ length: atOnce }, async () => {
    for (const item of iterator) await run(item)
  })
  await Promise.all(loops)
}

async function settle(sql: pg.Pool): Promise<void> {
  const deadline = performance.now() + settlePatienceMs
  for (;;) {
    const { rows } = await sql.query<{ left: number }>(
      `select count(*)::int as left from pipecore.work where kind = 'delivery'`,
    )
    if (rows[0]?.left === 0) return
    if (performance.now() > deadline) throw new Error(`PipeCore left ${rows[0]?.left} deliveries open`)
    await sleep(settlePollMs)
  }
}
