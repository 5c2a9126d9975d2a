import { count, forbid, type Verdict } from '../kill/verdict.ts'
import type { Receiver } from './receiver.ts'
import type { EndpointPlan } from './shop.ts'

const windowMs = 2_000
/** Requests are noted a little later than they were sent, some more than others. */
const jitter = 1.15

/** What an endpoint asked for holds over all processes together. */
export function judgeLimits(verdict: Verdict, receiver: Receiver, plan: EndpointPlan): void {
  const { path, max_in_flight: most, max_per_second: perSecond } = plan
  if (most !== undefined) {
    const peak = receiver.peaks.get(path) ?? 0
    count(verdict, `most at once (${most} allowed)`, peak)
    forbid(verdict, 'more at once than allowed', peak > most ? [peak] : [])
  }
  if (perSecond !== undefined) {
    const times = (receiver.arrivals.get(path) ?? []).map(({ at }) => at)
    const busiest = findBusiest(times)
    const allowed = ((windowMs / 1_000) * perSecond + Math.max(1, perSecond / 10)) * jitter
    count(verdict, `most in ${windowMs / 1_000} s (${perSecond} a second allowed)`, busiest)
    forbid(verdict, 'faster than allowed', busiest > allowed ? [busiest] : [])
  }
}

function findBusiest(times: readonly number[]): number {
  const sorted = times.toSorted((one, other) => one - other)
  let from = 0
  let busiest = 0
  for (const [index, at] of sorted.entries()) {
    while (at - sorted[from]! > windowMs) from += 1
    busiest = Math.max(busiest, index - from + 1)
  }
  return busiest
}
