import { randomUUID } from 'node:crypto'
import { createGroup } from '#core/grouped.ts'
import type { OfferedWork, Taking, WorkQueue } from './queue.ts'
import type { Claim } from './work.ts'
import type { Capacity } from './work-loop.ts'
import { keyOf } from './work-offers.ts'
import { extendWork } from './work-queries.ts'
import { createRunner, type Runner, type RunnerOptions, type Running } from './work-runs.ts'

export interface Hand {
  start(): void
  stop(graceMs: number): Promise<void>
}

interface HandState {
  id: string
  options: Pick<RunnerOptions, 'now' | 'leaseSeconds'>
  queue: WorkQueue
  capacity: Capacity
  runner: Runner
  /** Whether a claim still holds its lease, which is prolonged. */
  confirm: (claim: Claim) => Promise<boolean>
  running: number
  /** Offers that were asked for and did not come yet. */
  asked: number
  freed: string[]
  leaving: AbortController
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
  const state: HandState = {
    id: randomUUID(),
    options,
    queue,
    capacity,
    runner: createRunner(options, 8 * capacity.slots),
    confirm: createGroup<Claim, boolean>({
      maxSize: mostConfirmed,
      flush: (claims) => extendWork(options.database.system, claims, options.leaseSeconds),
    }),
    running: 0,
    asked: 0,
    freed: [],
    leaving: new AbortController(),
  }
  let heartbeat: NodeJS.Timeout | undefined
  let endLeases: (() => void) | undefined
  return {
    start() {
      heartbeat ??= setInterval(() => announce(state), heartbeatMs)
      endLeases ??= state.runner.start(() => undefined)
      queue.onChange(() => announce(state))
      announce(state)
    },
    async stop(graceMs) {
      clearInterval(heartbeat)
      queue.tell('hands', { hand: state.id, slots: 0, laneCap: 0, running: 0 })
      state.leaving.abort()
      await state.runner.stop(graceMs)
      endLeases?.()
    },
  }
}

function announce(state: HandState): void {
  if (state.leaving.signal.aborted) return
  state.queue.tell('hands', { hand: state.id, ...state.capacity, running: state.running })
  ask(state)
}

function ask(state: HandState): void {
  const { queue, runner, capacity, leaving } = state
  if (leaving.signal.aborted || !queue.isReady() || runner.isBehind()) return
  const free = capacity.slots - state.running - state.asked
  // A few at a time, or one alone where nothing else is asked for.
  if (free < (state.asked > 0 ? Math.ceil(capacity.slots / 8) : 1)) return
  void takeOffers(state, free).then((isThere) => isThere && ask(state))
}

/** @returns whether the queue was there. */
async function takeOffers(state: HandState, most: number): Promise<boolean> {
  let missing = most
  state.asked += most
  const taking: Taking = {
    most,
    signal: state.leaving.signal,
    onOffer(offer) {
      missing -= 1
      state.asked -= 1
      void runOffer(state, offer)
    },
  }
  try {
    await state.queue.take(taking)
    return true
  } catch {
    return false
  } finally {
    state.asked -= missing
  }
}

async function runOffer(state: HandState, offer: OfferedWork): Promise<void> {
  state.running += 1
  const claim = await accept(state, offer).catch(() => undefined)
  const running = claim === undefined ? undefined : begin(state, claim)
  await running?.freed
  state.running -= 1
  ask(state)
  if (offer.awaitsEnd) await running?.ended
  tellFreed(state, keyOf(offer))
}

/** @returns undefined when it was given back. */
function begin({ leaving, runner }: HandState, claim: Claim): Running | undefined {
  if (!leaving.signal.aborted) return runner.run(claim)
  runner.giveBack(claim)
  return undefined
}

/** @returns undefined when the lease ended on the way. */
async function accept(
  { options, confirm }: HandState,
  { item, token, claimedAt }: OfferedWork,
): Promise<Claim | undefined> {
  const ageMs = options.now().getTime() - claimedAt.getTime()
  const claim = { item, token, limits: undefined, claimedAt: performance.now() }
  if (ageMs > -skewMs && ageMs < (options.leaseSeconds * 1000) / 2)
    return { ...claim, claimedAt: claim.claimedAt - Math.max(0, ageMs) }
  return (await confirm(claim)) ? claim : undefined
}

/** Those of one turn of the event loop are told together. */
function tellFreed({ queue, freed }: HandState, key: string): void {
  if (freed.push(key) > 1) return
  setImmediate(() => queue.tell('freed', { claims: freed.splice(0) }))
}
