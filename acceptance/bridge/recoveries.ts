import type { Disturbance } from './disturbances.ts'
import type { Published } from './publishing.ts'
import type { Arrival } from './receiver.ts'

/** Milliseconds. */
export interface Recovery {
  kind: string
  /** From its beginning until everything that it struck ran again. */
  lasted: number
  /** The longest time that began or went on meanwhile in which nothing was accepted. */
  acceptedNothing: number
  deliveredNothing: number
  /** From its beginning until everything had arrived that was accepted before. */
  caughtUp: number
}

/** By what a receiver took that meets everything well. */
export function findRecoveries(
  faults: readonly Disturbance[],
  events: readonly Published[],
  arrivals: readonly Arrival[],
): Recovery[] {
  const takenAt = new Map<string, number>()
  for (const { ref, at } of arrivals) if (!takenAt.has(ref)) takenAt.set(ref, at)
  const accepted = events.flatMap(({ ref, acceptedAt }) =>
    acceptedAt === undefined ? [] : [{ acceptedAt, takenAt: takenAt.get(ref) ?? 0 }],
  )
  const acceptances = accepted.map(({ acceptedAt }) => acceptedAt).toSorted((one, other) => one - other)
  const deliveries = [...takenAt.values()].toSorted((one, other) => one - other)
  return faults.map((fault) => {
    const { kind, from, until } = fault
    const late = accepted.filter((event) => event.acceptedAt < from && event.takenAt >= from)
    return {
      kind,
      lasted: until - from,
      acceptedNothing: findLongestGap(acceptances, fault),
      deliveredNothing: findLongestGap(deliveries, fault),
      caughtUp: Math.max(from, ...late.map((event) => event.takenAt)) - from,
    }
  })
}

function findLongestGap(times: readonly number[], { from, until }: Disturbance): number {
  const gaps = times.slice(1).map((at, index) => ({ began: times[index]!, ended: at }))
  const meanwhile = gaps.filter(({ began, ended }) => ended >= from && began <= until)
  return Math.max(0, ...meanwhile.map(({ began, ended }) => ended - began))
}
