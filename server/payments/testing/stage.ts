import type { Payment } from '../schema.ts'
import type { PaymentsServer, ProviderId } from './server.ts'

export interface PaymentFixture {
  provider: ProviderId
  /** A currency it takes and the amount of every sale, in minor units. */
  currency: string
  amount: number
  /** Fields of a payment that is charged at once: a token or a saved method. */
  direct(server: PaymentsServer): Promise<object>
  declined(server: PaymentsServer): Promise<{ fields: object; code: string }>
  /** What a customer does on the page so that the sale is declined. */
  decline: { choice: string; extra: Record<string, unknown> }
  /** Makes a payment whose money is held, not taken. */
  hold(server: PaymentsServer): Promise<Payment>
  webhooks: boolean
  /** Takes a part of what is held. */
  partialCapture: boolean
  /** The operation of the simulator that a direct payment is. */
  secrets: readonly string[]
}

export interface Stage {
  fixture: PaymentFixture
  server: () => PaymentsServer
  /** A sale with the fixture's amount, paid by what `fields` says. */
  sell: (fields: object, headers?: Record<string, string>) => Promise<Payment>
  /** A sale on the provider's page. */
  openPage: () => Promise<Payment>
}

/** How often each event came about a payment. */
export async function countEvents(
  server: PaymentsServer,
  id: string,
  wanted: readonly string[],
): Promise<Record<string, number>> {
  const events = await server.eventsOf(id, wanted)
  const counts: Record<string, number> = {}
  for (const { event } of events) counts[event] = (counts[event] ?? 0) + 1
  return counts
}
