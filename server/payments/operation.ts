import type { Context } from '#core/context.ts'

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
  /** When it was made first: providers forget keys. */
  firstCalledAt: string
  /** `running`: in a process that lives, or died. `unknown`: it left, no answer came. */
  state: 'running' | 'unknown'
  /** An earlier call of it may have had its effect: no refusal of a later one says that nothing happened. */
  unsure: boolean
  /** The provider said last that the payment's state does not allow it. */
  isBarred?: boolean
  /** Looks taken at it since. */
  round: number
}

/** Between the end of a call's time and the janitor's first look at it: our own commit may be slow. */
const graceMs = 5_000
export const mostTries = 3
export const longestWaitMs = 3_000

/** When a call is certainly over or its process dead. */
export function deadlineOf(context: Context): Date {
  const longestMs = context.config.providerTimeoutMs * mostTries + longestWaitMs * (mostTries - 1) + graceMs
  return new Date(context.now().getTime() + longestMs)
}

/** Not running in a process that lives. */
export function isOver(context: Context, operation: Pick<Operation, 'state' | 'calledAt'>): boolean {
  if (operation.state === 'unknown') return true
  const ageMs = context.now().getTime() - Date.parse(operation.calledAt)
  return ageMs > deadlineOf(context).getTime() - context.now().getTime() - 1
}
