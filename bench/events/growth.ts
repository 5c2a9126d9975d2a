import type { Options } from '../options.ts'
import { startCluster } from '../postgres.ts'
import { atMost, type Figure, type Report } from '../report.ts'
import { alternate, type Run } from './delivering.ts'
import { fillFinished } from './finished-events.ts'
import { type PipeCore, startPipeCore } from './pipecore.ts'
import { startReceiver } from './receiver.ts'
import { startChildSide } from './sides/child-side.ts'

const tenants = 10
const eventsPerSecond = 5000
const levels = [1_000, 1_000_000]
const fullLevel = 10_000_000
const goalPercent = 20

/** Whether deliveries cost more the more has been delivered. */
export async function benchGrowth({ rounds, seconds, full }: Options): Promise<Report> {
  const ends: Array<() => Promise<void>> = []
  try {
    const cluster = await startCluster({ counting: true })
    ends.push(() => cluster.close())
    const receiver = await startReceiver()
    ends.push(() => receiver.close())
    const grown: PipeCore[] = []
    for (const level of full ? [...levels, fullLevel] : levels) {
      const database = `finished_${level}`
      const started = await startPipeCore({ cluster, database, tenants, receiver, roles: ['api', 'worker'] })
      ends.push(() => started.close())
      await fillFinished(started.sql, level)
      grown.push({ ...started, name: nameOf(level) })
    }
    const secrets = grown.map(({ secret }) => secret)
    const settings = { databaseUrl: '', receiverUrl: receiver.url, secret: secrets[0] ?? '' }
    const bare = await startChildSide('bare loop', settings)
    ends.push(() => bare.close())
    const task = { count: seconds * eventsPerSecond, tenants, plan: {}, rounds, warmUp: eventsPerSecond }
    const { medians, missing } = await alternate({ cluster, receiver, secrets }, [...grown, bare], task)
    const rare = full ? [] : [`${nameOf(fullLevel)}: only with --full (12 GB of disk, ten minutes more).`]
    return { ...reportOf(medians, task), missing: [...missing, ...rare] }
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}

function nameOf(level: number): string {
  return `${level.toLocaleString('en')} finished`
}

function reportOf(
  medians: ReadonlyMap<string, Run>,
  { count, rounds }: { count: number; rounds: number },
): Omit<Report, 'missing'> {
  const bare = medians.get('bare loop')?.perSecond ?? Number.NaN
  const ours = [...medians].filter(([name]) => name !== 'bare loop')
  const rows = ours.map(([name, run]) => [
    name,
    run.perSecond.toFixed(0),
    (run.perSecond / bare).toFixed(2),
    postgresCpuOf(run).toFixed(0),
    (run.walBytes / 1000).toFixed(1),
    run.statements.toFixed(2),
  ])
  const method = `As dispatch with ${tenants} tenants and ${count} events, on databases side by side in one PostgreSQL, whose tables hold so many events delivered and sealed earlier the same day, each with its attempt. Their entities are named again, so that their index is written all over. ${rounds} rounds, the databases and the bare loop in turn; medians; costs per event, intake included, processor time in µs.`
  const header = ['in the tables', 'events/s', '× bare', 'PostgreSQL CPU', 'WAL, kB', 'statements']
  const [fresh, ...others] = ours
  const figures = fresh === undefined ? [] : others.flatMap((one) => figuresOf(fresh, one))
  return { method: [method], tables: [{ header, rows }], figures }
}

function postgresCpuOf({ intakeCpu, deliveryCpu }: Run): number {
  return intakeCpu + deliveryCpu
}

/** How much worse than with few; what got better is below 0. */
function figuresOf([freshName, fresh]: [string, Run], [name, run]: [string, Run]): Figure[] {
  const what = `growth, ${name} against ${freshName}`
  const worse = (figure: (of: Run) => number) => (figure(run) / figure(fresh) - 1) * 100
  const slower = (fresh.perSecond / run.perSecond - 1) * 100
  return [
    atMost(`${what}: time per event`, slower, goalPercent, '%', 0),
    atMost(`${what}: PostgreSQL CPU`, worse(postgresCpuOf), goalPercent, '%', 0),
    atMost(
      `${what}: WAL`,
      worse((of) => of.walBytes),
      goalPercent,
      '%',
      0,
    ),
    atMost(
      `${what}: statements`,
      worse((of) => of.statements),
      goalPercent,
      '%',
      0,
    ),
  ]
}
