import pg from 'pg'
import type { Options } from '../options.ts'
import { atMost, type Report } from '../report.ts'
import { type Arena, withArena } from './arena.ts'
import { alternate, type Run } from './delivering.ts'

const tenants = 10
const eventsPerSecond = 5000
/** So many backlogs each side delivers while the transactions stay open. */
const backlogs = 8
const goalPercent = 20

interface Phases {
  before: Run
  last: Run
}

/** Whether deliveries cost more while a transaction stays open, as a backup's does, and no dead row may be removed. */
export function benchBackup({ rounds, seconds }: Options): Promise<Report> {
  const rivals = ['graphile-worker', 'pg-boss'] as const
  return withArena({ tenants, roles: ['api', 'worker'], rivals, counting: true }, async (arena) => {
    const count = seconds * eventsPerSecond
    const task = { count, tenants, plan: {}, rounds, warmUp: count }
    const before = await alternate(arena, arena.sides, task)
    const { last, missing } = await holdingSnapshots(arena, async () => {
      // The first backlogs leave the dead rows that the last ones meet.
      const first = await alternate(arena, arena.sides, { ...task, rounds: Math.max(backlogs - rounds, 0) })
      const { medians, missing: failed } = await alternate(arena, arena.sides, { ...task, warmUp: 100 })
      return { last: medians, missing: [...first.missing, ...failed] }
    })
    const phases = new Map<string, Phases>()
    for (const [name, run] of last) {
      const earlier = before.medians.get(name)
      if (earlier !== undefined) phases.set(name, { before: earlier, last: run })
    }
    return reportOf(phases, [...arena.missing, ...before.missing, ...missing], { count, rounds })
  })
}

/** Has a snapshot open in each side's database meanwhile. */
async function holdingSnapshots<Result>({ cluster }: Arena, use: () => Promise<Result>): Promise<Result> {
  const clients: pg.Client[] = []
  try {
    for (const connectionString of await cluster.listDatabaseUrls()) {
      const client = new pg.Client({ connectionString })
      clients.push(client)
      await client.connect()
      await client.query('begin isolation level repeatable read')
      await client.query('select count(*) from pg_class')
    }
    return await use()
  } finally {
    for (const client of clients) await client.end()
  }
}

function reportOf(
  phases: ReadonlyMap<string, Phases>,
  missing: string[],
  { count, rounds }: { count: number; rounds: number },
): Report {
  const header = [
    'side',
    'events/s: before',
    'at the end',
    'PostgreSQL CPU of deliveries: before',
    'at the end',
  ]
  const rows = [...phases].map(([name, { before, last }]) => [
    name,
    ...[before.perSecond, last.perSecond, before.deliveryCpu, last.deliveryCpu].map((figure) =>
      figure.toFixed(0),
    ),
  ])
  const ours = phases.get('PipeCore')
  const worse = ours === undefined ? Number.NaN : (ours.last.deliveryCpu / ours.before.deliveryCpu - 1) * 100
  const method = `As dispatch with ${tenants} tenants: ${rounds} backlogs of ${count} events, then ${Math.max(backlogs, rounds) + 1} while a transaction with a snapshot is open in each side's database, of which the last ${rounds} are told; medians; processor time per event in µs.`
  return {
    method: [method],
    tables: [{ header, rows }],
    figures: [
      atMost('backup: PostgreSQL CPU of deliveries behind an open transaction', worse, goalPercent, '%', 0),
    ],
    missing,
  }
}
