import { setTimeout as delay } from 'node:timers/promises'
import { type Bag, createBag } from '#core/bag.ts'
import type { Claim, WorkItem, WorkResult } from './work.ts'
import { createFinisher, type Finisher, type FinisherOptions } from './work-finish.ts'
import { keepLeases, type Run } from './work-leases.ts'

export interface RunnerOptions<Detail = unknown> extends FinisherOptions<Detail> {
  leaseSeconds: number
  /** Told of what runs soon, so that what it needs can be read at once. */
  expect?: (items: readonly WorkItem[]) => void
  /**
   * The signal aborts when the lease was lost or the worker stops; a run that goes on regardless keeps its slot.
   * Throwing means: again in a minute.
   */
  run(item: WorkItem, stop: Stop): Promise<WorkResult<Detail>>
}

/** Its signal is made when it is asked for: most work does not. */
export type Stop = Pick<AbortController, 'signal'>

/** Why a run was aborted while its lease still holds: the result is still taken. */
export class WorkerStopped extends Error {
  constructor() {
    super('The worker was stopped before the work ended.')
    this.name = 'WorkerStopped'
  }
}

export interface Running {
  /** Its slot may be taken by another. */
  freed: Promise<void>
  /** The database knows the end of it. */
  ended: Promise<void>
}

/** Brings claims to their end, here or in another process. */
export interface Runner {
  /** `onTick` is called a few times while a lease lasts. @returns how to stop that. */
  start(onTick: () => void): () => void
  run(claim: Claim): Running
  /** As if it had never been claimed. */
  giveBack(claim: Claim): void
  /** So much waits for the database that claiming on would only fill the memory. */
  isBehind(): boolean
  /** Lets what runs end within the grace and hands the rest back. */
  stop(graceMs: number): Promise<void>
}

interface RunnerState<Detail> {
  options: RunnerOptions<Detail>
  finisher: Finisher<Detail>
  /** Runs, and results that are not stored yet: without their leases they would run again. */
  leased: Bag<Run>
  /** Runs, finishes and hand-backs under way. */
  active: Bag<Promise<void>>
}

const retryAfterThrowMs = 60_000
/** For what was aborted to settle and for the database to hear of it. */
const handBackMs = 1_000

/** Runs claims in this process. `most`: how many results may wait for the database. */
export function createRunner<Detail>(options: RunnerOptions<Detail>, most: number): Runner {
  const state: RunnerState<Detail> = {
    options,
    finisher: createFinisher(options),
    leased: createBag(),
    active: createBag(),
  }
  return {
    start: (onTick) => keepLeases(options, state.leased, onTick),
    run: (claim) => runClaim(state, claim),
    giveBack: (claim) => track(state, state.finisher.giveBack(claim, 'release')),
    isBehind: () => state.finisher.pending() > most,
    stop: (graceMs) => endRuns(state, graceMs),
  }
}

function runClaim<Detail>(state: RunnerState<Detail>, claim: Claim): Running {
  const run: Run = {
    claim,
    phase: 'runs',
    controller: new AbortController(),
    leasedAt: claim.claimedAt,
  }
  const freed = Promise.withResolvers<void>()
  const ended = runToEnd(state, run, freed.resolve)
  track(state, ended)
  return { freed: freed.promise, ended }
}

async function runToEnd<Detail>(state: RunnerState<Detail>, run: Run, free: () => void): Promise<void> {
  const { claim } = run
  const release = state.leased.add(run)
  const startedAt = state.options.now()
  const began = performance.now()
  const result = await resultOf(state.options, run)
  // It was handed back meanwhile.
  if (run.phase === 'over') return
  run.phase = 'ends'
  const durationMs = Math.round(performance.now() - began)
  const finishing = state.finisher.finish(claim, { item: claim.item, result, startedAt, durationMs })
  free()
  await finishing
  run.phase = 'over'
  release()
}

async function resultOf<Detail>(options: RunnerOptions<Detail>, run: Run): Promise<WorkResult<Detail>> {
  try {
    return await options.run(run.claim.item, run.controller)
  } catch (error) {
    options.log.error({ err: error, work: run.claim.item.id }, 'work threw')
    return { kind: 'retry', runAt: new Date(options.now().getTime() + retryAfterThrowMs), counts: true }
  }
}

async function endRuns<Detail>(state: RunnerState<Detail>, graceMs: number): Promise<void> {
  const { leased, finisher, active } = state
  await settleWithin(active.items(), graceMs)
  for (const run of running(state)) run.controller.abort(new WorkerStopped())
  await settleWithin(active.items(), handBackMs)
  const handBacks = running(state).map((run) => {
    run.phase = 'over'
    return finisher.giveBack(run.claim, 'abandon')
  })
  leased.clear()
  await settleWithin(handBacks, handBackMs)
  finisher.close()
}

function running<Detail>({ leased }: RunnerState<Detail>): Run[] {
  return leased.items().filter(({ phase }) => phase === 'runs')
}

function track<Detail>({ active }: RunnerState<Detail>, task: Promise<void>): void {
  const leave = active.add(task)
  void task.then(leave)
}

export async function settleWithin(tasks: Iterable<Promise<unknown>>, timeoutMs: number): Promise<void> {
  const timer = new AbortController()
  const late = delay(Math.max(0, timeoutMs), undefined, { signal: timer.signal }).catch(() => {})
  await Promise.race([Promise.all(tasks), late])
  timer.abort()
}
