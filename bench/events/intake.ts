import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres } from '../../server/core/postgres/embedded-postgres.ts'
import { generateMasterKey } from '../../server/core/sealing.ts'
import { readCpu, readPostmasterId } from '../cpu.ts'
import { medianOf } from '../load.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { sampleEvents, sampleSchema, sampleTenants, sampleType } from './sample-events.ts'

const rounds = readNumber('BENCH_ROUNDS', 5)
const seconds = readNumber('BENCH_SECONDS', 4)
const goals: Record<number, number> = { 32: 1.7, 256: 2.5 }
const goalCpu = 40

interface Side {
  name: 'bare' | 'PipeCore'
  url: string
  key: string
  processId: number
}

interface Run {
  perSecond: number
  failed: number
  /** In microseconds per event. */
  serverCpu: number
  postgresCpu: number
}

const ends: Array<() => Promise<void>> = []

/** How many events a second are taken durably, beside a bare handler that does one INSERT per request. */
async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-bench-'))
  ends.push(() => rm(folder, { recursive: true, force: true }))
  const postgres = await startEmbeddedPostgres({ folder })
  ends.push(() => postgres.stop())
  const sides = [await startBare(postgres.url), await startPipeCore(postgres.url)]
  const [sample = ''] = sampleEvents(1)
  print(
    `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, Node ${process.version}`,
  )
  print(
    `Events of ${Buffer.byteLength(sample)} bytes for ${sampleTenants.length} tenants, checked against a schema; one endpoint wants them (--role api: nothing is delivered meanwhile). Both on one embedded, durable PostgreSQL; ${rounds} rounds of ${seconds} s each, alternated; medians.`,
  )
  print('')
  print(
    '| connections | side | events/s | × | goal | server CPU, µs/event | PostgreSQL CPU, µs/event | failed |',
  )
  print('| --- | --- | --- | --- | --- | --- | --- | --- |')
  const postmasterId = await readPostmasterId(postgres.dataFolder)
  for (const connections of [32, 256]) await play(sides, connections, postmasterId)
  print('')
  print(`Goal for PipeCore's PostgreSQL CPU: at most ${goalCpu} µs per event.`)
}

async function startBare(databaseUrl: string): Promise<Side> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const env = { DATABASE_URL: databaseUrl, BARE_CONNECTIONS: process.env['BARE_CONNECTIONS'] ?? '10' }
  const child = await startProgram(['bench/events/bare.ts', String(port)], env, origin)
  ends.push(() => endProgram(child))
  return { name: 'bare', url: `${origin}/events`, key: 'none', processId: child.pid ?? 0 }
}

async function startPipeCore(databaseUrl: string): Promise<Side> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const env = {
    DATABASE_URL: databaseUrl,
    PIPECORE_ADMIN_KEY: adminKey,
    PIPECORE_MASTER_KEY: generateMasterKey(),
    PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
    PIPECORE_LOG_LEVEL: 'error',
    PORT: String(port),
  }
  const flags = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')
  const child = await startProgram([...flags, 'server/main.ts', '--role', 'api'], env, `${origin}/ready`)
  ends.push(() => endProgram(child))
  const key = await prepare(origin, adminKey)
  return { name: 'PipeCore', url: `${origin}/events`, key, processId: child.pid ?? 0 }
}

/** A product with tenants, its type, and an endpoint that wants it; answers with the product's key. */
async function prepare(origin: string, adminKey: string): Promise<string> {
  const call = async (method: string, path: string, body: object) => {
    const headers = { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' }
    const answer = await fetch(origin + path, { method, headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${path} → ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as Record<string, unknown>
  }
  await call('POST', '/products', { id: 'bench', name: 'Bench' })
  for (const id of sampleTenants) await call('POST', '/tenants', { id, product_id: 'bench', name: id })
  await call('PUT', `/webhooks/catalog/${sampleType}`, {
    product_id: 'bench',
    version: 1,
    schema: sampleSchema,
  })
  await call('POST', '/webhooks/endpoints', { url: 'http://127.0.0.1:9/events', product_id: 'bench' })
  return String((await call('POST', '/products/bench/keys', {}))['key'])
}

async function play(sides: readonly Side[], connections: number, postmasterId: number): Promise<void> {
  for (const side of sides) await load(side, connections, 2)
  const runs: Record<Side['name'], Run[]> = { bare: [], PipeCore: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const side of sides) runs[side.name].push(await measure(side, connections, postmasterId))
  }
  for (const { name } of sides) {
    const median = (field: keyof Run, of = name) => medianOf(runs[of].map((run) => run[field]))
    const ratio = median('perSecond') / median('perSecond', 'bare')
    const goal = name === 'bare' ? '' : `≥ ${goals[connections]}`
    const failed = runs[name].reduce((sum, run) => sum + run.failed, 0)
    const cpu = `${median('serverCpu').toFixed(0)} | ${median('postgresCpu').toFixed(0)}`
    print(
      `| ${connections} | ${name} | ${median('perSecond').toFixed(0)} | ${ratio.toFixed(2)} | ${goal} | ${cpu} | ${failed} |`,
    )
  }
}

async function measure(side: Side, connections: number, postmasterId: number): Promise<Run> {
  const processes = [side.processId, postmasterId]
  const before = await Promise.all(processes.map(readCpu))
  const { perSecond, failed, taken } = await load(side, connections, seconds)
  const after = await Promise.all(processes.map(readCpu))
  const spent = after.map((cpu, index) => ((cpu - (before[index] ?? 0)) * 1e6) / taken)
  const [serverCpu = Number.NaN, postgresCpu = Number.NaN] = spent
  return { perSecond, failed, serverCpu, postgresCpu }
}

interface Load {
  taken: number
  failed: number
  perSecond: number
}

/** In a process of its own, so that its work is not that of what is measured. */
function load({ url, key }: Side, connections: number, forSeconds: number): Promise<Load> {
  const path = fileURLToPath(new URL('load-process.ts', import.meta.url))
  const child = spawn(process.execPath, [path, url, key, String(connections), String(forSeconds)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as Load)
      else reject(new Error(`The load generator ended with ${code}.`))
    })
  })
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function readNumber(name: string, fallback: number): number {
  const number = Number(process.env[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`${name} must be a whole number above 0, not "${process.env[name]}".`)
}

try {
  await main()
} finally {
  for (const end of ends.toReversed()) await end()
}
