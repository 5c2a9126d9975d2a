import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { readCpu } from '../cpu.ts'
import { medianOf } from '../load.ts'
import type { Options } from '../options.ts'
import { type Cluster, startCluster } from '../postgres.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { atLeast, atMost, type Figure, type Report } from '../report.ts'
import { startPipeCore } from './pipecore.ts'
import { sampleEvents } from './sample-events.ts'

const goals: ReadonlyArray<[connections: number, times: number]> = [
  [32, 1.7],
  [256, 2.5],
]
const tenants = 4
const goalCpu = 40
const warmUpSeconds = 2

interface Side {
  name: 'bare INSERT' | 'PipeCore'
  url: string
  key: string
  processId: number
  close(): Promise<void>
}

interface Run {
  perSecond: number
  failed: number
  /** In microseconds per event. */
  serverCpu: number
  postgresCpu: number
}

/** How many events a second are taken durably, beside a bare handler that does one INSERT per request. */
export async function benchIntake(options: Options): Promise<Report> {
  const cluster = await startCluster({ counting: false })
  const sides: Side[] = []
  try {
    sides.push(await startBare(cluster))
    sides.push(await startOurs(cluster))
    const rows: string[][] = []
    const figures: Figure[] = []
    for (const [connections, goal] of goals) {
      const [bare, ours] = await play(sides, connections, options, cluster)
      rows.push(rowOf(connections, 'bare INSERT', bare, bare), rowOf(connections, 'PipeCore', ours, bare))
      const what = `intake, ${connections} connections`
      figures.push(
        atLeast(`${what}: events/s of the bare INSERT's`, ours.perSecond / bare.perSecond, goal, '×'),
      )
      figures.push(atMost(`${what}: PostgreSQL CPU per event`, ours.postgresCpu, goalCpu, 'µs', 0))
    }
    const [sample] = sampleEvents(1, tenants)
    const method = `Events of ${Buffer.byteLength(JSON.stringify(sample))} bytes for ${tenants} tenants, one per request, checked against a schema; one endpoint wants them, and nothing is delivered meanwhile (\`--role api\`). Beside it a bare \`node:http\` handler that does one INSERT per request. Both on one durable PostgreSQL; ${options.rounds} rounds of ${options.seconds} s each, alternated; medians; processor time per event in µs.`
    const header = ['connections', 'side', 'events/s', '× bare', 'process CPU', 'PostgreSQL CPU', 'failed']
    return { method: [method], tables: [{ header, rows }], figures, missing: [] }
  } finally {
    for (const side of sides) await side.close()
    await cluster.close()
  }
}

async function startBare(cluster: Cluster): Promise<Side> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const env = {
    DATABASE_URL: await cluster.createRivalDatabase('bare'),
    BARE_CONNECTIONS: process.env['BARE_CONNECTIONS'] ?? '10',
  }
  const child = await startProgram(['bench/events/bare.ts', String(port)], env, origin)
  const close = () => endProgram(child)
  return { name: 'bare INSERT', url: `${origin}/events`, key: 'none', processId: child.pid ?? 0, close }
}

async function startOurs(cluster: Cluster): Promise<Side> {
  const receiver = { url: 'http://127.0.0.1:9/events' }
  const started = await startPipeCore({ cluster, database: 'pipecore', tenants, receiver, roles: ['api'] })
  const { origin, key, processId } = started
  return { name: 'PipeCore', url: `${origin}/events`, key, processId, close: () => started.close() }
}

async function play(
  sides: readonly Side[],
  connections: number,
  { rounds, seconds }: Options,
  cluster: Cluster,
): Promise<[bare: Run, ours: Run]> {
  for (const side of sides) await load(side, connections, warmUpSeconds)
  const runs: Record<Side['name'], Run[]> = { 'bare INSERT': [], PipeCore: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const side of sides) runs[side.name].push(await measure(side, connections, seconds, cluster))
  }
  return [medianRun(runs['bare INSERT']), medianRun(runs.PipeCore)]
}

function medianRun(runs: readonly Run[]): Run {
  const median = (field: keyof Run) => medianOf(runs.map((run) => run[field]))
  return {
    perSecond: median('perSecond'),
    failed: runs.reduce((sum, run) => sum + run.failed, 0),
    serverCpu: median('serverCpu'),
    postgresCpu: median('postgresCpu'),
  }
}

function rowOf(connections: number, name: string, run: Run, bare: Run): string[] {
  const figures = [run.perSecond.toFixed(0), (run.perSecond / bare.perSecond).toFixed(2)]
  const cpu = [run.serverCpu.toFixed(0), run.postgresCpu.toFixed(0)]
  return [String(connections), name, ...figures, ...cpu, String(run.failed)]
}

async function measure(side: Side, connections: number, seconds: number, cluster: Cluster): Promise<Run> {
  const read = () => Promise.all([readCpu(side.processId), cluster.readCpu()])
  const [serverBefore, postgresBefore] = await read()
  const { perSecond, failed, taken } = await load(side, connections, seconds)
  const [serverAfter, postgresAfter] = await read()
  const perEvent = (cpu: number) => (cpu * 1e6) / taken
  return {
    perSecond,
    failed,
    serverCpu: perEvent(serverAfter - serverBefore),
    postgresCpu: perEvent(postgresAfter - postgresBefore),
  }
}

interface Load {
  taken: number
  failed: number
  perSecond: number
}

/** In a process of its own, so that its work is not that of what is measured. */
function load({ url, key }: Side, connections: number, forSeconds: number): Promise<Load> {
  const path = fileURLToPath(new URL('load-process.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    [path, url, key, String(connections), String(forSeconds), String(tenants)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
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
