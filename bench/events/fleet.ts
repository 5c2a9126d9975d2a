import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../server/core/postgres/embedded-postgres.ts'
import { generateMasterKey } from '../../server/core/sealing.ts'
import { readPostmasterId } from '../cpu.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const tenants = Array.from({ length: 20 }, (_, index) => `bench_${index + 1}`)
const type = 'order.paid'

export interface Fleet {
  owner: pg.Client
  postmasterId: number
  origin: string
  key: string
  receiver: FleetReceiver
  settings: Record<string, string>
}

export interface FleetReceiver {
  url: string
  /** When an event's first arrival was, by the name its sender gave it. */
  arrivals: Map<string, number>
  /** All arrivals, those that came again included. */
  count(): number
}

/** A durable PostgreSQL, an API process that delivers nothing, and a receiver of 20 tenants with an endpoint each. */
export async function startFleet(ends: Array<() => Promise<unknown>>): Promise<Fleet> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-bench-'))
  ends.push(() => rm(folder, { recursive: true, force: true }))
  const postgres = await startEmbeddedPostgres({ folder, settings: { track_functions: 'pl' } })
  ends.push(() => postgres.stop())
  const receiver = await startReceiver(ends)
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const settings = {
    DATABASE_URL: postgres.url,
    PIPECORE_ADMIN_KEY: adminKey,
    PIPECORE_MASTER_KEY: generateMasterKey(),
    PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
    PIPECORE_LOG_LEVEL: 'error',
    PORT: String(port),
  }
  const owner = new pg.Client({ connectionString: postgres.url })
  await owner.connect()
  ends.push(() => owner.end())
  const api = await startProgram(['server/main.ts', '--role', 'api'], settings, `${origin}/ready`)
  const key = await prepare(origin, adminKey, receiver.url)
  await endProgram(api)
  const postmasterId = await readPostmasterId(postgres.dataFolder)
  return { owner, postmasterId, origin, key, receiver, settings }
}

async function startReceiver(ends: Array<() => Promise<unknown>>): Promise<FleetReceiver> {
  const arrivals = new Map<string, number>()
  let count = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { name } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { name: string }
      count += 1
      if (!arrivals.has(name)) arrivals.set(name, performance.now())
      response.writeHead(204).end()
    })
  })
  const port = await findFreePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  ends.push(async () => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${port}/events`, arrivals, count: () => count }
}

async function prepare(origin: string, adminKey: string, url: string): Promise<string> {
  const call = async (method: string, path: string, body: object) => {
    const headers = { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' }
    const answer = await fetch(origin + path, { method, headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${path} → ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as Record<string, unknown>
  }
  await call('POST', '/products', { id: 'bench', name: 'Bench' })
  await call('PUT', `/webhooks/catalog/${type}`, {
    product_id: 'bench',
    version: 1,
    schema: { type: 'object' },
  })
  for (const id of tenants) {
    await call('POST', '/tenants', { id, product_id: 'bench', name: id })
    await call('POST', '/webhooks/endpoints', { url: `${url}/${id}`, tenant_id: id })
  }
  return String((await call('POST', '/products/bench/keys', {}))['key'])
}

/** The API in a process of its own, and workers, all with the same further settings. */
export async function startProcesses(
  { settings, origin }: Fleet,
  workers: number,
  more: Record<string, string>,
): Promise<{ workers: ChildProcess[]; end(): Promise<void> }> {
  const env = { ...settings, ...more }
  const api = await startProgram(['server/main.ts', '--role', 'api'], env, `${origin}/ready`)
  const children = Array.from({ length: workers }, () => {
    const child = spawn(process.execPath, ['server/main.ts', '--role', 'worker'], {
      cwd: root,
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    process.once('exit', () => child.kill('SIGKILL'))
    return child
  })
  return {
    workers: children,
    end: async () => {
      for (const child of [...children, api]) await endProgram(child)
    },
  }
}

/** About 1 KB each; the tenants take turns. */
export function makeEvents(prefix: string, count: number): { name: string; body: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const name = `${prefix}-${index}`
    const data = {
      name,
      amount: 15_990 + index,
      currency: 'CLP',
      note: 'Sin cebolla, por favor. '.repeat(36),
    }
    return {
      name,
      body: JSON.stringify({ tenant_id: tenants[index % tenants.length], type, entity: name, data }),
    }
  })
}
