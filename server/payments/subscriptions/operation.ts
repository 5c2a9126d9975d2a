/** The one call that acts on a subscription now, or whose end nobody knows. Stored with the subscription. */
export interface SubscriptionOperation {
  kind: 'create' | 'update' | 'cancel'
  /** Idempotency key at the provider: the same for every repetition. */
  key: string
  /** Where the call is written down. */
  logId: string
  /** Of an update. */
  change?: WantedChange
  /** When the call was last made. */
  calledAt: string
  /** `running`: in a process that lives, or died. `unknown`: it left, no answer came. */
  state: 'running' | 'unknown'
  /** Looks taken at it since. */
  round: number
}

export interface WantedChange {
  amount?: number | undefined
  methodId?: string | undefined
  paused?: boolean | undefined
  cancelAtPeriodEnd?: boolean | undefined
}
