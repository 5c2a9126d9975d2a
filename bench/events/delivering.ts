import { readCpu } from '../cpu.ts'
import { medianOf } from '../load.ts'
import { spentBetween } from '../postgres.ts'
import type { Arena } from './arena.ts'
import type { Plan } from './receiver.ts'
import type { Side } from './sides/side.ts'

/** What the delivery of a backlog took; costs per event, processor time in microseconds. */
export interface Run {
  perSecond: number
  sideCpu: number
  /** Of PostgreSQL, while events were taken. */
  intakeCpu: number
  /** Of PostgreSQL, while they were delivered. */
  deliveryCpu: number
  walBytes: number
  statements: number
  bodyBytes: number
}

/** Of a side that could not run. */
export const notRun = medianRun([])

interface Task {
  count: number
  tenants: number
  /** How the receiver answers. */
  plan: Partial<Plan>
}

type Place = Pick<Arena, 'cluster' | 'receiver' | 'secrets'>

/** Fills a side, lets it deliver, and checks that every event came once and well signed. */
async function deliver({ cluster, receiver, secrets }: Place, side: Side, task: Task): Promise<Run> {
  const { count, tenants, plan } = task
  await receiver.follow({ secrets, verifyEvery: 50, ...plan })
  const atStart = await cluster.readSpent()
  await side.fill(count, tenants)
  const filled = await cluster.readSpent()
  const cpuBefore = await readCpu(side.processId)
  await side.open()
  const { firstAt, lastAt, bytes } = await receiver.expect(count, side.name)
  await side.settle()
  const cpuAfter = await readCpu(side.processId)
  const atEnd = await cluster.readSpent()
  const spent = spentBetween(atStart, atEnd)
  return {
    perSecond: ((count - 1) * 1000) / (lastAt - firstAt),
    sideCpu: ((cpuAfter - cpuBefore) * 1e6) / count,
    intakeCpu: (spentBetween(atStart, filled).cpu * 1e6) / count,
    deliveryCpu: (spentBetween(filled, atEnd).cpu * 1e6) / count,
    walBytes: spent.walBytes / count,
    statements: spent.statements / count,
    bodyBytes: bytes / count,
  }
}

/** Each figure's median over the rounds. */
function medianRun(runs: readonly Run[]): Run {
  const median = (field: keyof Run) => medianOf(runs.map((run) => run[field]))
  return {
    perSecond: median('perSecond'),
    sideCpu: median('sideCpu'),
    intakeCpu: median('intakeCpu'),
    deliveryCpu: median('deliveryCpu'),
    walBytes: median('walBytes'),
    statements: median('statements'),
    bodyBytes: median('bodyBytes'),
  }
}

/** Every side once per round, in turn; a side that fails is left out from then on, and why is told. */
export async function alternate(
  place: Place,
  sides: readonly Side[],
  task: Task & { rounds: number; warmUp: number },
): Promise<{ medians: Map<string, Run>; missing: string[] }> {
  const runs = new Map<string, Run[]>()
  const missing = new Map<string, string>()
  for (let round = 0; round <= task.rounds; round += 1) {
    for (const side of sides) {
      if (missing.has(side.name)) continue
      try {
        const isWarmUp = round === 0
        const run = await deliver(place, side, isWarmUp ? { ...task, count: task.warmUp } : task)
        if (!isWarmUp) runs.set(side.name, [...(runs.get(side.name) ?? []), run])
      } catch (error) {
        missing.set(side.name, `${side.name}, ${task.tenants} tenants: ${String(error)}`)
        runs.delete(side.name)
      }
    }
  }
  const medians = new Map([...runs].map(([name, ofSide]) => [name, medianRun(ofSide)]))
  return { medians, missing: [...missing.values()] }
}
