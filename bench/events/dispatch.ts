import type { Options } from '../options.ts'
import { startCluster } from '../postgres.ts'
import { atLeast, atMost, type Figure, type Report, type Table } from '../report.ts'
import { alternate, medianRun, type Place, type Run } from './delivering.ts'
import { startPipeCore } from './pipecore.ts'
import { startReceiver } from './receiver.ts'
import { startChildSide } from './sides/child-side.ts'
import { type ChildSide, type Side, slots } from './sides/side.ts'

const tenantCounts = [10, 1000]
/** So many events make about a second's work. */
const eventsPerSecond = 5000
const names: readonly ChildSide[] = ['bare loop', 'graphile-worker', 'pg-boss']

type Running = Side & { close(): Promise<void> }

/** How fast a backlog of events is delivered, beside a bare loop and two queue libraries. */
export async function benchDispatch({ rounds, seconds }: Options): Promise<Report> {
  const [cluster, receiver] = [await startCluster({ counting: true }), await startReceiver()]
  const sides: Running[] = []
  try {
    const { place, missing } = await startSides({ cluster, receiver }, sides)
    const count = seconds * eventsPerSecond
    const tables: Table[] = []
    const figures: Figure[] = []
    let bodyBytes = 0
    for (const tenants of tenantCounts) {
      const task = { count, tenants, plan: {}, rounds, warmUp: eventsPerSecond }
      const found = await alternate(place, sides, task)
      const medians = new Map([...found.runs].map(([name, runs]) => [name, medianRun(runs)]))
      tables.push(tableOf(tenants, medians))
      figures.push(...figuresOf(tenants, medians))
      missing.push(...found.missing)
      bodyBytes = medians.get('PipeCore')?.bodyBytes ?? bodyBytes
    }
    const method = [
      `A backlog of ${count} events of ${bodyBytes.toFixed(0)} bytes is stored, and then delivered with ${slots} calls at once to one receiver, a process of its own; from its first arrival to its last. All sides sign each event and post the same bodies to it. It counts what comes (each event once, or the side has failed) and checks the signature of every 50th. One durable PostgreSQL; ${rounds} rounds, the sides in turn; medians.`,
      `PipeCore: events come in one by one through \`POST /events\`; one worker delivers. The libraries are given their rows 1,000 at a time, which costs them less than rows that come one by one, and run in their fastest settings for this job. Costs are per event, from intake to the end; processor time in µs.`,
    ]
    return { method, tables, figures, missing }
  } finally {
    for (const side of sides) await side.close()
    await receiver.close()
    await cluster.close()
  }
}

async function startSides(
  { cluster, receiver }: Omit<Place, 'secrets'>,
  sides: Running[],
): Promise<{ place: Place; missing: string[] }> {
  const tenants = Math.max(...tenantCounts)
  const options = {
    cluster,
    name: 'pipecore',
    tenants,
    receiverUrl: receiver.url,
    roles: ['api', 'worker'] as const,
  }
  const pipecore = await startPipeCore(options)
  sides.push(pipecore)
  const { secret } = pipecore
  const missing: string[] = []
  for (const name of names) {
    try {
      const databaseUrl = await cluster.createRivalDatabase(name)
      sides.push(await startChildSide(name, { databaseUrl, receiverUrl: receiver.url, secret }))
    } catch (error) {
      missing.push(`${name}: ${String(error)}`)
    }
  }
  return { place: { cluster, receiver, secrets: [secret] }, missing }
}

function tableOf(tenants: number, medians: ReadonlyMap<string, Run>): Table {
  const header = [
    `${tenants} tenants`,
    'events/s',
    '× bare',
    'process CPU',
    'PostgreSQL CPU: intake',
    'delivery',
    'together',
    'WAL, kB',
    'statements',
  ]
  const bare = medians.get('bare loop')?.perSecond ?? Number.NaN
  const rows = [...medians].map(([name, run]) => {
    const start = [name, run.perSecond.toFixed(0), (run.perSecond / bare).toFixed(2), run.sideCpu.toFixed(0)]
    if (name === 'bare loop') return [...start, '', '', '', '', '']
    const { intakeCpu, deliveryCpu } = run
    const cpu = [intakeCpu, deliveryCpu, intakeCpu + deliveryCpu].map((figure) => figure.toFixed(0))
    return [...start, ...cpu, (run.walBytes / 1000).toFixed(1), run.statements.toFixed(2)]
  })
  return { header, rows }
}

function figuresOf(tenants: number, medians: ReadonlyMap<string, Run>): Figure[] {
  const [run, bare] = [medians.get('PipeCore'), medians.get('bare loop')]
  if (run === undefined || bare === undefined) return []
  const what = `dispatch, ${tenants} tenants`
  return [
    atLeast(`${what}: events/s of the bare loop's`, run.perSecond / bare.perSecond, 0.5, '×'),
    atMost(
      `${what}: PostgreSQL CPU per event, intake included`,
      run.intakeCpu + run.deliveryCpu,
      120,
      'µs',
      0,
    ),
    atMost(`${what}: WAL per event`, run.walBytes / 1000, 4, 'kB'),
  ]
}
