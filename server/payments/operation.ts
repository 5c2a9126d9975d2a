/** The one call that acts on a payment now, or whose end nobody knows. Stored with the payment. */
export interface Operation {
  kind: 'create' | 'commit' | 'capture' | 'cancel' | 'refund'
  /** Idempotency key at the provider: the same for every repetition. */
  key: string
  /** Where the call is written down. */
  logId: string
  /** To capture. */
  amount?: number
  refundId?: string
  /** When the call was last made. */
  calledAt: string
  /** `running`: in a process that lives, or died. `unknown`: it left, no answer came. */
  state: 'running' | 'unknown'
  /** Looks taken at it since. */
  round: number
}
