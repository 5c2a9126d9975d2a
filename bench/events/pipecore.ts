import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Pool } from 'undici'
import { generateMasterKey } from '../../server/core/sealing.ts'
import type { Cluster } from '../postgres.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { createPublish, type Publish, publishersAtOnce } from './publish.ts'
import { sampleEvents, sampleSchema, sampleTenants, sampleType } from './sample-events.ts'
import type { Side } from './sides/side.ts'

const productId = 'bench'
const settlePollMs = 50
const settlePatienceMs = 60_000

export interface PipeCoreOptions {
  cluster: Cluster
  /** Of its database. */
  name: string
  tenants: number
  /** Where the product's events go. */
  receiverUrl: string
  /** One process each: what one spends is told apart. The last is the one that is looked at. */
  roles: ReadonlyArray<'all' | 'api' | 'worker'>
}

export interface PipeCore extends Side {
  origin: string
  /** The product's. */
  key: string
  /** Of the product's endpoint. */
  secret: string
  /** As superuser, for what no API does: filling tables, and holding deliveries back. */
  sql: pg.Pool
  publish: Publish
  /** An endpoint of one tenant; its id. */
  addEndpoint(tenantId: string, url: string): Promise<string>
  /** Nothing is delivered until `open`. */
  shut(): Promise<void>
  close(): Promise<void>
}

/** PipeCore on a database of its own, with a product, its tenants, its type, and an endpoint that wants all. */
export async function startPipeCore(options: PipeCoreOptions): Promise<PipeCore> {
  const databaseUrl = await options.cluster.createDatabase(options.name)
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const { origin, children } = await startServers(databaseUrl, adminKey, options.roles)
  const pool = new Pool(origin, { connections: 8, pipelining: 1 })
  const call = createCall(pool, adminKey)
  const { key, secret } = await prepare(call, options)
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  const { publish, close } = createPublish(origin, key)
  const shut = async () => void (await sql.query(shutSeries))
  return {
    name: 'PipeCore',
    origin,
    key,
    processId: children.at(-1)?.pid ?? 0,
    secret,
    sql,
    publish,
    shut,
    addEndpoint: async (tenantId, url) =>
      String((await call('POST', '/webhooks/endpoints', { url, tenant_id: tenantId }))['id']),
    async fill(count, tenants) {
      await shut()
      await forEachAtOnce(sampleEvents(count, tenants), publishersAtOnce, publish)
    },
    open: async () => void (await sql.query('update pipecore.work_series set paused_until = null')),
    settle: () => settle(sql),
    async close() {
      for (const child of children.toReversed()) await endProgram(child)
      await Promise.all([pool.close(), close()])
      await sql.end()
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

async function prepare(call: Call, options: PipeCoreOptions): Promise<{ key: string; secret: string }> {
  await call('POST', '/products', { id: productId, name: 'Bench' })
  await forEachAtOnce(sampleTenants(options.tenants), 8, (id) =>
    call('POST', '/tenants', { id, product_id: productId, name: id }),
  )
  await call('PUT', `/webhooks/catalog/${sampleType}`, {
    product_id: productId,
    version: 1,
    schema: sampleSchema,
  })
  const endpoint = { url: options.receiverUrl, product_id: productId }
  const { secret } = await call('POST', '/webhooks/endpoints', endpoint)
  const { key } = await call('POST', `/products/${productId}/keys`, {})
  return { key: String(key), secret: String(secret) }
}

async function forEachAtOnce<Item>(
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
