import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from '#core/module.ts'
import { type ClaimFloors, createClaimFloors } from './claim-floors.ts'
import { createNudge, type Nudge } from './nudge.ts'
import { onWake } from './wake.ts'
import { createWakePatience, type WakePatience } from './wake-patience.ts'
import { ownedSeries } from './series-limits.ts'
import type { Claim, WorkKind } from './work.ts'
import { mayOutlastLeases, settleMs } from './work-outage.ts'
import { claimWork, disownSeries, ownSeries, probe } from './work-queries.ts'
import { createRunner, type Runner, type RunnerOptions, type Running, settleWithin } from './work-runs.ts'
import { addClaims, type Demand, dropStuck, findDemand, hasRoom } from './work-demand.ts'
import {
  addRunning,
  createSlots,
  dropWaiting,
  freeSlot,
  isBusy,
  isRunningDry,
  nextTurnInMs,
  resizeSlots,
  type Slots,
  takeSlot,
} from './work-slots.ts'

export interface WorkLoopOptions<Detail = unknown> extends RunnerOptions<Detail> {
  kind: WorkKind
  /** Runs at the same time. Default 64. */
  slots?: number
  /** Most runs of one lane at the same time; lanes also never get more than the slots left free. Default half. */
  laneCap?: number
  /** Claims begin at least so far apart: what comes meanwhile is claimed together. Default: none. */
  gatherMs?: number
}

export interface Capacity {
  slots: number
  laneCap: number
}

/** What a loop claims for. */
export interface Claiming {
  runner: Runner
  /** How much may run at once; undefined while nothing may be claimed. */
  capacity(): Capacity | undefined
}

export interface WorkLoop extends Worker {
  wake(): void
}

export interface ClaimLoop extends WorkLoop {
  /** Since when all claims failed, in milliseconds of the monotonic clock; undefined where the last one did not. */
  failingSince(): number | undefined
  /** Counts what runs already as its own. */
  adopt(claim: Claim, running: Running): void
}

interface LoopState {
  options: Pick<WorkLoopOptions, 'database' | 'kind' | 'leaseSeconds' | 'log' | 'now' | 'expect' | 'gatherMs'>
  claiming: Claiming
  slots: Slots
  nudge: Nudge
  /** Nudged when little waits of what the table may hold more of. */
  refill: Nudge
  /** Names this loop as the one that works on a series with limits. */
  worker: string
  /** Calls when a rate lets the next run start; `at` is of the monotonic clock. */
  turn: { at: number; timer: NodeJS.Timeout } | undefined
  /** The loop had room for nothing when it looked. */
  full: boolean
  /** Where the next claim starts. */
  from: string
  floors: ClaimFloors
  patience: WakePatience
  /** What the claims of this round over the lanes have found so far. */
  found: number
  /** It may be named as the one that works on some series. */
  owns: boolean
  failingSince: number | undefined
  /** Since the last failure results had the time to be stored. */
  settled: boolean
  stopping: boolean
}

const shortestPollMs = 20
/** Between claims while enough runs: what comes meanwhile is claimed at once. */
const busyPauseMs = 12
const longestPollMs = 250
const longestOutagePollMs = 5_000
const disownMs = 1_000

export function capacityOf({ slots = 64, laneCap = Math.ceil(slots / 2) }: Partial<Capacity>): Capacity {
  return { slots, laneCap }
}

/**
 * Claims work of one kind in fair turns over its lanes, runs it, and ends each claim once. Several loops may work
 * on the same database: no row runs twice unless its process died or lost the lease.
 */
export function createWorkLoop<Detail = unknown>(
  options: WorkLoopOptions<Detail>,
  mayClaim = () => true,
): WorkLoop {
  const capacity = capacityOf(options)
  const runner = createRunner(options, 8 * capacity.slots)
  return createClaimLoop(options, { runner, capacity: () => (mayClaim() ? capacity : undefined) })
}

/** The claiming half of a work loop. */
export function createClaimLoop(options: LoopState['options'], claiming: Claiming): ClaimLoop {
  const { slots, laneCap } = capacityOf(claiming.capacity() ?? {})
  const state: LoopState = {
    options,
    claiming,
    slots: createSlots(slots, laneCap),
    nudge: createNudge(),
    refill: createNudge(),
    worker: randomUUID(),
    turn: undefined,
    full: false,
    from: '',
    floors: createClaimFloors(),
    patience: createWakePatience(),
    found: 0,
    owns: false,
    failingSince: undefined,
    settled: false,
    stopping: false,
  }
  let loop: Promise<void> | undefined
  let stopped: Promise<void> | undefined
  let endings: (() => void)[] = []
  async function stopLoop(graceMs: number): Promise<void> {
    state.stopping = true
    state.nudge.nudge()
    clearTimeout(state.turn?.timer)
    const deadline = performance.now() + graceMs
    await settleWithin([loop ?? Promise.resolve()], graceMs)
    await claiming.runner.stop(deadline - performance.now())
    const disowned = disownSeries(options.database.system, state.worker).catch(() => undefined)
    await settleWithin([disowned], disownMs)
    for (const end of endings) end()
  }
  return {
    name: `${options.kind} work`,
    wake: () => state.nudge.nudge(),
    failingSince: () => state.failingSince,
    adopt(claim, running) {
      addRunning(state.slots, claim)
      void awaitEnd(state, claim, running)
    },
    start() {
      if (loop !== undefined || state.stopping) return
      endings = [
        onWake(options.kind, (origin) => {
          if (origin === 'here' || state.patience.hear()) state.nudge.nudge()
        }),
        claiming.runner.start(() => {
          giveBackWaiting(state, (waiting) => isStale(state, waiting))
          keepOwned(state)
        }),
      ]
      loop = claimUntilStopped(state)
    },
    stop(graceMs) {
      stopped ??= stopLoop(graceMs)
      return stopped
    },
  }
}

async function claimUntilStopped(state: LoopState): Promise<void> {
  const { log, kind } = state.options
  let pollMs = shortestPollMs
  while (!state.stopping) {
    const demand = demandOf(state)
    state.full = demand === undefined
    if (demand === undefined) {
      await disownAtRest(state)
      await state.nudge.wait(longestPollMs)
      continue
    }
    const begunAt = performance.now()
    try {
      if (await letResultsSettle(state)) continue
      const { found, more } = await claim(state, demand)
      const hadFailed = state.failingSince !== undefined
      if (hadFailed) log.info({ kind }, 'work can be claimed again')
      if (hadFailed || found > 0) pollMs = shortestPollMs
      state.failingSince = undefined
      if (more) continue
      if (isBusy(state.slots)) await state.refill.wait(busyPauseMs)
      const nudged = await state.nudge.wait(pollMs)
      if (nudged) await gather(state, begunAt)
      // That others tell of work promises none: only what is found makes this loop look more often.
      const isPromised = nudged && !state.patience.isTold()
      pollMs = isPromised ? shortestPollMs : Math.min(pollMs * 1.5, longestPollMs)
    } catch (error) {
      if (state.failingSince === undefined)
        log.error({ err: error, kind }, 'work can not be claimed; trying on')
      state.failingSince ??= begunAt
      state.settled = false
      await pause(state, pollMs)
      pollMs = Math.min(pollMs * 2, longestOutagePollMs)
    }
  }
  giveBackWaiting(state, () => true)
}

async function gather({ options: { gatherMs = 0 } }: LoopState, begunAt: number): Promise<void> {
  const restMs = begunAt + gatherMs - performance.now()
  if (restMs > 0) await sleep(restMs)
}

/** Before the first claim after a long outage. @returns whether it took time. */
async function letResultsSettle(state: LoopState): Promise<boolean> {
  const { failingSince, settled, options } = state
  if (failingSince === undefined || settled || !mayOutlastLeases(failingSince, options.leaseSeconds))
    return false
  await probe(options.database.system)
  state.settled = true
  await pause(state, settleMs)
  return true
}

/** Unlike a wait for work this is not cut short by new work: the database is away. */
async function pause(state: LoopState, durationMs: number): Promise<void> {
  const end = performance.now() + durationMs
  for (let rest = durationMs; rest > 0 && !state.stopping; rest = end - performance.now()) {
    await state.nudge.wait(rest)
  }
}

function demandOf(state: LoopState): Demand | undefined {
  const { claiming } = state
  const now = claiming.capacity()
  if (now === undefined) {
    giveBackWaiting(state, () => true)
    state.failingSince = undefined
  }
  if (now === undefined || claiming.runner.isBehind()) return undefined
  resizeSlots(state.slots, now)
  for (const stuck of dropStuck(state.slots)) giveBack(state, stuck)
  return findDemand(state.slots)
}

/** Who claims nothing leaves series with limits to others, once nothing of them runs. */
async function disownAtRest(state: LoopState): Promise<void> {
  if (!state.owns || state.claiming.capacity() !== undefined || state.slots.running > 0) return
  state.owns = false
  state.slots.series.clear()
  await disownSeries(state.options.database.system, state.worker).catch(() => (state.owns = true))
}

async function claim(state: LoopState, demand: Demand): Promise<{ found: number; more: boolean }> {
  const { options } = state
  state.owns = true
  const beganAt = performance.now()
  const answer = await claimWork(options.database.system, {
    ...demand,
    kind: options.kind,
    from: state.from,
    token: randomUUID(),
    leaseSeconds: options.leaseSeconds,
    now: options.now(),
    worker: state.worker,
    floors: state.floors.forClaim(state.from),
  })
  state.from = answer.from
  state.floors.noteClaim(answer.claims, performance.now() - beganAt, answer.from)
  state.patience.noteClaim(answer.claims.length)
  options.expect?.(answer.claims.map(({ item }) => item))
  const again = addClaims(state.slots, demand, answer.claims)
  startWaiting(state)
  const found = state.found + answer.claims.length
  const isRoundOver = answer.from === ''
  state.found = isRoundOver ? 0 : found
  const owned = await own(state, answer.ownable)
  // A round over many lanes that found nothing is not followed by the next one at once.
  const more = owned > 0 || answer.stirred || again || (!answer.complete && (!isRoundOver || found > 0))
  return { found: answer.claims.length, more }
}

/** In a statement of its own, which waits for nobody and for which nobody waits. */
async function own({ options, worker }: LoopState, series: string[]): Promise<number> {
  if (series.length === 0) return 0
  return (await ownSeries(options.database.system, worker, series, options.leaseSeconds)).length
}

/** While something of a series runs nobody else may start more of it: claims alone would not prolong that when all slots are taken. */
function keepOwned(state: LoopState): void {
  const { log } = state.options
  own(state, ownedSeries(state.slots.series, performance.now())).catch((error: unknown) =>
    log.warn({ err: error }, 'series can not be kept'),
  )
}

function startWaiting(state: LoopState): void {
  if (state.stopping) return
  for (let next = takeSlot(state.slots); next !== undefined; next = takeSlot(state.slots)) {
    if (isStale(state, next)) {
      freeSlot(state.slots, next, false)
      giveBack(state, next)
    } else void awaitEnd(state, next, state.claiming.runner.run(next))
  }
  awaitTurn(state)
}

function awaitTurn(state: LoopState): void {
  const waitMs = nextTurnInMs(state.slots)
  if (waitMs === undefined) return
  const at = performance.now() + waitMs
  if (state.turn !== undefined && state.turn.at <= at) return
  clearTimeout(state.turn?.timer)
  const timer = setTimeout(() => {
    state.turn = undefined
    startWaiting(state)
  }, waitMs)
  state.turn = { at, timer }
}

/** Too little of the lease is left to start with. */
function isStale(state: LoopState, waiting: Claim): boolean {
  return performance.now() - waiting.claimedAt > (state.options.leaseSeconds * 1000) / 2
}

function giveBackWaiting(state: LoopState, isDropped: (waiting: Claim) => boolean): void {
  for (const waiting of dropWaiting(state.slots, isDropped)) {
    giveBack(state, waiting)
  }
}

function giveBack({ claiming, floors }: LoopState, waiting: Claim): void {
  floors.forget(waiting.item.lane)
  claiming.runner.giveBack(waiting)
}

async function awaitEnd(state: LoopState, claim: Claim, { freed, ended }: Running): Promise<void> {
  // What ends in a series with a limit may change whether more of it may run.
  await (typeof claim.limits?.mostRunning === 'number' ? ended : freed)
  const worthClaim = freeSlot(state.slots, claim)
  startWaiting(state)
  if (worthClaim && isRunningDry(state.slots, claim)) state.refill.nudge()
  if (worthClaim || (state.full && hasRoom(state.slots))) state.nudge.nudge()
  await ended
  if (claim.item.ordered || (state.full && !state.claiming.runner.isBehind())) state.nudge.nudge()
}
