/** What was done to PipeCore from outside. Times are milliseconds since 1970. */
export interface Disturbance {
  kind: string
  from: number
  until: number
  /** When a process that delivers was gone, with what it knew. */
  killedAt: number | undefined
  /** Nothing could be recorded meanwhile. */
  stopsDatabase: boolean
}

/** Says how long before or after the nearest of them a moment was. */
export function nameNearest(disturbances: readonly Disturbance[], at: number): string {
  const distanceOf = ({ from }: Disturbance) => Math.abs(from - at)
  const [nearest] = disturbances.toSorted((one, other) => distanceOf(one) - distanceOf(other))
  if (nearest === undefined) return 'undisturbed'
  const ms = at - nearest.from
  return `accepted ${Math.abs(ms)} ms ${ms < 0 ? 'before' : 'after'} ${nearest.kind}`
}
