import type { Logger } from 'pino'
import type { Bag } from '#core/bag.ts'
import type { Database } from '#core/database.ts'
import type { Claim } from './work.ts'
import { extendWork } from './work-queries.ts'

export interface Run {
  claim: Claim
  /** `ends`: its result is on its way to the database. `over`: nothing is owed to its claim any more. */
  phase: 'runs' | 'ends' | 'over'
  controller: AbortController
  /** Milliseconds of the monotonic clock: what the lease counts from. */
  leasedAt: number
}

/** Why a run was aborted: somebody else may be at it. Its result is refused. */
class LeaseLost extends Error {
  constructor() {
    super('The lease was lost; somebody else may be running this work.')
    this.name = 'LeaseLost'
  }
}

export interface LeaseOptions {
  database: Database
  leaseSeconds: number
  log: Logger
}

/** Prolongs the leases of long runs and aborts the runs that lost theirs. @returns how to stop. */
export function keepLeases(options: LeaseOptions, runs: Bag<Run>, onTick: () => void): () => void {
  let beating = false
  const timer = setInterval(
    () => {
      onTick()
      abortExpired(options, runs)
      if (beating) return
      beating = true
      prolong(options, runs)
        .catch((error: unknown) => options.log.warn({ err: error }, 'leases can not be prolonged'))
        .finally(() => {
          beating = false
        })
    },
    (options.leaseSeconds * 1000) / 6,
  )
  return () => clearInterval(timer)
}

async function prolong({ database, leaseSeconds }: LeaseOptions, runs: Bag<Run>): Promise<void> {
  const askedAt = performance.now()
  const due = runs.items().filter((run) => askedAt - run.leasedAt > (leaseSeconds * 1000) / 3)
  if (due.length === 0) return
  const held = await extendWork(
    database.system,
    due.map((run) => run.claim),
    leaseSeconds,
  )
  for (const [index, run] of due.entries()) {
    if (held[index]) run.leasedAt = askedAt
    // A run that ended meanwhile has given its claim up itself.
    else if (run.phase !== 'over') run.controller.abort(new LeaseLost())
  }
}

/** Without an answer from the database in time, others are free to take the work. */
function abortExpired({ leaseSeconds }: LeaseOptions, runs: Bag<Run>): void {
  const now = performance.now()
  for (const run of runs.items()) {
    if (now - run.leasedAt > leaseSeconds * 1000) run.controller.abort(new LeaseLost())
  }
}
