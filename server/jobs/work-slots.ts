import type { Claim } from './work.ts'

/**
 * Who may run. A lane may have as many running as there are slots left free, and never more than its cap: the
 * first lane that hangs gets half of the slots, the next a quarter, and no number of them gets all. A few claimed
 * rows wait in memory, so that a slot which gets free is taken without a round trip.
 */
export interface Slots {
  readonly count: number
  readonly laneCap: number
  running: number
  lanes: Map<string, Lane>
  /** Names of lanes with waiting claims; the first has the next turn. */
  turns: Set<string>
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
  return { count, laneCap, running: 0, lanes: new Map(), turns: new Set() }
}

/** What to claim now; undefined while no slot is free. */
export function findDemand(slots: Slots): Demand | undefined {
  if (slots.running >= slots.count) return undefined
  const perLane = shareOf(slots) + aheadOf(slots)
  const rooms = new Map<string, number>()
  for (const [name, lane] of slots.lanes) {
    const room = Math.max(0, perLane - lane.running - lane.waiting.length)
    lane.more = room === 0
    rooms.set(name, room)
  }
  const ahead = Math.ceil(slots.count / 2)
  return { total: slots.count - slots.running + ahead, perLane, rooms }
}

export function addClaims(slots: Slots, demand: Demand, claims: readonly Claim[]): void {
  for (const [name, added] of Map.groupBy(claims, (claim) => claim.item.lane)) {
    const lane = slots.lanes.get(name) ?? { running: 0, waiting: [], more: false }
    lane.waiting.push(...added)
    lane.more = added.length >= (demand.rooms.get(name) ?? demand.perLane)
    slots.lanes.set(name, lane)
    slots.turns.add(name)
  }
}

/** Takes a slot for the next claim, lanes taking turns; undefined when none may run now. */
export function takeSlot(slots: Slots): Claim | undefined {
  for (const name of slots.turns) {
    const lane = slots.lanes.get(name)
    if (!lane || lane.running >= shareOf(slots)) continue
    const claim = lane.waiting.shift()
    slots.turns.delete(name)
    if (lane.waiting.length > 0) slots.turns.add(name)
    lane.running += 1
    slots.running += 1
    return claim
  }
  return undefined
}

/** @returns whether the lane is worth another claim. */
export function freeSlot(slots: Slots, claim: Claim): boolean {
  slots.running -= 1
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
    dropped.push(...lane.waiting.filter(isDropped))
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

function aheadOf(slots: Slots): number {
  return Math.ceil(shareOf(slots) / 4)
}
