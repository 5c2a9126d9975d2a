import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Logger } from 'pino'
import type { Database, Tables } from '#core/database.ts'
import { createGroup } from '#core/grouped.ts'
import { systemErrorCode } from '#core/system-error.ts'
import type { Claim, FinishedWork } from './work.ts'
import { type Ending, finishWork, vacuumWork } from './work-queries.ts'

export interface FinisherOptions<Detail> {
  database: Database
  log: Logger
  now(): Date
  /** Runs in the transaction that ends the claims, only for claims that were still held. */
  record?(db: Kysely<Tables>, finished: readonly FinishedWork<Detail>[]): Promise<void>
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

interface Entry<Detail> {
  ending: Ending
  finished: FinishedWork<Detail> | undefined
}

const maxBatch = 500
const maxFaults = 3
const vacuumEvery = 25_000

/** Ends claims in micro-batches: what finishes while a batch commits forms the next one. */
export function createFinisher<Detail>(options: FinisherOptions<Detail>): Finisher<Detail> {
  const state = { pending: 0, closed: false }
  const vacuum = createVacuum(options)
  const end = createGroup<Entry<Detail>, boolean>({
    maxSize: maxBatch,
    flush: async (entries) => {
      const held = await endClaims(options, entries)
      vacuum(held.filter(Boolean).length)
      return held
    },
  })

  async function endUntilDone(entry: Entry<Detail>): Promise<void> {
    state.pending += 1
    for (let faults = 0, waitMs = 50; !state.closed; waitMs = Math.min(waitMs * 2, 2_000)) {
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
  entries: readonly Entry<Detail>[],
): Promise<boolean[]> {
  const endings = entries.map((entry) => entry.ending)
  if (options.record === undefined) return finishWork(options.database.system, endings, options.now())
  return options.database.asSystem(async (db) => {
    const held = await finishWork(db, endings, options.now())
    const finished = entries.flatMap((entry, index) =>
      held[index] && entry.finished ? [entry.finished] : [],
    )
    if (finished.length > 0) await options.record?.(db, finished)
    return held
  })
}

/** Classes of SQLSTATE that say nothing about a result: connections, deadlocks, a full disk, a server that stops. */
const troubles = ['08', '25', '40', '53', '55', '57', '58']

function isTrouble(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code !== undefined && code.length === 5 && troubles.includes(code.slice(0, 2))
}

async function isReachable(database: Database): Promise<boolean> {
  try {
    await sql`select 1`.execute(database.system)
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
function createVacuum({ database, log }: { database: Database; log: Logger }): (finished: number) => void {
  let finishedSince = 0
  let running = false
  return (finished) => {
    finishedSince += finished
    if (finishedSince < vacuumEvery || running) return
    finishedSince = 0
    running = true
    vacuumWork(database.system)
      .catch((error: unknown) => log.debug({ err: error }, 'vacuum of work failed'))
      .finally(() => {
        running = false
      })
  }
}
