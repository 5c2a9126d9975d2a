import { setTimeout as sleep } from 'node:timers/promises'

export interface Percentiles {
  p50: number
  p90: number
  p99: number
  count: number
  failed: number
}

/**
 * Calls at a fixed rate, whether the earlier ones have ended or not: a slow answer does not make the next call
 * wait, as it would not in production. Times are milliseconds from when a call was due.
 */
export async function callAtRate(
  perSecond: number,
  seconds: number,
  call: (index: number) => Promise<void>,
): Promise<{ timesMs: number[]; failed: number }> {
  const timesMs: number[] = []
  const running: Array<Promise<void>> = []
  let failed = 0
  const startedAt = performance.now()
  for (let index = 0; index < perSecond * seconds; index += 1) {
    const dueAt = startedAt + (index * 1000) / perSecond
    const waitMs = dueAt - performance.now()
    if (waitMs > 1) await sleep(waitMs)
    running.push(
      call(index).then(
        () => void timesMs.push(performance.now() - dueAt),
        () => void (failed += 1),
      ),
    )
  }
  await Promise.all(running)
  return { timesMs, failed }
}

export function percentilesOf(timesMs: readonly number[], failed: number): Percentiles {
  const sorted = timesMs.toSorted((left, right) => left - right)
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), count: sorted.length, failed }
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
