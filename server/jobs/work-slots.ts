import { createRecent, type Recent } from '#core/recent.ts'
import {
  mayStart,
  nextStartInMs,
  noteClaim,
  noteEnd,
  noteStart,
  type SeriesBook,
  seriesOf,
} from './series-limits.ts'
import type { Claim } from './work.ts'
import { type Conduct, createConduct, isBrief, noteRun } from './work-conduct.ts'
import { type Share, type Standing, standingOf, worseOf } from './work-shares.ts'

/**
 * Who may run: lanes take turns, within the share of each and of its series. A few claimed rows wait in memory, so that
 * a slot which gets free is taken without a round trip; never more than eight times as many as there are slots.
 */
export interface Slots {
  count: number
  laneCap: number
  running: number
  waiting: number
  lanes: Map<string, Lane>
  /** Names of lanes with waiting claims; the first has the next turn. */
  turns: Set<string>
  /** Series of what runs or waits. */
  series: SeriesBook
  /** Attempts that are not first ones: never more than half of the slots run them. */
  retries: Counted & {
    /** The next claim takes them from behind this lane on; '' is the beginning. */
    behind: string
  }
  /** How all runs did lately, and those of each lane and series, by name. */
  conduct: Conduct
  conducts: Recent<string, Conduct>
}

interface Counted {
  running: number
  waiting: number
  /** The last claim left some out: the table may hold more. */
  more: boolean
}

export interface Lane {
  running: number
  waiting: Claim[]
  conduct: Conduct
  /** The last claim gave it all it had room for: the table may hold more. */
  more: boolean
}

/** So long an idle lane is known. */
const rememberedMs = 60_000

export function createSlots(count: number, laneCap: number): Slots {
  return {
    count,
    laneCap,
    running: 0,
    waiting: 0,
    lanes: new Map(),
    turns: new Set(),
    series: new Map(),
    retries: { running: 0, waiting: 0, more: false, behind: '' },
    conduct: createConduct(),
    conducts: createRecent({ most: 10_000, forMs: rememberedMs }),
  }
}

/** What runs beyond a smaller size ends as it would have. */
export function resizeSlots(slots: Slots, size: { slots: number; laneCap: number }): void {
  slots.count = size.slots
  slots.laneCap = size.laneCap
}

/** Takes a slot for the next claim, lanes taking turns; undefined when none may run now. */
export function takeSlot(slots: Slots): Claim | undefined {
  if (slots.running >= slots.count) return undefined
  const shares = sharesOf(slots)
  let borrower: string | undefined
  let isSomeoneShort = false
  for (const name of slots.turns) {
    const standing = standingOfNext(slots, name, shares)
    if (standing === 'entitled') return startNext(slots, name, shares)
    if (standing === 'borrowing') borrower ??= name
    isSomeoneShort ||= standing === 'short'
  }
  return borrower === undefined || isSomeoneShort ? undefined : startNext(slots, borrower, shares)
}

/** Of the next claim of a lane; one that its limits keep from starting is `full`. */
export function standingOfNext(slots: Slots, name: string, shares: Shares): Standing {
  const { now } = shares
  const lane = slots.lanes.get(name)
  const [next] = lane?.waiting ?? []
  const series = next && slots.series.get(seriesOf(next.item))
  if (!lane || !next || !series || !mayStart(series, now)) return 'full'
  if (isRetry(next) && slots.retries.running >= mostRetries(slots)) return 'full'
  return worseOf(standingOf(series, shares.series, now), standingOf(lane, shares.lane, now))
}

function startNext(slots: Slots, name: string, { now }: Shares): Claim | undefined {
  const lane = laneOf(slots, name)
  const next = lane.waiting.shift()
  slots.turns.delete(name)
  if (lane.waiting.length > 0) slots.turns.add(name)
  if (next !== undefined) countStart(slots, lane, next, now)
  return next
}

/** Takes note of a claim that runs already, started by somebody else. */
export function addRunning(slots: Slots, claim: Claim): void {
  noteClaims(slots, [claim])
  countStart(slots, laneOf(slots, claim.item.lane), claim, performance.now())
}

export function noteClaims(slots: Slots, claims: readonly Claim[]): void {
  const now = performance.now()
  for (const claim of claims) noteClaim(slots.series, claim, (series) => conductOf(slots, series), now)
  slots.waiting += claims.length
  slots.retries.waiting += claims.filter(isRetry).length
}

export function laneOf(slots: Slots, name: string): Lane {
  const known = slots.lanes.get(name)
  if (known !== undefined) return known
  const lane = { running: 0, waiting: [], conduct: conductOf(slots, name), more: false }
  slots.lanes.set(name, lane)
  return lane
}

function conductOf({ conducts }: Slots, name: string): Conduct {
  return conducts.get(name) ?? createConduct()
}

function countStart(slots: Slots, lane: Lane, claim: Claim, now: number): void {
  lane.running += 1
  slots.running += 1
  claim.startedAt = now
  noteStart(slots.series, claim.item)
  countWaitOver(slots, claim)
  if (isRetry(claim)) slots.retries.running += 1
}

function countWaitOver(slots: Slots, claim: Claim): void {
  slots.waiting -= 1
  if (isRetry(claim)) slots.retries.waiting -= 1
}

export function isRetry({ item }: Claim): boolean {
  return item.series !== null && item.attempt > 1
}

/** Enough is running that a claim can wait for more to claim. */
export function isBusy(slots: Slots): boolean {
  return slots.running >= slots.count / 2
}

/** So little waits, in all or of its series, that a claim for more can't wait. */
export function isRunningDry(slots: Slots, { item }: Claim): boolean {
  const waiting = slots.series.get(seriesOf(item))?.waiting ?? 0
  return slots.waiting < aheadInAll(slots) / 4 || waiting <= aheadInAll(slots) / slots.series.size / 8
}

/** Milliseconds until a slot may be taken that only a rate keeps free; undefined when there is none. */
export function nextTurnInMs(slots: Slots): number | undefined {
  return nextStartInMs(slots.series, performance.now())
}

/** `hasRun`: false of what was given back instead. @returns whether its lane or series is worth another claim. */
export function freeSlot(slots: Slots, claim: Claim, hasRun = true): boolean {
  const now = performance.now()
  const { item } = claim
  const lane = slots.lanes.get(item.lane)
  const series = slots.series.get(seriesOf(item))
  slots.running -= 1
  if (isRetry(claim)) slots.retries.running -= 1
  noteEnd(slots.series, item, true)
  if (lane) lane.running -= 1
  if (!lane || !series) return false
  series.stuck = false
  if (hasRun) {
    const durationMs = now - (claim.startedAt ?? now)
    noteRun(slots.conduct, durationMs, now)
    noteRun(lane.conduct, durationMs, now)
    if (series.conduct !== lane.conduct) noteRun(series.conduct, durationMs, now)
  }
  // As long as anything of them runs they are at hand.
  if (lane.running === 0) slots.conducts.set(item.lane, lane.conduct)
  if (series.running === 0) slots.conducts.set(seriesOf(item), series.conduct)
  if (lane.running === 0 && lane.waiting.length === 0) slots.lanes.delete(item.lane)
  return (
    (lane.more && lane.waiting.length <= aheadInAll(slots) / slots.lanes.size / 2) ||
    (series.more && series.waiting <= aheadInAll(slots) / slots.series.size / 2) ||
    (isRetry(claim) && slots.retries.more)
  )
}

/** Takes waiting claims out again, without starting them. */
export function dropWaiting(slots: Slots, isDropped: (claim: Claim) => boolean): Claim[] {
  const dropped: Claim[] = []
  for (const name of slots.turns) {
    const lane = slots.lanes.get(name)
    if (!lane) continue
    const out = lane.waiting.filter(isDropped)
    for (const claim of out) {
      noteEnd(slots.series, claim.item, false)
      countWaitOver(slots, claim)
    }
    dropped.push(...out)
    lane.waiting = lane.waiting.filter((claim) => !isDropped(claim))
    if (lane.waiting.length > 0) continue
    slots.turns.delete(name)
    if (lane.running === 0) slots.lanes.delete(name)
  }
  return dropped
}

export interface Shares {
  lane: Share
  series: Share
  /** Milliseconds of the monotonic clock. */
  now: number
}

export function sharesOf({ count, running, laneCap, lanes, series }: Slots): Shares {
  const common = { count, free: count - running, laneCap }
  return {
    lane: { ...common, sharers: Math.max(lanes.size, 1), most: laneCap },
    series: { ...common, sharers: Math.max(series.size, 1), most: Math.ceil((count * 3) / 4) },
    now: performance.now(),
  }
}

export function mostRetries(slots: Slots): number {
  return Math.ceil(slots.count / 2)
}

/** Claimed rows that may wait: more while runs are brief, for which claims are large. */
export function aheadInAll({ count, conduct, running }: Slots): number {
  return (isBrief(conduct, running, performance.now()) ? 8 : 2) * count
}
