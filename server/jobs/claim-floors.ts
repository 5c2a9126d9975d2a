import type { Claim } from './work.ts'
import { isRetry } from './work-slots.ts'

/**
 * From when on claims look at the lanes that much was claimed of. Whatever ended there stays in the index until a
 * vacuum may remove it, which an old transaction such as a backup's forbids: without a floor each claim would walk
 * over all of it. What comes below a floor, such as what a dead process had claimed, is found by a round over all lanes
 * without floors, which is made every second while it is cheap and takes a twentieth of the time while it is not.
 */
export interface ClaimFloors {
  /** For the next claim; `from` is '' where a round over the lanes begins. */
  forClaim(from: string): ReadonlyMap<string, Date>
  /** `from`: where the claim after it starts; '' ends the round. */
  noteClaim(claims: readonly Claim[], tookMs: number, from: string): void
  /** Something of the lane is due as it was before it was claimed. */
  forget(lane: string): void
}

interface LaneFloor {
  /** Since the last full round that was quick. */
  claimed: number
  /** Oldest first: up to when work was claimed, or since when some came later, and the moment it was claimed. */
  marks: { runAt: Date; at: number }[]
}

interface FloorsState {
  lanes: Map<string, LaneFloor>
  fullRoundAt: number
  /** Of the full round under way. */
  full: { spentMs: number; claims: number } | undefined
  /** The last full round was not quick: whatever lanes are known are worth their floors. */
  isWalking: boolean
}

/** So few entries are walked sooner than looked past. */
const leastClaimed = 500
const mostLanes = 100
const mostKnown = 1_000
/** For transactions that commit late, and for processes whose clock is behind. */
const lagMs = 1_000
const marksPerLag = 4
const fullRoundEveryMs = 1_000
/** Of the time at most. */
const shareOfFullRounds = 1 / 20
/** So quick a claim has met few entries that are over. */
const quickClaimMs = 5

export function createClaimFloors(now: () => number = () => performance.now()): ClaimFloors {
  const state: FloorsState = { lanes: new Map(), fullRoundAt: 0, full: undefined, isWalking: false }
  return {
    forClaim(from) {
      if (from === '') state.full = now() >= state.fullRoundAt ? { spentMs: 0, claims: 0 } : undefined
      return state.full === undefined ? floorsAt(state, now()) : new Map()
    },
    noteClaim(claims, tookMs, from) {
      for (const [lane, ofLane] of Map.groupBy(claims, ({ item }) => item.lane)) {
        lower(state, lane, ofLane)
        raise(state, lane, ofLane.filter(hasFloor), now())
      }
      if (state.full === undefined) return
      state.full.spentMs += tookMs
      state.full.claims += 1
      if (from === '') endFullRound(state, state.full, now())
    },
    forget: (lane) => void state.lanes.delete(lane),
  }
}

/** In order, earlier work comes back; what is tried again is put off by all sorts of times. */
function hasFloor(claim: Claim): boolean {
  return !claim.item.ordered && !isRetry(claim)
}

/** Where something earlier came, more of it may: from a process whose clock is behind, or all that a transaction stored. */
function lower({ lanes }: FloorsState, lane: string, claims: readonly Claim[]): void {
  const earliest = Math.min(...claims.map(({ item }) => item.runAt.getTime()))
  for (const mark of lanes.get(lane)?.marks ?? [])
    if (mark.runAt.getTime() > earliest) mark.runAt = new Date(earliest)
}

function raise({ lanes }: FloorsState, lane: string, claims: readonly Claim[], at: number): void {
  if (claims.length === 0) return
  const { claimed, marks } = lanes.get(lane) ?? { claimed: 0, marks: [] }
  const runAt = new Date(Math.max(...claims.map(({ item }) => item.runAt.getTime())))
  const isDue = at - (marks.at(-1)?.at ?? -Infinity) >= lagMs / marksPerLag
  if (isDue) marks.push({ runAt, at })
  while ((marks[1]?.at ?? at) <= at - lagMs) marks.shift()
  lanes.delete(lane)
  lanes.set(lane, { claimed: claimed + claims.length, marks })
  const [oldest] = lanes.keys()
  if (lanes.size > mostKnown && oldest !== undefined) lanes.delete(oldest)
}

function floorsAt({ lanes, isWalking }: FloorsState, at: number): Map<string, Date> {
  const floors = new Map<string, Date>()
  for (const [lane, { claimed, marks }] of [...lanes].toReversed()) {
    const mark = marks.findLast((one) => one.at <= at - lagMs)
    if ((isWalking || claimed >= leastClaimed) && mark !== undefined) floors.set(lane, mark.runAt)
    if (floors.size === mostLanes) break
  }
  return floors
}

function endFullRound(
  state: FloorsState,
  { spentMs, claims }: NonNullable<FloorsState['full']>,
  at: number,
): void {
  state.full = undefined
  state.fullRoundAt = at + Math.max(fullRoundEveryMs, spentMs / shareOfFullRounds)
  state.isWalking = spentMs / claims > quickClaimMs
  if (!state.isWalking) for (const lane of state.lanes.values()) lane.claimed = 0
}
