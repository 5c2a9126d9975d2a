import { type BusySeries, firstRoomOf, forgetIdle, roomOf, seriesOf } from './series-limits.ts'
import type { Claim } from './work.ts'
import { createConduct, isBrief } from './work-conduct.ts'
import { roomIn } from './work-shares.ts'
import {
  aheadInAll,
  dropWaiting,
  isRetry,
  type Lane,
  laneOf,
  mostRetries,
  noteClaims,
  type Shares,
  sharesOf,
  type Slots,
  standingOfNext,
} from './work-slots.ts'

/** Longer than any queue of brief runs. */
const longWaitMs = 1_000

export interface Demand {
  total: number
  perLane: number
  /** What lanes and series that have claims already may get instead. */
  rooms: Map<string, number>
  /** Lanes behind which a series begins, so that its lanes take turns where it has little room. */
  behind: Map<string, string>
  /** Most rows of lanes of what is tried again, and behind which of these lanes they begin. */
  retries: number
  retriesBehind: string
}

/** Whether there is room for a large claim; for a small one, when slots do not get free soon. */
export function hasRoom(slots: Slots): boolean {
  return roomInAll(slots) >= (isMoving(slots) ? slots.count : slots.count / 4)
}

function isMoving({ conduct, running }: Slots): boolean {
  return isBrief(conduct, running, performance.now())
}

/** What to claim now; undefined while there is hardly room, or no slot gets free. */
export function findDemand(slots: Slots): Demand | undefined {
  const total = roomInAll(slots)
  if (total < slots.count / 4 || (slots.running >= slots.count && !isMoving(slots))) return undefined
  forgetIdle(slots.series, performance.now())
  const unknown = { running: 0, conduct: createConduct() }
  const shares = sharesOf(slots)
  const perLane = roomIn(unknown, shares.lane, aheadInAll(slots), shares.now)
  const retries = roomOfRetries(slots)
  const retriesBehind = slots.retries.behind
  const demand: Demand = { total, perLane, rooms: new Map(), behind: new Map(), retries, retriesBehind }
  for (const [name, lane] of slots.lanes) demand.rooms.set(name, roomOfLane(slots, lane, shares))
  for (const [name, series] of slots.series) {
    const room = roomOfSeries(slots, series, shares)
    demand.rooms.set(name, Math.min(room, demand.rooms.get(name) ?? room))
    if (series.behind !== '') demand.behind.set(name, series.behind)
  }
  return demand
}

function roomOfLane(slots: Slots, lane: Lane, shares: Shares): number {
  const most = roomIn(lane, shares.lane, aheadInAll(slots), shares.now)
  const room = Math.max(0, most - lane.running - lane.waiting.length)
  lane.more = room === 0
  return room
}

function roomOfSeries(slots: Slots, series: BusySeries, shares: Shares): number {
  const most = roomIn(series, shares.series, series.stuck ? 0 : aheadInAll(slots), shares.now)
  const room = Math.max(0, Math.min(most - series.running - series.waiting, roomOf(series, shares.now)))
  series.more = room === 0
  return room
}

function roomOfRetries(slots: Slots): number {
  const { retries } = slots
  const room = Math.max(0, mostRetries(slots) - retries.running - retries.waiting)
  retries.more = room === 0
  return room
}

/** @returns whether another claim is worth it at once: it passed over lanes, or took all that there was room for. */
export function addClaims(slots: Slots, demand: Demand, claims: readonly Claim[]): boolean {
  noteClaims(slots, claims)
  let isUsedUp = false
  for (const [name, added] of Map.groupBy(claims, ({ item }) => item.lane)) {
    const lane = laneOf(slots, name)
    lane.waiting.push(...added)
    lane.more = added.length >= (demand.rooms.get(name) ?? demand.perLane)
    isUsedUp ||= lane.more
    slots.turns.add(name)
  }
  const areRetriesTurned = turnRetries(slots, demand, claims)
  const isTurned = turnSeries(slots, demand, claims)
  return (
    areRetriesTurned ||
    isTurned ||
    (isUsedUp && claims.length >= slots.count / 4 && slots.waiting < slots.count)
  )
}

/** Where the room of what is tried again was used up the next claim goes on. @returns whether it begins anew instead. */
function turnRetries({ retries }: Slots, demand: Demand, claims: readonly Claim[]): boolean {
  const again = claims.filter(isRetry)
  const isUsedUp = again.length >= demand.retries
  if (isUsedUp) retries.more = true
  if (demand.retries === 0) return false
  const lanes = isUsedUp ? again.map(({ item }) => item.lane) : []
  retries.behind = lanes.reduce((last, lane) => (lane > last ? lane : last), '')
  return !isUsedUp && demand.retriesBehind !== ''
}

/** Where the room of a series was used up the next claim goes on. @returns whether it begins anew instead. */
function turnSeries(slots: Slots, { total, rooms, behind }: Demand, claims: readonly Claim[]): boolean {
  const usedUp = new Set<string>()
  for (const [name, added] of Map.groupBy(claims, ({ item }) => seriesOf(item))) {
    const series = slots.series.get(name)
    if (series === undefined) continue
    const room = rooms.get(name) ?? Math.min(total, firstRoomOf(series.limits))
    series.more = added.length >= room || series.limits.mostRunning !== null
    // With `total` the claim itself ended there.
    if (added.length < room || claims.length === total) continue
    series.behind = added.reduce((last, { item }) => (item.lane > last ? item.lane : last), '')
    usedUp.add(name)
  }
  const over = [...behind.keys()].filter((name) => !usedUp.has(name) && rooms.get(name) !== 0)
  for (const name of over) Object.assign(slots.series.get(name) ?? {}, { behind: '' })
  return over.length > 0
}

/** Takes out what has waited for long although slots are free, once it leaves others too little room to wait. */
export function dropStuck(slots: Slots): Claim[] {
  if (slots.running >= slots.count || roomInAll(slots) >= slots.count / 2) return []
  const shares = sharesOf(slots)
  const claimedBefore = shares.now - longWaitMs
  const stuck = new Set([...slots.turns].filter((name) => standingOfNext(slots, name, shares) === 'full'))
  const dropped = dropWaiting(
    slots,
    ({ item, claimedAt }) => claimedAt < claimedBefore && stuck.has(item.lane),
  )
  for (const { item } of dropped) {
    const series = slots.series.get(seriesOf(item))
    if (series !== undefined) series.stuck = true
  }
  return dropped
}

/** How many rows may still be claimed, to run or to wait. */
function roomInAll(slots: Slots): number {
  return slots.count - slots.running + aheadInAll(slots) - slots.waiting
}
