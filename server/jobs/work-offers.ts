import type { Logger } from 'pino'
import type { Database } from '#core/database.ts'
import { areLeased } from './queue-queries.ts'
import type { WorkQueue } from './queue.ts'
import type { Claim } from './work.ts'
import { createFinisher } from './work-finish.ts'
import { type Runner, type Running, settleWithin } from './work-runs.ts'

export interface OffersOptions {
  database: Database
  leaseSeconds: number
  log: Logger
  now(): Date
}

export interface Offers extends Runner {
  has(claim: Claim): boolean
  /** Waits for the end of what somebody runs already. */
  watch(claim: Claim): Running
}

interface Offer {
  claim: Claim
  since: number
  free(): void
}

/** Hands claims over to whoever has a free slot, and learns from notices, or else from the database, what has ended. */
export function createOffers(options: OffersOptions, queue: WorkQueue): Offers {
  const { database, log } = options
  const open = new Map<string, Offer>()
  const finisher = createFinisher(options)
  const handBacks = new Set<Promise<void>>()
  let checking = false

  queue.hear('freed', ({ claims }) => {
    for (const claim of claims) end(claim)
  })

  function end(key: string): void {
    open.get(key)?.free()
    open.delete(key)
  }

  function watch(claim: Claim): Running {
    const { promise, resolve } = Promise.withResolvers<void>()
    open.set(keyOf(claim), { claim, since: performance.now(), free: resolve })
    return { freed: promise, ended: promise }
  }

  async function check(): Promise<void> {
    const oldest = performance.now() - (options.leaseSeconds * 1000) / 3
    const old = [...open.values()].filter(({ since }) => since < oldest).map(({ claim }) => claim)
    if (checking || old.length === 0) return
    checking = true
    try {
      const leased = await areLeased(database.system, old)
      for (const [index, claim] of old.entries()) if (!leased[index]) end(keyOf(claim))
    } catch (error) {
      log.warn({ err: error }, 'it is not known what of the work offered has ended')
    } finally {
      checking = false
    }
  }

  return {
    has: (claim) => open.has(keyOf(claim)),
    watch,
    start(onTick) {
      const timer = setInterval(
        () => {
          onTick()
          void check()
        },
        (options.leaseSeconds * 1000) / 6,
      )
      return () => clearInterval(timer)
    },
    run(claim) {
      const ageMs = performance.now() - claim.claimedAt
      const { item, token } = claim
      const claimedAt = new Date(options.now().getTime() - ageMs)
      queue.offer({ item, token, claimedAt, awaitsEnd: awaitsEnd(claim) }).catch((error: unknown) => {
        // It may be on its way: given back it could run twice, so its lease decides.
        log.debug({ err: error, work: item.id }, 'offer not taken; claimed again after its lease')
      })
      return watch(claim)
    },
    giveBack(claim) {
      const task = finisher.giveBack(claim, 'release').finally(() => handBacks.delete(task))
      handBacks.add(task)
    },
    isBehind: () => false,
    // What was offered goes on where it runs.
    async stop(graceMs) {
      await settleWithin(handBacks, graceMs)
      finisher.close()
    },
  }
}

/** The next of an order, or of a series of which only so many may run, depends on how this one ends. */
function awaitsEnd({ item, limits }: Claim): boolean {
  return item.ordered || typeof limits?.mostRunning === 'number'
}

export function keyOf({ item, token }: Pick<Claim, 'token'> & { item: { id: string } }): string {
  return `${item.id} ${token}`
}
