import type { Options } from '../options.ts'
import { atLeast, type Report } from '../report.ts'
import { withArena } from './arena.ts'
import { alternate } from './delivering.ts'
import { slots } from './sides/side.ts'

const tenants = 10
/** As many as 64 slots can deliver to such a receiver in a second. */
const eventsPerSecond = 1600
/** Before the first slow calls end, slots are freer than they stay. */
const longer = 2
const plan = { delayMs: 20, slowEvery: 100, slowMs: 2000 }
const goal = 0.9

/** Whether calls that take long hold up the others, beside a bare loop with as many slots. */
export function benchSlow({ rounds, seconds }: Options): Promise<Report> {
  const options = { tenants, roles: ['api', 'worker'] as const, rivals: ['bare loop'] as const }
  return withArena(options, async (arena) => {
    const count = longer * seconds * eventsPerSecond
    const task = { count, tenants, plan, rounds, warmUp: eventsPerSecond }
    const { medians, missing } = await alternate(arena, arena.sides, task)
    const bare = medians.get('bare loop')?.perSecond ?? Number.NaN
    const ours = medians.get('PipeCore')?.perSecond ?? Number.NaN
    const rows = [...medians].map(([name, { perSecond }]) => [
      name,
      perSecond.toFixed(0),
      (perSecond / bare).toFixed(2),
    ])
    const method = `${count} events of ${tenants} tenants to a receiver that answers after ${plan.delayMs} ms, one call in ${plan.slowEvery} after ${plan.slowMs} ms; ${slots} calls at once; otherwise as in dispatch. ${rounds} rounds, alternated; medians.`
    return {
      method: [method],
      tables: [{ header: ['side', 'events/s', '× bare'], rows }],
      figures: [atLeast("slow endpoints: events/s of the bare loop's", ours / bare, goal, '×')],
      missing: [...arena.missing, ...missing],
    }
  })
}
