import { testPaymentProvider } from '../testing/conformance.ts'
import { accounts } from '../testing/server.ts'

testPaymentProvider({
  provider: 'mercadopago',
  currency: 'CLP',
  amount: 15_990,
  direct: async () => ({ token: 'tok_apro', brand: 'visa' }),
  declined: async () => ({ fields: { token: 'tok_fund', brand: 'visa' }, code: 'insufficient_funds' }),
  decline: { choice: 'decline', extra: {} },
  hold: (server) =>
    server.pay({
      amount: 15_990,
      currency: 'CLP',
      provider: 'mercadopago',
      capture: 'manual',
      token: 'tok_apro',
      brand: 'visa',
      customer: { email: 'ana@example.com' },
    }),
  webhooks: true,
  partialCapture: true,
  secrets: [accounts.mercadopago],
})
