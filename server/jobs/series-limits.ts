import type { Claim, SeriesLimits } from './work.ts'

/** What this process runs of a series. Of one that has limits it runs all there is. */
export interface BusySeries {
  limits: SeriesLimits
  running: number
  waiting: number
  /** Starts that may be made at once, and when they were counted. */
  tokens: number
  countedAt: number
}

export type SeriesBook = Map<string, BusySeries>

const unlimited: SeriesLimits = { mostRunning: null, perSecond: null }

/** Takes note of claimed work of a series; limits are as the last claim told. */
export function noteClaim(book: SeriesBook, { item, limits = unlimited }: Claim, now: number): void {
  if (item.series === null) return
  const fresh = { running: 0, waiting: 0, tokens: burstOf(limits), countedAt: now }
  const series = { ...(book.get(item.series) ?? fresh), limits }
  series.tokens = Math.min(series.tokens, burstOf(limits))
  series.waiting += 1
  book.set(item.series, series)
}

/** Whether work of the series may start now. */
export function mayStart(book: SeriesBook, series: string | null, now: number): boolean {
  const known = series === null ? undefined : book.get(series)
  if (known === undefined) return true
  refill(known, now)
  const { mostRunning, perSecond } = known.limits
  return known.running < (mostRunning ?? Infinity) && (perSecond === null || known.tokens >= 1)
}

export function noteStart(book: SeriesBook, series: string | null): void {
  const known = series === null ? undefined : book.get(series)
  if (known === undefined) return
  known.waiting -= 1
  known.running += 1
  if (known.limits.perSecond !== null) known.tokens -= 1
}

/** `started`: it ran; else it was given back without. */
export function noteEnd(book: SeriesBook, series: string | null, started: boolean): void {
  const known = series === null ? undefined : book.get(series)
  if (known === undefined) return
  if (started) known.running -= 1
  else known.waiting -= 1
}

/** How many rows of each limited series are worth claiming now. Forgets series that nothing need be known of. */
export function roomsOf(book: SeriesBook, now: number): Map<string, number> {
  const rooms = new Map<string, number>()
  for (const [series, known] of book) {
    const { mostRunning, perSecond } = known.limits
    const idle = isIdle(known, now)
    if (idle) book.delete(series)
    const starts = perSecond === null ? Infinity : Math.floor(known.tokens)
    const places = (mostRunning ?? Infinity) - known.running
    const room = Math.min(starts, places) - known.waiting
    if (!idle && room < Infinity) rooms.set(series, Math.max(0, room))
  }
  return rooms
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
