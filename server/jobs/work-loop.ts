import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Logger } from 'pino'
import type { Database, Tables } from '#core/database.ts'
import type { Worker } from '#core/module.ts'
import { createNudge, type Nudge } from './nudge.ts'
import { onWake } from './wake.ts'
import type { Claim, FinishedWork, WorkItem, WorkKind, WorkResult } from './work.ts'
import { createFinisher, type Finisher } from './work-finish.ts'
import { keepLeases, type Run } from './work-leases.ts'
import { ownedSeries } from './series-limits.ts'
import { claimWork, disownSeries, ownSeries } from './work-queries.ts'
import {
  addClaims,
  createSlots,
  type Demand,
  dropWaiting,
  findDemand,
  freeSlot,
  nextTurnInMs,
  type Slots,
  takeSlot,
} from './work-slots.ts'

export interface WorkLoopOptions<Detail = unknown> {
  database: Database
  kind: WorkKind
  /** Runs at the same time. Default 64. */
  slots?: number
  /** Most runs of one lane at the same time; lanes also never get more than the slots left free. Default half. */
  laneCap?: number
  /** After this a killed process's work is taken over. Long runs are prolonged while the process lives. */
  leaseSeconds: number
  log: Logger
  now(): Date
  /**
   * The signal aborts when the lease was lost or the worker stops; a run that goes on regardless keeps its slot.
   * Throwing means: again in a minute.
   */
  run(item: WorkItem, signal: AbortSignal): Promise<WorkResult<Detail>>
  /** Runs in the transaction that ends the work, only for results that were not refused by the fence. */
  record?(db: Kysely<Tables>, finished: readonly FinishedWork<Detail>[]): Promise<void>
}

/** Why a run was aborted while its lease still holds: the result is still taken. */
export class WorkerStopped extends Error {
  constructor() {
    super('The worker was stopped before the work ended.')
    this.name = 'WorkerStopped'
  }
}

interface LoopState<Detail> {
  options: WorkLoopOptions<Detail>
  slots: Slots
  runs: Set<Run>
  finisher: Finisher<Detail>
  nudge: Nudge
  /** Names this loop as the one that works on a series with limits. */
  worker: string
  /** Calls when a rate lets the next run start. */
  turn: NodeJS.Timeout | undefined
  /** Runs, finishes and hand-backs under way. */
  active: Set<Promise<void>>
  /** The loop had room for nothing when it looked. */
  full: boolean
  /** Lane behind which the next claim starts. */
  after: string
  /** What the claims of this round over the lanes have found so far. */
  found: number
  stopping: boolean
}

const shortestPollMs = 20
const longestPollMs = 250
const longestOutagePollMs = 5_000
const retryAfterThrowMs = 60_000
/** For what was aborted to settle and for the database to hear of it. */
const handBackMs = 1_000

/**
 * Claims work of one kind in fair turns over its lanes, runs it, and ends each claim once. Several loops may work
 * on the same database: no row runs twice unless its process died or lost the lease.
 */
export function createWorkLoop<Detail = unknown>(
  options: WorkLoopOptions<Detail>,
): Worker & { wake(): void } {
  const count = options.slots ?? 64
  const state: LoopState<Detail> = {
    options,
    slots: createSlots(count, options.laneCap ?? Math.ceil(count / 2)),
    runs: new Set(),
    finisher: createFinisher(options),
    nudge: createNudge(),
    worker: randomUUID(),
    turn: undefined,
    active: new Set(),
    full: false,
    after: '',
    found: 0,
    stopping: false,
  }
  let claiming: Promise<void> | undefined
  let stopped: Promise<void> | undefined
  let endings: (() => void)[] = []
  async function stopLoop(graceMs: number): Promise<void> {
    state.stopping = true
    state.nudge.nudge()
    await endRuns(state, claiming ?? Promise.resolve(), graceMs)
    for (const end of endings) end()
  }
  return {
    name: `${options.kind} work`,
    wake: () => state.nudge.nudge(),
    start() {
      if (claiming !== undefined || state.stopping) return
      endings = [
        onWake(options.kind, () => state.nudge.nudge()),
        keepLeases(options, state.runs, () => {
          giveBackWaiting(state, (waiting) => isStale(state, waiting))
          keepOwned(state)
        }),
      ]
      claiming = claimUntilStopped(state)
    },
    stop(graceMs) {
      stopped ??= stopLoop(graceMs)
      return stopped
    },
  }
}

async function claimUntilStopped<Detail>(state: LoopState<Detail>): Promise<void> {
  const { log, kind } = state.options
  let pollMs = shortestPollMs
  let outage = false
  while (!state.stopping) {
    const demand = hasBacklog(state) ? undefined : findDemand(state.slots)
    state.full = demand === undefined
    if (demand === undefined) {
      await state.nudge.wait(longestPollMs)
      continue
    }
    try {
      const { found, more } = await claim(state, demand)
      if (outage) log.info({ kind }, 'database answers again')
      if (outage || found > 0) pollMs = shortestPollMs
      outage = false
      if (more) continue
      const nudged = await state.nudge.wait(pollMs)
      pollMs = nudged ? shortestPollMs : Math.min(pollMs * 1.5, longestPollMs)
    } catch (error) {
      if (!outage) log.error({ err: error, kind }, 'work can not be claimed; trying on')
      outage = true
      await pause(state, pollMs)
      pollMs = Math.min(pollMs * 2, longestOutagePollMs)
    }
  }
  giveBackWaiting(state, () => true)
}

/** Unlike a wait for work this is not cut short by new work: the database is away. */
async function pause<Detail>(state: LoopState<Detail>, durationMs: number): Promise<void> {
  const end = performance.now() + durationMs
  for (let rest = durationMs; rest > 0 && !state.stopping; rest = end - performance.now()) {
    await state.nudge.wait(rest)
  }
}

/** Finishes that pile up mean a database in trouble: claiming on would only fill the memory. */
function hasBacklog<Detail>(state: LoopState<Detail>): boolean {
  return state.finisher.pending() > 4 * state.slots.count
}

async function claim<Detail>(
  state: LoopState<Detail>,
  demand: Demand,
): Promise<{ found: number; more: boolean }> {
  const { options } = state
  const answer = await claimWork(options.database.system, {
    ...demand,
    kind: options.kind,
    after: state.after,
    token: randomUUID(),
    leaseSeconds: options.leaseSeconds,
    now: options.now(),
    worker: state.worker,
  })
  state.after = answer.after
  addClaims(state.slots, demand, answer.claims)
  startWaiting(state)
  const found = state.found + answer.claims.length
  const isRoundOver = answer.after === ''
  state.found = isRoundOver ? 0 : found
  const owned = await own(state, answer.ownable)
  // A round over many lanes that found nothing is not followed by the next one at once.
  const more = owned > 0 || (!answer.complete && (!isRoundOver || found > 0))
  return { found: answer.claims.length, more }
}

/** In a statement of its own, which waits for nobody and for which nobody waits. */
async function own<Detail>({ options, worker }: LoopState<Detail>, series: string[]): Promise<number> {
  if (series.length === 0) return 0
  return (await ownSeries(options.database.system, worker, series, options.leaseSeconds)).length
}

/** While something of a series runs nobody else may start more of it: claims alone would not prolong that when all slots are taken. */
function keepOwned<Detail>(state: LoopState<Detail>): void {
  const { log } = state.options
  own(state, ownedSeries(state.slots.series)).catch((error: unknown) =>
    log.warn({ err: error }, 'series can not be kept'),
  )
}

function startWaiting<Detail>(state: LoopState<Detail>): void {
  if (state.stopping) return
  for (let next = takeSlot(state.slots); next !== undefined; next = takeSlot(state.slots)) {
    if (isStale(state, next)) {
      freeSlot(state.slots, next)
      track(state, state.finisher.giveBack(next, 'release'))
    } else track(state, runClaim(state, next))
  }
  const waitMs = nextTurnInMs(state.slots)
  if (waitMs === undefined || state.turn !== undefined) return
  state.turn = setTimeout(() => {
    state.turn = undefined
    startWaiting(state)
  }, waitMs)
}

/** Too little of the lease is left to start with. */
function isStale<Detail>(state: LoopState<Detail>, waiting: Claim): boolean {
  return performance.now() - waiting.claimedAt > (state.options.leaseSeconds * 1000) / 2
}

function giveBackWaiting<Detail>(state: LoopState<Detail>, isDropped: (waiting: Claim) => boolean): void {
  for (const waiting of dropWaiting(state.slots, isDropped)) {
    track(state, state.finisher.giveBack(waiting, 'release'))
  }
}

async function runClaim<Detail>(state: LoopState<Detail>, claimed: Claim): Promise<void> {
  const run: Run = { claim: claimed, controller: new AbortController(), leasedAt: claimed.claimedAt }
  state.runs.add(run)
  const startedAt = state.options.now()
  const began = performance.now()
  const result = await resultOf(state.options, run)
  if (!state.runs.delete(run)) return
  const durationMs = Math.round(performance.now() - began)
  const finishing = state.finisher.finish(claimed, { item: claimed.item, result, startedAt, durationMs })
  const worthClaim = freeSlot(state.slots, claimed)
  startWaiting(state)
  if (worthClaim || (state.full && state.slots.running < state.slots.count)) state.nudge.nudge()
  await finishing
  if (claimed.item.ordered || (state.full && !hasBacklog(state))) state.nudge.nudge()
}

async function resultOf<Detail>(options: WorkLoopOptions<Detail>, run: Run): Promise<WorkResult<Detail>> {
  try {
    return await options.run(run.claim.item, run.controller.signal)
  } catch (error) {
    options.log.error({ err: error, work: run.claim.item.id }, 'work threw')
    return { kind: 'retry', runAt: new Date(options.now().getTime() + retryAfterThrowMs), counts: true }
  }
}

async function endRuns<Detail>(
  state: LoopState<Detail>,
  claiming: Promise<void>,
  graceMs: number,
): Promise<void> {
  const { runs, finisher } = state
  clearTimeout(state.turn)
  const deadline = performance.now() + graceMs
  await settleWithin([claiming], graceMs)
  await settleWithin(state.active, deadline - performance.now())
  for (const run of runs) run.controller.abort(new WorkerStopped())
  await settleWithin(state.active, handBackMs)
  const handBacks = [...runs].map((run) => finisher.giveBack(run.claim, 'abandon'))
  runs.clear()
  await settleWithin(handBacks, handBackMs)
  const disowned = disownSeries(state.options.database.system, state.worker).catch(() => undefined)
  await settleWithin([disowned], handBackMs)
  finisher.close()
}

function track<Detail>(state: LoopState<Detail>, task: Promise<void>): void {
  state.active.add(task)
  void task.finally(() => state.active.delete(task))
}

async function settleWithin(tasks: Iterable<Promise<void>>, timeoutMs: number): Promise<void> {
  const timer = new AbortController()
  const late = delay(Math.max(0, timeoutMs), undefined, { signal: timer.signal }).catch(() => {})
  await Promise.race([Promise.all(tasks), late])
  timer.abort()
}
