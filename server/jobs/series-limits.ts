import type { Conduct } from './work-conduct.ts'
import type { Claim, SeriesLimits, WorkItem } from './work.ts'

/** What this process runs of a series. Of one that has limits it runs all there is. */
export interface BusySeries {
  limits: SeriesLimits
  running: number
  waiting: number
  conduct: Conduct
  /** The last claim gave it all it had room for: the table may hold more. */
  more: boolean
  /** The next claim begins behind this lane of it; '' is the beginning. */
  behind: string
  /** What waited was given back, because it could not start: nothing is claimed ahead until a run ends. */
  stuck: boolean
  /** Starts that may be made at once, and when they were counted. */
  tokens: number
  countedAt: number
}

/** By name. A lane without a series is one of its own. */
export type SeriesBook = Map<string, BusySeries>

const unlimited: SeriesLimits = { mostRunning: null, perSecond: null }

export function seriesOf({ series, lane }: WorkItem): string {
  return series ?? lane
}

/** Takes note of claimed work of a series; limits are as the last claim told. */
export function noteClaim(
  book: SeriesBook,
  { item, limits = unlimited }: Claim,
  conductOf: (series: string) => Conduct,
  now: number,
): void {
  const name = seriesOf(item)
  const series = book.get(name) ?? meet(conductOf(name), limits, now)
  series.limits = limits
  series.tokens = Math.min(series.tokens, burstOf(limits))
  series.waiting += 1
  book.set(name, series)
}

function meet(conduct: Conduct, limits: SeriesLimits, now: number): BusySeries {
  const counts = { running: 0, waiting: 0, tokens: burstOf(limits), countedAt: now }
  return { ...counts, limits, conduct, more: false, behind: '', stuck: false }
}

/** Whether the limits of a series let its work start now. */
export function mayStart(known: BusySeries, now: number): boolean {
  refill(known, now)
  const { mostRunning, perSecond } = known.limits
  return known.running < (mostRunning ?? Infinity) && (perSecond === null || known.tokens >= 1)
}

export function noteStart(book: SeriesBook, item: WorkItem): void {
  const known = book.get(seriesOf(item))
  if (known === undefined) return
  known.waiting -= 1
  known.running += 1
  if (known.limits.perSecond !== null) known.tokens -= 1
}

/** `started`: it ran; else it was given back without. */
export function noteEnd(book: SeriesBook, item: WorkItem, started: boolean): void {
  const known = book.get(seriesOf(item))
  if (known === undefined) return
  if (started) known.running -= 1
  else known.waiting -= 1
}

/** Forgets series that nothing need be known of. */
export function forgetIdle(book: SeriesBook, now: number): void {
  for (const [series, known] of book) if (isIdle(known, now) && known.behind === '') book.delete(series)
}

/** How many rows the limits of a series let be claimed now. */
export function roomOf(known: BusySeries, now: number): number {
  refill(known, now)
  const { mostRunning, perSecond } = known.limits
  const starts = perSecond === null ? Infinity : Math.floor(known.tokens)
  const places = (mostRunning ?? Infinity) - known.running
  return Math.max(0, Math.min(starts, places) - known.waiting)
}

/** How many a claim takes of a series that this process knows nothing of yet: no fewer than this. */
export function firstRoomOf(limits: SeriesLimits): number {
  return Math.min(limits.mostRunning ?? Infinity, Math.floor(burstOf(limits)))
}

/** Series with limits of which something is running or waits: to go on with them the process must stay their owner. */
export function ownedSeries(book: SeriesBook, now: number): string[] {
  return [...book].flatMap(([series, known]) => (isLimited(known) && !isIdle(known, now) ? [series] : []))
}

function isLimited({ limits: { mostRunning, perSecond } }: BusySeries): boolean {
  return mostRunning !== null || perSecond !== null
}

function isIdle(known: BusySeries, now: number): boolean {
  refill(known, now)
  return known.running === 0 && known.waiting === 0 && known.tokens >= burstOf(known.limits)
}

/** Milliseconds until a series that waits for its rate may start again; undefined when none does. */
export function nextStartInMs(book: SeriesBook, now: number): number | undefined {
  let soonest: number | undefined
  for (const known of book.values()) {
    const { perSecond } = known.limits
    if (perSecond === null || known.waiting === 0) continue
    refill(known, now)
    if (known.tokens >= 1) continue
    const waitMs = ((1 - known.tokens) / perSecond) * 1000
    soonest = Math.min(soonest ?? waitMs, waitMs)
  }
  return soonest
}

function refill(known: BusySeries, now: number): void {
  const { perSecond } = known.limits
  const gained = perSecond === null ? Infinity : ((now - known.countedAt) / 1000) * perSecond
  known.tokens = Math.min(burstOf(known.limits), known.tokens + gained)
  known.countedAt = now
}

/** A tenth of a second's starts may come at once, and one always. */
function burstOf({ perSecond }: SeriesLimits): number {
  return perSecond === null ? Infinity : Math.max(1, perSecond / 10)
}
