/** What a row of `work` is: its body is found under `ref`, in `jobs` or among the events. */
export const workKinds = ['job', 'delivery'] as const
export type WorkKind = (typeof workKinds)[number]

/** One claimed piece of work. */
export interface WorkItem {
  id: string
  kind: WorkKind
  /** Whose turn it is in fair claims: a tenant, a tenant's share of a series, or the platform. */
  lane: string
  /** What the lane is a part of: its work is numbered and shares limits. */
  series: string | null
  /** Its number in the series, the same at every attempt. */
  number: number | null
  /** Other work of its series stays behind it. */
  ordered: boolean
  tenantId: string | null
  productId: string | null
  ref: string
  runAt: Date
  /** 1 for the first. Above 1 an earlier attempt failed or its process died at any point. */
  attempt: number
}

export type WorkResult<Detail = unknown> = (
  | { kind: 'done' }
  /** `counts: false` gives the attempt back: it had no effect and was not the work's fault. */
  | { kind: 'retry'; runAt: Date; counts: boolean }
  | { kind: 'dead'; error: string }
) & {
  /** For `record`. */
  detail?: Detail
}

/** Limits of a series, over all processes. */
export interface SeriesLimits {
  /** Runs at the same time. */
  mostRunning: number | null
  /** Starts a second. */
  perSecond: number | null
}

export interface FinishedWork<Detail = unknown> {
  item: WorkItem
  result: WorkResult<Detail>
  startedAt: Date
  durationMs: number
}

export interface Claim {
  item: WorkItem
  limits: SeriesLimits | undefined
  /** The fence: made anew for every claim, replaced when somebody else claims the row. */
  token: string
  /** Milliseconds of the monotonic clock, from before the claim was sent. */
  claimedAt: number
  /** When it took a slot, by the same clock. */
  startedAt?: number
}
