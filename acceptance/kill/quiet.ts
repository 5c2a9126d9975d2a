import { setTimeout as sleep } from 'node:timers/promises'
import type { Installation } from './installation.ts'

export interface Quiet {
  isQuiet: boolean
  afterMs: number
  /** What was still open when the time was up, by kind. */
  open: Record<string, number>
}

type Observed = Pick<Installation, 'api' | 'sandbox'>

const pollMs = 500

/** A callback may become work, and work a callback, between the two counts of one look. */
const looksNeeded = 2

/**
 * Waits until nothing is left to do: no delivery, no job, no callback, none to come. What looks after unknown
 * messages for a day and what the clock starts does not count.
 */
export async function waitUntilQuiet(installation: Observed, deadlineMs: number): Promise<Quiet> {
  const startedAt = performance.now()
  const afterMs = () => Math.round(performance.now() - startedAt)
  for (let quietLooks = 0; ;) {
    const open = { ...(await countCallbacks(installation)), ...(await countWork(installation)) }
    const isQuiet = Object.values(open).every((count) => count === 0)
    quietLooks = isQuiet ? quietLooks + 1 : 0
    if (quietLooks >= looksNeeded || afterMs() > deadlineMs) return { isQuiet, afterMs: afterMs(), open }
    await sleep(pollMs)
  }
}

async function countWork({ api }: Observed): Promise<Record<string, number>> {
  const rows = await api.query(`
    select coalesce(jobs.name, work.kind) as name, count(*)::int as count
    from work left join jobs on jobs.id = work.ref
    where work.lane <> '*' and jobs.name is distinct from 'messaging.heal_message'
    group by 1`)
  return Object.fromEntries(rows.map((row) => [String(row['name']), Number(row['count'])]))
}

async function countCallbacks({ sandbox }: Observed): Promise<Record<string, number>> {
  const path = '/callbacks?state=pending&limit=1'
  const { total, coming } = await sandbox.control<{ total: number; coming: number }>('GET', path)
  return { callbacks: total, coming }
}
