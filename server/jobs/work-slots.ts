import {
  mayStart,
  nextStartInMs,
  noteClaim,
  noteEnd,
  noteStart,
  roomsOf,
  type SeriesBook,
} from './series-limits.ts'
import type { Claim } from './work.ts'

/**
 * Who may run. A lane may have as many running as there are slots left free, and never more than its cap: the
 * first lane that hangs gets half of the slots, the next a quarter, and no number of them gets all. A few claimed
 * rows wait in memory, so that a slot which gets free is taken without a round trip.
 */
export interface Slots {
  count: number
  laneCap: number
  running: number
  lanes: Map<string, Lane>
  /** Names of lanes with waiting claims; the first has the next turn. */
  turns: Set<string>
  /** Series of what runs or waits, by name. */
  series: SeriesBook
  /** Running attempts that are not first ones: they never take more than half of the slots. */
  retrying: number
}

interface Lane {
  running: number
  waiting: Claim[]
  /** The last claim gave it all it had room for: the table may hold more. */
  more: boolean
}

export interface Demand {
  total: number
  perLane: number
  /** What lanes that have claims already may get instead of `perLane`. */
  rooms: Map<string, number>
}

export function createSlots(count: number, laneCap: number): Slots {
  return { count, laneCap, running: 0, lanes: new Map(), turns: new Set(), series: new Map(), retrying: 0 }
}

/** What runs beyond a smaller size ends as it would have. */
export function resizeSlots(slots: Slots, size: { slots: number; laneCap: number }): void {
  slots.count = size.slots
  slots.laneCap = size.laneCap
}

/** What to claim now; undefined while no slot is free. */
export function findDemand(slots: Slots): Demand | undefined {
  if (slots.running >= slots.count) return undefined
  const perLane = shareOf(slots) + aheadOf(slots)
  const rooms = roomsOf(slots.series, performance.now())
  for (const [name, lane] of slots.lanes) {
    const room = Math.max(0, perLane - lane.running - lane.waiting.length)
    lane.more = room === 0
    rooms.set(name, room)
  }
  return { total: slots.count - slots.running + aheadInAll(slots), perLane, rooms }
}

export function addClaims(slots: Slots, demand: Demand, claims: readonly Claim[]): void {
  for (const [name, added] of Map.groupBy(claims, (claim) => claim.item.lane)) {
    const lane = slots.lanes.get(name) ?? { running: 0, waiting: [], more: false }
    lane.waiting.push(...added)
    for (const claim of added) noteClaim(slots.series, claim, performance.now())
    lane.more =
      added.length >= (demand.rooms.get(name) ?? demand.perLane) ||
      added.some(({ limits }) => typeof limits?.mostRunning === 'number')
    slots.lanes.set(name, lane)
    slots.turns.add(name)
  }
}

/** Takes a slot for the next claim, lanes taking turns; undefined when none may run now. */
export function takeSlot(slots: Slots): Claim | undefined {
  for (const name of slots.turns) {
    const lane = slots.lanes.get(name)
    const [next] = lane?.waiting ?? []
    if (!lane || !next || !mayTakeSlot(slots, lane, next)) continue
    lane.waiting.shift()
    slots.turns.delete(name)
    if (lane.waiting.length > 0) slots.turns.add(name)
    countStart(slots, lane, next)
    return next
  }
  return undefined
}

/** Takes note of a claim that runs already, started by somebody else. */
export function addRunning(slots: Slots, claim: Claim): void {
  const lane = slots.lanes.get(claim.item.lane) ?? { running: 0, waiting: [], more: false }
  slots.lanes.set(claim.item.lane, lane)
  noteClaim(slots.series, claim, performance.now())
  countStart(slots, lane, claim)
}

function countStart(slots: Slots, lane: Lane, claim: Claim): void {
  lane.running += 1
  slots.running += 1
  if (isRetry(claim)) slots.retrying += 1
  noteStart(slots.series, claim.item.series)
}

function mayTakeSlot(slots: Slots, lane: Lane, claim: Claim): boolean {
  if (lane.running >= shareOf(slots)) return false
  if (isRetry(claim) && slots.retrying >= Math.ceil(slots.count / 2)) return false
  return mayStart(slots.series, claim.item.series, performance.now())
}

function isRetry({ item }: Claim): boolean {
  return item.series !== null && item.attempt > 1
}

/** Enough is running that a claim can wait for more to claim. */
export function isBusy(slots: Slots): boolean {
  return slots.running >= slots.count / 2
}

/** Milliseconds until a slot may be taken that only a rate keeps free; undefined when there is none. */
export function nextTurnInMs(slots: Slots): number | undefined {
  return nextStartInMs(slots.series, performance.now())
}

/** @returns whether the lane is worth another claim. */
export function freeSlot(slots: Slots, claim: Claim): boolean {
  slots.running -= 1
  if (isRetry(claim)) slots.retrying -= 1
  noteEnd(slots.series, claim.item.series, true)
  const lane = slots.lanes.get(claim.item.lane)
  if (!lane) return false
  lane.running -= 1
  if (lane.running === 0 && lane.waiting.length === 0) slots.lanes.delete(claim.item.lane)
  return lane.more && lane.waiting.length <= aheadOf(slots) / 2
}

/** Takes waiting claims out again, without starting them. */
export function dropWaiting(slots: Slots, isDropped: (claim: Claim) => boolean): Claim[] {
  const dropped: Claim[] = []
  for (const name of slots.turns) {
    const lane = slots.lanes.get(name)
    if (!lane) continue
    const out = lane.waiting.filter(isDropped)
    for (const claim of out) noteEnd(slots.series, claim.item.series, false)
    dropped.push(...out)
    lane.waiting = lane.waiting.filter((claim) => !isDropped(claim))
    if (lane.waiting.length > 0) continue
    slots.turns.delete(name)
    if (lane.running === 0) slots.lanes.delete(name)
  }
  return dropped
}

function shareOf(slots: Slots): number {
  return Math.min(slots.laneCap, slots.count - slots.running)
}

/** Claimed rows that a lane may have waiting: the fewer lanes, the more, so that claims stay large. */
function aheadOf(slots: Slots): number {
  return Math.min(Math.ceil(aheadInAll(slots) / Math.max(slots.lanes.size, 1)), Math.ceil(slots.laneCap / 2))
}

function aheadInAll(slots: Slots): number {
  return 2 * slots.count
}
