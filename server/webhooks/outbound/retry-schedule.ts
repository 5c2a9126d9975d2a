const second = 1000
const minute = 60 * second
const hour = 60 * minute

/** Wait after the first, second, … failed try: about three days in all. */
const waitsMs = [
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
]
const jitter = 0.2
const longestRetryAfterMs = 24 * hour

export const maxAttempts = waitsMs.length + 1

/** Milliseconds until the next try, or undefined when there is none. `random` is 0 to 1. */
export function nextWaitMs(attempt: number, random: number): number | undefined {
  const wait = waitsMs[attempt - 1]
  return wait === undefined ? undefined : Math.round(wait * (1 + jitter * (2 * random - 1)))
}

/** A `Retry-After` in seconds or as a date, as milliseconds from now; at most a day. */
export function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  const ms = /^\d+$/.test(text) ? Number(text) * second : Date.parse(text) - now.getTime()
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, longestRetryAfterMs) : undefined
}
