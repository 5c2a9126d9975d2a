import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Agent, request } from 'undici'
import { generateMasterKey } from '../../server/core/sealing.ts'
import { readCpu } from '../cpu.ts'
import { startCluster } from '../postgres.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'

export const keys = {
  stripe: 'sk_test_bench',
  mercadopago: 'TEST-bench-access-token',
  mercadopagoDirect: 'TEST-bench-direct-access-token',
}
const tenantId = 'bench_tenant'

/** Seconds of processor time since the start, of each that takes part. */
export type Spent = Record<'caller' | 'pipecore' | 'postgres' | 'simulator', number>

export interface Stage {
  sandboxUrl: string
  /** Where the provider reports of payments that were not made through PipeCore; answers at once. */
  webhookUrl: string
  /** Takes a payment through PipeCore. @throws unless the money was taken */
  pay(fields: object): Promise<void>
  readSpent(): Promise<Spent>
  /** Resolves when all that follows from the payments was done: webhooks that are still on their way, and jobs. */
  settle(): Promise<void>
  close(): Promise<void>
}

/** PipeCore, its durable PostgreSQL and the simulated providers: each a process of its own, as in production. */
export async function startStage(): Promise<Stage> {
  const cluster = await startCluster({ counting: false })
  const databaseUrl = await cluster.createDatabase('pipecore')
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 })
  // The server may be faster to end a connection than we are.
  sql.on('error', () => undefined)
  const [port, sandboxPort] = [await findFreePort(), await findFreePort()]
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const [url, sandboxUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${sandboxPort}`]
  const sandboxArgs = ['sandbox/main.ts', '--port', String(sandboxPort)]
  const sandbox = await startProgram(sandboxArgs, {}, `${sandboxUrl}/sandbox`)
  const env = {
    DATABASE_URL: databaseUrl,
    PIPECORE_ADMIN_KEY: adminKey,
    PIPECORE_MASTER_KEY: generateMasterKey(),
    PIPECORE_LOG_LEVEL: 'error',
    PIPECORE_PUBLIC_URL: url,
    PROVIDER_URL_STRIPE: `${sandboxUrl}/stripe`,
    PROVIDER_URL_MERCADOPAGO: `${sandboxUrl}/mercadopago`,
    PORT: String(port),
  }
  const server = await startProgram([...nodeFlags, 'server/main.ts'], env, `${url}/ready`)
  const listener = await startListener()
  const agent = new Agent({ connections: 256, pipelining: 1 })
  const call = createCall(agent, `Bearer ${adminKey}`)
  await prepare((path, body) => call('POST', url + path, body), sandboxUrl, call)
  return {
    sandboxUrl,
    webhookUrl: listener.url,
    async pay(fields) {
      const sale = { tenant_id: tenantId, amount: 15_990, currency: 'CLP', ...fields }
      const { status } = await call('POST', `${url}/payments/create`, sale)
      if (status !== 'confirmed') throw new Error(`ended ${String(status)}`)
    },
    readSpent: async () => ({
      caller: readOwnCpu(),
      pipecore: await readCpu(server.pid ?? 0),
      postgres: await cluster.readCpu(),
      simulator: await readCpu(sandbox.pid ?? 0),
    }),
    settle: () => settle(sql),
    async close() {
      for (const child of [server, sandbox]) await endProgram(child)
      await Promise.all([agent.close(), listener.close(), sql.end()])
      await cluster.close()
    },
  }
}

function readOwnCpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Such as --cpu-prof, for the process that is looked at. */
const nodeFlags = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')

type Call = (method: 'POST' | 'PUT', url: string, body: object) => Promise<Record<string, unknown>>

function createCall(dispatcher: Agent, authorization: string): Call {
  const headers = { authorization, 'content-type': 'application/json' }
  return async (method, url, body) => {
    const answer = await request(url, { method, headers, body: JSON.stringify(body), dispatcher })
    const told = (await answer.body.json()) as Record<string, unknown>
    if (answer.statusCode >= 300) throw new Error(`${url} → ${answer.statusCode} ${JSON.stringify(told)}`)
    return told
  }
}

type Post = (path: string, body: object) => Promise<unknown>

/** Both accounts whole, as a tenant would have them: with the secret that webhooks are signed with. */
async function prepare(post: Post, sandboxUrl: string, call: Call): Promise<void> {
  await post('/products', { id: 'bench', name: 'Bench' })
  await post('/tenants', { id: tenantId, product_id: 'bench', name: 'Bench' })
  const account = await call('PUT', `${sandboxUrl}/sandbox/accounts/mercadopago/${keys.mercadopago}`, {})
  const mercadopago = {
    accessToken: keys.mercadopago,
    currency: 'CLP',
    webhookSecret: account['webhook_secret'],
  }
  for (const [provider, credentials] of Object.entries({ stripe: { secretKey: keys.stripe }, mercadopago })) {
    // Beside the other: without a priority it would take its place.
    await post('/payments/config/provider', { tenantId, provider, credentials, priority: 0 })
  }
}

const onTheirWayMs = 500
const settlePatienceMs = 60_000

async function settle(sql: pg.Pool): Promise<void> {
  const deadline = performance.now() + settlePatienceMs
  for (;;) {
    await sleep(onTheirWayMs)
    const { rows } = await sql.query<{ open: number }>(
      'select count(*)::int as open from pipecore.work where run_at <= now()',
    )
    if (rows[0]?.open === 0) return
    if (performance.now() > deadline) throw new Error(`PipeCore left ${rows[0]?.open} jobs open`)
  }
}

async function startListener(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((incoming, answer) => {
    incoming.resume()
    answer.end()
  })
  const port = await findFreePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
