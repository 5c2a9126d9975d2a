import { before, describe, test } from 'node:test'
import { testFaults } from './conformance-faults.ts'
import { testMoneyBack } from './conformance-refunds.ts'
import { testSales } from './conformance-sales.ts'
import { testWebhooks } from './conformance-webhooks.ts'
import { type PaymentsServer, startPaymentsServer } from './server.ts'
import type { PaymentFixture, Stage } from './stage.ts'

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
    running = await startPaymentsServer(keep, { PIPECORE_PROVIDER_TIMEOUT_MS: '1000' })
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
