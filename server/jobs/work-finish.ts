import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Logger } from 'pino'
import type { Database, Tables } from '#core/database.ts'
import { createGroup } from '#core/grouped.ts'
import { systemErrorCode } from '#core/system-error.ts'
import type { Claim, FinishedWork } from './work.ts'
import { type Ending, finishWork, probe, vacuumWork } from './work-queries.ts'

export interface FinisherOptions<Detail> {
  database: Database
  log: Logger
  now(): Date
  /** Ends claims, and stores what is stored of all of them, in one statement. Default: `finishWork`. */
  finish?: (db: Kysely<Tables>, ended: readonly EndedClaim<Detail>[], now: Date) => Promise<boolean[]>
  /** Whether `record` has anything to do. Default: it has. */
  needsRecord?: (finished: FinishedWork<Detail>) => boolean
  /** Runs in the transaction that ends the claims, only for claims that were still held. */
  record?: (db: Kysely<Tables>, finished: readonly FinishedWork<Detail>[]) => Promise<void>
}

export interface EndedClaim<Detail = unknown> {
  ending: Ending
  /** Undefined of claims that are handed back. */
  finished: FinishedWork<Detail> | undefined
}

export interface Finisher<Detail> {
  /** Resolves once the result is committed, refused by the fence, or given up after `close`. Never rejects. */
  finish(claim: Claim, finished: FinishedWork<Detail>): Promise<void>
  /** Ends a claim without a result. */
  giveBack(claim: Claim, kind: 'release' | 'abandon'): Promise<void>
  /** Finishes that wait for the database. */
  pending(): number
  close(): void
}

const maxBatch = 500
/** A commit for so many costs little more than for one. */
const enoughTogether = 128
const maxFaults = 3
/** What waits for the database is tried again within it. */
export const longestWaitMs = 2_000
const vacuumEvery = 25_000

/** Ends claims in micro-batches: what finishes while a batch commits forms the next one. */
export function createFinisher<Detail>(options: FinisherOptions<Detail>): Finisher<Detail> {
  const state = { pending: 0, closed: false }
  const vacuum = createVacuum(options, () => state.closed)
  const end = createGroup<EndedClaim<Detail>, boolean>({
    maxSize: maxBatch,
    gathers: enoughTogether,
    flush: async (entries) => {
      const held = await endClaims(options, entries)
      vacuum(held.filter(Boolean).length)
      return held
    },
  })

  async function endUntilDone(entry: EndedClaim<Detail>): Promise<void> {
    state.pending += 1
    for (let faults = 0, waitMs = 50; !state.closed; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      try {
        const held = await end(entry)
        if (!held)
          options.log.info({ work: entry.ending.claim.item.id }, 'result dropped: the work was taken over')
        break
      } catch (error) {
        if (!isTrouble(error) && (await isReachable(options.database))) faults += 1
        if (faults >= maxFaults) {
          options.log.error({ err: error, work: entry.ending.claim.item.id }, 'result can not be recorded')
          await bury(options, entry.ending.claim, error)
          break
        }
        await delay(waitMs)
      }
    }
    state.pending -= 1
  }

  return {
    finish: (claim, finished) => endUntilDone({ ending: { claim, result: finished.result }, finished }),
    giveBack: (claim, kind) => endUntilDone({ ending: { claim, result: { kind } }, finished: undefined }),
    pending: () => state.pending,
    close: () => {
      state.closed = true
    },
  }
}

function endClaims<Detail>(
  options: FinisherOptions<Detail>,
  entries: readonly EndedClaim<Detail>[],
): Promise<boolean[]> {
  const { database, record, finish = finishOnly, needsRecord = () => true } = options
  const isNeeded = ({ finished }: EndedClaim<Detail>) => finished !== undefined && needsRecord(finished)
  const now = options.now()
  if (record === undefined || !entries.some(isNeeded)) return finish(database.system, entries, now)
  return database.asSystem(async (db) => {
    const held = await finish(db, entries, now)
    const needed = entries.filter((entry, index) => held[index] === true && isNeeded(entry))
    const finished = needed.flatMap((entry) => entry.finished ?? [])
    if (finished.length > 0) await record(db, finished)
    return held
  })
}

function finishOnly(db: Kysely<Tables>, ended: readonly EndedClaim[], now: Date): Promise<boolean[]> {
  return finishWork(
    db,
    ended.map(({ ending }) => ending),
    now,
  )
}

/** Classes of SQLSTATE that say nothing about a result: connections, deadlocks, a full disk, a server that stops. */
const troubles = ['08', '25', '40', '53', '55', '57', '58']

function isTrouble(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && code.length === 5 && troubles.includes(code.slice(0, 2))
}

async function isReachable(database: Database): Promise<boolean> {
  try {
    await probe(database.system)
    return true
  } catch {
    return false
  }
}

/** A result that can't be written would run again and again: as dead work it is seen and can be sent back. */
async function bury<Detail>(options: FinisherOptions<Detail>, claim: Claim, cause: unknown): Promise<void> {
  const message = cause instanceof Error ? cause.message : String(cause)
  const result = { kind: 'dead' as const, error: `The result could not be recorded: ${message}` }
  await finishWork(options.database.system, [{ claim, result }], options.now()).catch((error: unknown) => {
    options.log.error(
      { err: error, work: claim.item.id },
      'work can not be buried; it runs again after its lease',
    )
  })
}

/** By count, since autovacuum looks once a minute: too late for thousands of finished rows a second. */
function createVacuum(
  { database, log }: { database: Database; log: Logger },
  isClosed: () => boolean,
): (finished: number) => void {
  let finishedSince = 0
  let running = false
  let outage = false

  async function vacuum(): Promise<void> {
    try {
      await database.asSystemAlone(vacuumWork)
      if (outage) log.info('work is vacuumed again')
      outage = false
    } catch (error) {
      const advice = 'work can not be vacuumed and grows; may pipecore_upkeep_… log in? Trying on'
      if (!outage && !isClosed()) log.warn({ err: error }, advice)
      outage = true
    }
  }

  return (finished) => {
    finishedSince += finished
    if (finishedSince < vacuumEvery || running) return
    finishedSince = 0
    running = true
    void vacuum().finally(() => {
      running = false
    })
  }
}
