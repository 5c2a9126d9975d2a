import type { Claim, SeriesLimits } from './work.ts'

/** What this process runs of series that have limits; it is the only one that works on them. */
export interface LimitedSeries {
  limits: SeriesLimits
  running: number
  waiting: number
  /** Starts that may be made at once, and when they were counted. */
  tokens: number
  countedAt: number
}

export type SeriesBook = Map<string, LimitedSeries>

/** Takes note of claimed work of a series; limits are as the last claim told. */
export function noteClaim(book: SeriesBook, { item, limits }: Claim, now: number): void {
  if (item.series === null) return
  const known = book.get(item.series)
  if (known === undefined && limits === undefined) return
  const fresh = { running: 0, waiting: 0, tokens: burstOf(limits ?? unlimited), countedAt: now }
  const series = known ?? { ...fresh, limits: unlimited }
  series.limits = limits ?? unlimited
  series.waiting += 1
  book.set(item.series, series)
}

const unlimited: SeriesLimits = { mostRunning: null, perSecond: null }

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
  known.waiting = Math.max(0, known.waiting - 1)
  known.running += 1
  if (known.limits.perSecond !== null) known.tokens -= 1
}

/** `started`: it ran; else it was given back without. */
export function noteEnd(book: SeriesBook, series: string | null, started: boolean): void {
  const known = series === null ? undefined : book.get(series)
  if (known === undefined || series === null) return
  // What began before it had limits was not counted.
  if (started) known.running = Math.max(0, known.running - 1)
  else known.waiting = Math.max(0, known.waiting - 1)
  if (known.running <= 0 && known.waiting <= 0 && known.limits.perSecond === null) book.delete(series)
}

/** How many rows of each limited series are worth claiming now. */
export function roomsOf(book: SeriesBook, now: number): Map<string, number> {
  const rooms = new Map<string, number>()
  for (const [series, known] of book) {
    refill(known, now)
    const { mostRunning, perSecond } = known.limits
    const starts = perSecond === null ? Infinity : Math.floor(known.tokens)
    const places = (mostRunning ?? Infinity) - known.running
    const room = Math.min(starts, places) - known.waiting
    if (room < Infinity) rooms.set(series, Math.max(0, room))
  }
  return rooms
}

/** Milliseconds until a series that waits for its rate may start again; undefined when none does. */
export function nextStartInMs(book: SeriesBook): number | undefined {
  const waits = [...book.values()].flatMap(({ limits: { perSecond }, tokens, waiting }) =>
    perSecond !== null && waiting > 0 && tokens < 1 ? [((1 - tokens) / perSecond) * 1000] : [],
  )
  return waits.length === 0 ? undefined : Math.min(...waits)
}

function refill(known: LimitedSeries, now: number): void {
  const { perSecond } = known.limits
  if (perSecond !== null) {
    const gained = ((now - known.countedAt) / 1000) * perSecond
    known.tokens = Math.min(burstOf(known.limits), known.tokens + gained)
  }
  known.countedAt = now
}

/** A tenth of a second's starts may come at once, and one always. */
function burstOf({ perSecond }: SeriesLimits): number {
  return perSecond === null ? Infinity : Math.max(1, perSecond / 10)
}
