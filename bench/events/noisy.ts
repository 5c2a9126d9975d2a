import { medianOf } from '../load.ts'
import type { Options } from '../options.ts'
import { atMost, type Report } from '../report.ts'
import { type Arena, withArena } from './arena.ts'
import { sampleEvents, sampleTenants } from './sample-events.ts'

const backlog = 20_000
const others = 10
const goalMs = 50

interface Wait {
  sinceAccepted: number
  /** Of the other tenant's first event. */
  sinceSent: number
  /** How long the backlog took in all. */
  backlogMs: number
}

/** How long a tenant's few events wait behind another tenant's many. */
export function benchNoisy({ rounds }: Options): Promise<Report> {
  return withArena({ tenants: 2, roles: ['all'] }, async (arena) => {
    const waits: Wait[] = []
    for (let round = 0; round <= rounds; round += 1) {
      const wait = await measure(arena)
      if (round > 0) waits.push(wait)
    }
    const median = (field: keyof Wait) => medianOf(waits.map((wait) => wait[field]))
    const worst = Math.max(...waits.map((wait) => wait.sinceAccepted))
    const method = `One tenant has ${backlog} events queued. When the first twentieth of them was delivered, another tenant of the same product publishes ${others} at once; until the last of these is at the receiver. One process takes and delivers. ${rounds} rounds after one to warm up; medians; milliseconds.`
    const header = [`accepted → ${others}th`, 'the worst round', `sent → ${others}th`, 'the whole backlog']
    const cells = [median('sinceAccepted'), worst, median('sinceSent'), median('backlogMs')]
    const rows = [cells.map((cell) => cell.toFixed(0))]
    const what = `noisy tenant: ${others}th of another's ${others} behind ${backlog}`
    const figures = [atMost(what, median('sinceAccepted'), goalMs, 'ms', 0)]
    return { method: [method], tables: [{ header, rows }], figures, missing: [] }
  })
}

async function measure({ receiver, pipecore, secrets }: Arena): Promise<Wait> {
  await receiver.follow({ secrets, verifyEvery: 50 })
  await pipecore.fill(backlog, 1)
  await pipecore.open()
  await receiver.await(backlog / 20, 'PipeCore')
  const [, other = ''] = sampleTenants(2)
  const events = sampleEvents(others, 1).map((event) => ({ ...event, tenant_id: other }))
  const accepted = await Promise.all(events.map(pipecore.publish))
  const { firstAt, lastAt } = await receiver.expect(backlog + others, 'PipeCore')
  await pipecore.settle()
  const arrivals = new Map(await receiver.arrivals())
  const tenthAt = Math.max(...accepted.map(({ id }) => arrivals.get(id) ?? Number.NaN))
  if (!(tenthAt < lastAt)) throw new Error('The backlog was gone before the other tenant had its events.')
  return {
    sinceAccepted: tenthAt - Math.max(...accepted.map(({ acceptedAt }) => acceptedAt)),
    sinceSent: tenthAt - Math.min(...accepted.map(({ sentAt }) => sentAt)),
    backlogMs: lastAt - firstAt,
  }
}
