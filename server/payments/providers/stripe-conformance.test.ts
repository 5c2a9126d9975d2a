import { testPaymentProvider } from '../testing/conformance.ts'
import { accounts } from '../testing/server.ts'

testPaymentProvider({
  provider: 'stripe',
  currency: 'CLP',
  amount: 15_990,
  direct: async () => ({ token: 'pm_card_visa' }),
  declined: async () => ({ fields: { token: 'pm_card_chargeDeclined' }, code: 'card_declined' }),
  decline: { choice: 'decline', extra: {} },
  hold: (server) =>
    server.pay({
      amount: 15_990,
      currency: 'CLP',
      provider: 'stripe',
      capture: 'manual',
      token: 'pm_card_visa',
    }),
  webhooks: true,
  partialCapture: true,
  secrets: [accounts.stripe],
})
