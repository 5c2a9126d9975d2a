import { randomUUID } from 'node:crypto'
import { createGroup } from '#core/grouped.ts'
import type { OfferedWork, Taking, WorkQueue } from './queue.ts'
import type { Claim } from './work.ts'
import type { Capacity } from './work-loop.ts'
import { keyOf } from './work-offers.ts'
import { extendWork } from './work-queries.ts'
import { createRunner, type RunnerOptions } from './work-runs.ts'

export interface Hand {
  start(): void
  stop(graceMs: number): Promise<void>
}

interface HandState<Detail> {
  options: RunnerOptions<Detail>
  queue: WorkQueue
  capacity: Capacity
  running: number
  /** Offers that were asked for and did not come yet. */
  asked: number
  freed: string[]
  stopping: boolean
}

const heartbeatMs = 1_000
const mostConfirmed = 200
/** How far the clocks of two machines may be apart before each offer is confirmed by the database. */
const skewMs = 1_000

/** Runs what others claimed, as much at once as it has slots. */
export function createHand<Detail>(
  options: RunnerOptions<Detail>,
  queue: WorkQueue,
  capacity: Capacity,
): Hand {
  const id = randomUUID()
  const state: HandState<Detail> = {
    options,
    queue,
    capacity,
    running: 0,
    asked: 0,
    freed: [],
    stopping: false,
  }
  const runner = createRunner(options, 4 * capacity.slots)
  const confirm = createGroup<Claim, boolean>({
    maxSize: mostConfirmed,
    flush: (claims) => extendWork(options.database.system, claims, options.leaseSeconds),
  })
  const endings: (() => void)[] = []
  const leaving = new AbortController()

  function ask(): void {
    if (state.stopping || !queue.isReady() || runner.isBehind()) return
    const { slots } = capacity
    const free = slots - state.running - state.asked
    // A few at a time, or one alone where nothing else would ask.
    if (free < (state.asked > 0 ? Math.ceil(slots / 8) : 1)) return
    void takeOffers(state, {
      most: free,
      signal: leaving.signal,
      onOffer: (offer) => void begin(offer),
    }).then((isThere) => isThere && ask())
  }

  async function begin(offer: OfferedWork): Promise<void> {
    state.running += 1
    const claim = await accept(offer).catch(() => undefined)
    if (claim !== undefined && state.stopping) runner.giveBack(claim)
    else if (claim !== undefined) await runner.run(claim).freed
    state.running -= 1
    tellFreed(state, keyOf(offer))
    ask()
  }

  /** @returns undefined when the lease may have ended on the way. */
  async function accept({ item, token, claimedAt }: OfferedWork): Promise<Claim | undefined> {
    const ageMs = options.now().getTime() - claimedAt.getTime()
    const claim = { item, token, limits: undefined, claimedAt: performance.now() }
    if (ageMs > -skewMs && ageMs < (options.leaseSeconds * 1000) / 2)
      return { ...claim, claimedAt: claim.claimedAt - Math.max(0, ageMs) }
    return (await confirm(claim)) ? claim : undefined
  }

  const announce = () => {
    queue.tell('hands', { hand: id, ...capacity })
    ask()
  }
  return {
    start() {
      const heartbeat = setInterval(announce, heartbeatMs)
      queue.onChange(announce)
      endings.push(
        () => clearInterval(heartbeat),
        runner.start(() => undefined),
      )
    },
    async stop(graceMs) {
      state.stopping = true
      queue.tell('hands', { hand: id, slots: 0, laneCap: 0 })
      leaving.abort()
      await runner.stop(graceMs)
      for (const end of endings) end()
    },
  }
}

/** @returns whether the queue was there. */
async function takeOffers<Detail>(
  state: HandState<Detail>,
  { most, signal, onOffer }: Taking,
): Promise<boolean> {
  let missing = most
  state.asked += most
  const onTaken = (offer: OfferedWork) => {
    missing -= 1
    state.asked -= 1
    onOffer(offer)
  }
  try {
    await state.queue.take({ most, signal, onOffer: onTaken })
    return true
  } catch {
    return false
  } finally {
    state.asked -= missing
  }
}

/** Those of one turn of the event loop are told together. */
function tellFreed<Detail>({ queue, freed }: HandState<Detail>, key: string): void {
  if (freed.push(key) > 1) return
  setImmediate(() => queue.tell('freed', { claims: freed.splice(0) }))
}
