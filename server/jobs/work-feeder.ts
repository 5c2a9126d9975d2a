import { randomUUID } from 'node:crypto'
import { endFeeding, findLeased, takeFeeding } from './queue-queries.ts'
import type { WorkQueue } from './queue.ts'
import type { WorkKind } from './work.ts'
import { type Capacity, type ClaimLoop, createClaimLoop, type WorkLoop } from './work-loop.ts'
import { mayOutlastLeases, settleMs } from './work-outage.ts'
import { createOffers, type Offers, type OffersOptions } from './work-offers.ts'
import { probe } from './work-queries.ts'

export interface FeederOptions extends OffersOptions {
  kind: WorkKind
}

interface FeederState {
  id: string
  options: FeederOptions
  queue: WorkQueue
  offers: Offers
  /** This and the others in milliseconds of the monotonic clock. */
  feedingSince: number
  feedingUntil: number
  /** Until then it takes no turn. */
  restingUntil: number
  /** Since when the database did not answer. */
  awaySince: number | undefined
  stopping: boolean
}

const feedingSeconds = 5
const renewMs = 1_000
/** Every other process asks for the turn within it. */
const restMs = 3 * renewMs
/** A process that was not heard of for so long has no slots. */
const handGoneMs = 3_500

/** Claims for all processes while it is this one's turn, and hands out what it claimed. */
export function createFeeder(options: FeederOptions, queue: WorkQueue): WorkLoop {
  const offers = createOffers(options, queue)
  const state: FeederState = {
    id: randomUUID(),
    options,
    queue,
    offers,
    feedingSince: 0,
    feedingUntil: 0,
    restingUntil: 0,
    awaySince: undefined,
    stopping: false,
  }
  const hands = countHands(queue, options.leaseSeconds * 1000)
  const loop = createClaimLoop(options, {
    runner: offers,
    capacity: () => (isFeeding(state) ? hands() : undefined),
  })
  let turn: Promise<void> | undefined
  const takeTurn = () => {
    turn ??= renew(state, loop)
      .catch((error: unknown) => {
        state.awaySince ??= performance.now()
        options.log.warn({ err: error }, 'whose turn it is to claim is not known')
      })
      .finally(() => (turn = undefined))
  }
  let timer: NodeJS.Timeout | undefined
  return {
    name: `${options.kind} feeder`,
    wake: () => loop.wake(),
    start() {
      timer ??= setInterval(takeTurn, renewMs)
      queue.onChange(takeTurn)
      queue.hear('wake', () => loop.wake())
      loop.start()
      takeTurn()
    },
    async stop(graceMs) {
      state.stopping = true
      clearInterval(timer)
      await turn
      await loop.stop(graceMs)
      await endFeeding(options.database.system, state.id).catch(() => undefined)
    },
  }
}

function isFeeding({ queue, feedingUntil, stopping }: FeederState): boolean {
  return !stopping && queue.isReady() && performance.now() < feedingUntil
}

/** For longer than a lease, of this turn: the database may know functions that this release does not, or lack some. */
function failsForLong({ feedingSince, options }: FeederState, loop: ClaimLoop): boolean {
  const since = loop.failingSince()
  if (since === undefined) return false
  return performance.now() - Math.max(since, feedingSince) > options.leaseSeconds * 1000
}

async function renew(state: FeederState, loop: ClaimLoop): Promise<void> {
  const { id, options, queue, offers } = state
  const { system } = options.database
  const wasFeeding = isFeeding(state)
  if (wasFeeding && failsForLong(state, loop)) {
    options.log.warn({ kind: options.kind }, 'claims fail: another process may claim for all')
    state.restingUntil = performance.now() + restMs
    return leaveTurn(state)
  }
  if (!queue.isReady() && state.feedingUntil !== 0) return leaveTurn(state)
  // The end of an outage is seen without the queue, too: later it would be taken for one that lasted until then.
  if ((await isResting(state)) || !queue.isReady()) return
  const askedAt = performance.now()
  if (!(await takeFeeding(system, options.kind, id, feedingSeconds))) return
  // Limits hold over the change: what others run counts from the beginning.
  const leased = wasFeeding ? [] : await findLeased(system, options.kind)
  for (const claim of leased) if (!offers.has(claim)) loop.adopt(claim, offers.watch(claim))
  state.feedingUntil = askedAt + feedingSeconds * 1000 - renewMs
  if (wasFeeding) return
  state.feedingSince = askedAt
  options.log.info({ kind: options.kind }, 'this process claims for all')
  loop.wake()
}

/** After a failure, and after a long outage. */
async function isResting(state: FeederState): Promise<boolean> {
  const { awaySince, options } = state
  if (awaySince !== undefined) {
    await probe(options.database.system)
    state.awaySince = undefined
    if (mayOutlastLeases(awaySince, options.leaseSeconds)) state.restingUntil = performance.now() + settleMs
  }
  return performance.now() < state.restingUntil
}

function leaveTurn(state: FeederState): Promise<void> {
  state.feedingUntil = 0
  return endFeeding(state.options.database.system, state.id)
}

/** @returns what all processes together have room for; undefined when there are none. */
function countHands(queue: WorkQueue, leaseMs: number): () => Capacity | undefined {
  const hands = new Map<string, Capacity & { running: number; seenAt: number }>()
  queue.hear('hands', ({ hand, slots, laneCap, running }) => {
    if (slots === 0) hands.delete(hand)
    else hands.set(hand, { slots, laneCap, running, seenAt: performance.now() })
  })
  return () => {
    const now = performance.now()
    for (const [hand, { seenAt }] of hands) if (seenAt < now - 2 * leaseMs) hands.delete(hand)
    const isGone = ({ seenAt }: { seenAt: number }) => seenAt < now - handGoneMs
    if ([...hands.values()].every(isGone)) return undefined
    // What a hand ran that is gone counts as running until its leases end.
    const all = [...hands.values()].map((one) => (isGone(one) ? { slots: one.running, laneCap: 0 } : one))
    return {
      slots: all.reduce((sum, { slots }) => sum + slots, 0),
      laneCap: all.reduce((sum, { laneCap }) => sum + laneCap, 0),
    }
  }
}
