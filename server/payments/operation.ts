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
  /** When the call was last made, or ended without an end that is known. */
  calledAt: string
  /** `running`: in a process that lives, or died. `unknown`: it left, no answer came. */
  state: 'running' | 'unknown'
  /** An earlier call of it may have had its effect: no refusal of a later one says that nothing happened. */
  unsure: boolean
  /** The provider said last that the payment's state does not allow it. */
  isBarred?: boolean
  /** Looks taken at it since. */
  round: number
}
