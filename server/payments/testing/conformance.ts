import { before, describe, test } from 'node:test'
import type { Payment } from '../schema.ts'
import { testFaults } from './conformance-faults.ts'
import { testMoneyBack } from './conformance-refunds.ts'
import { testSales } from './conformance-sales.ts'
import { testWebhooks } from './conformance-webhooks.ts'
import { type PaymentsServer, type ProviderId, startPaymentsServer } from './server.ts'

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
  server(): PaymentsServer
  /** A sale with the fixture's amount, paid by what `fields` says. */
  sell(fields: object, headers?: Record<string, string>): Promise<Payment>
  /** A sale on the provider's page. */
  openPage(): Promise<Payment>
}

/** What every payment provider promises, through the API, against its simulator and a broken world. */
export function testPaymentProvider(fixture: PaymentFixture): void {
  let running: PaymentsServer | undefined
  const stops: Array<() => Promise<void>> = []
  const server = () => {
    if (running === undefined) throw new Error('the server is not started')
    return running
  }
  before(async () => {
    const keep = { after: (stop: () => Promise<void>) => void stops.push(stop) }
    running = await startPaymentsServer(keep, { PIPECORE_PROVIDER_TIMEOUT_MS: '400' })
  })
  test.after(async () => {
    for (const stop of stops.toReversed()) await stop()
  })
  const sale = { amount: fixture.amount, currency: fixture.currency, provider: fixture.provider }
  const customer = { email: 'ana@example.com', reference: 'customer_1' }
  const sell: Stage['sell'] = (fields, headers) => server().pay({ ...sale, customer, ...fields }, headers)
  const stage: Stage = {
    fixture,
    server,
    sell,
    openPage: () =>
      sell({
        description: 'Pedido 42',
        return_url: 'https://shop.example.com/back?order=42',
        cancel_url: 'https://shop.example.com/cart',
      }),
  }
  describe(`${fixture.provider}: sales`, () => testSales(stage))
  describe(`${fixture.provider}: money back`, () => testMoneyBack(stage))
  describe(`${fixture.provider}: faults`, () => testFaults(stage))
  describe(`${fixture.provider}: webhooks and returns`, () => testWebhooks(stage))
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
