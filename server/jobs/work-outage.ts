import { longestWaitMs } from './work-finish.ts'

/** After an outage: by then results that waited for the database are stored, and what they end does not run again. */
export const settleMs = longestWaitMs + 500

/** Leases are prolonged before half of them is over: until then an outage leaves them whole. */
export function mayOutlastLeases(since: number, leaseSeconds: number): boolean {
  return performance.now() - since > (leaseSeconds * 1000) / 2
}
