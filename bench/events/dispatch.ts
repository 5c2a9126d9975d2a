import type { Options } from '../options.ts'
import { atLeast, atMost, type Figure, type Report, type Table } from '../report.ts'
import { type Arena, withArena } from './arena.ts'
import { alternate, notRun, type Run } from './delivering.ts'
import { slots } from './sides/side.ts'

const tenantCounts = [10, 1000]
/** So many events make about a second's work. */
const eventsPerSecond = 5000

/** How fast a backlog of events is delivered, beside a bare loop and two queue libraries. */
export function benchDispatch(options: Options): Promise<Report> {
  const arena = {
    tenants: Math.max(...tenantCounts),
    roles: ['api', 'worker'] as const,
    rivals: ['bare loop', 'graphile-worker', 'pg-boss'] as const,
    counting: true,
  }
  return withArena(arena, (started) => play(started, options))
}

async function play(arena: Arena, { rounds, seconds }: Options): Promise<Report> {
  const count = seconds * eventsPerSecond
  const tables: Table[] = []
  const figures: Figure[] = []
  const missing = [...arena.missing]
  let bodyBytes = Number.NaN
  for (const tenants of tenantCounts) {
    const task = { count, tenants, plan: {}, rounds, warmUp: count }
    const found = await alternate(arena, arena.sides, task)
    tables.push(tableOf(tenants, found.medians))
    figures.push(...figuresOf(tenants, found.medians))
    missing.push(...found.missing)
    bodyBytes = found.medians.get('PipeCore')?.bodyBytes ?? bodyBytes
  }
  const method = [
    `A backlog of ${count} events of ${bodyBytes.toFixed(0)} bytes is stored, and then delivered with ${slots} calls at once to one receiver, a process of its own; from its first arrival to its last. All sides sign each event and post the same bodies to it. It counts what comes (each event once, or the side has failed) and checks the signature of every 50th. One durable PostgreSQL; ${rounds} rounds after one to warm up, the sides in turn; medians.`,
    `PipeCore: events come in one by one through \`POST /events\`; one worker delivers. The libraries are given their rows 1,000 at a time, which costs them less than rows that come one by one, and run in their fastest settings for this job. Costs are per event, from intake to the end; processor time in µs.`,
  ]
  return { method, tables, figures, missing }
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
  const [run = notRun, bare = notRun] = [medians.get('PipeCore'), medians.get('bare loop')]
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
