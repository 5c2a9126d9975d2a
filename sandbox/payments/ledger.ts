import type { World } from '../world.ts'
import type { PaymentProviderId } from './simulator.ts'

/** One movement of money, or of the right to it, as the provider's own books have it. */
export type LedgerEntry = {
  id: string
  provider: PaymentProviderId
  account: string
  kind: 'authorization' | 'charge' | 'refund' | 'void'
  /** Of the provider. A charge that captures an authorization has its id. */
  payment: string
  /** What the caller called it: PipeCore's payment id, as far as it travelled. */
  reference: string | null
  /** In the currency's ISO minor units, positive. */
  amount: number
  currency: string
  at: string
}

const KEPT_ENTRIES = 200_000

export function writeLedger(world: World, entry: Omit<LedgerEntry, 'id' | 'at'>): LedgerEntry {
  const written = {
    id: `led_${String(world.ledger.length + 1).padStart(6, '0')}`,
    ...entry,
    at: world.now().toISOString(),
  }
  world.ledger.push(written)
  if (world.ledger.length > KEPT_ENTRIES) world.ledger.shift()
  return written
}
