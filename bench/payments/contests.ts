import { MercadoPagoConfig, Payment } from 'mercadopago'
import Stripe from 'stripe'
import { Agent } from 'undici'
import { keys, type Stage } from './stage.ts'

export type Way = 'direct' | 'pipecore'

/** The same payment, taken in two ways. */
export type Contest = { name: string } & Record<Way, () => Promise<void>>

export function stripeContest(stage: Stage): Contest {
  const { hostname, port } = new URL(stage.sandboxUrl)
  const client = new Stripe(keys.stripe, {
    host: hostname,
    port,
    protocol: 'http',
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: Stripe.createFetchHttpClient((input: string | URL | Request, init?: RequestInit) =>
      fetch(
        (input instanceof Request ? input.url : input.toString()).replace(`:${port}/`, `:${port}/stripe/`),
        init,
      ),
    ),
  })
  return {
    name: 'Stripe',
    direct: async () => {
      const intent = await client.paymentIntents.create({
        amount: 15_990,
        currency: 'clp',
        confirm: true,
        payment_method: 'pm_card_visa',
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      })
      if (intent.status !== 'succeeded') throw new Error(intent.status)
    },
    pipecore: () => stage.pay({ provider: 'stripe', token: 'pm_card_visa' }),
  }
}

export function mercadopagoContest(stage: Stage): Contest {
  const dispatcher = new Agent({ connections: 256 }).compose(
    (dispatch) => (options, handler) =>
      dispatch({ ...options, origin: stage.sandboxUrl, path: `/mercadopago${options.path}` }, handler),
  )
  const options = { timeout: 10_000, maxRetries: 0, dispatcher } as object
  const client = new Payment(new MercadoPagoConfig({ accessToken: keys.mercadopagoDirect, options }))
  const customer = { email: 'ana@example.com' }
  return {
    name: 'MercadoPago',
    direct: async () => {
      const body = {
        transaction_amount: 15_990,
        token: 'tok_apro',
        payment_method_id: 'visa',
        installments: 1,
        payer: customer,
        notification_url: `${stage.webhookUrl}?source_news=webhooks`,
      }
      const { status } = await client.create({ body })
      if (status !== 'approved') throw new Error(String(status))
    },
    pipecore: () => stage.pay({ provider: 'mercadopago', token: 'tok_apro', brand: 'visa', customer }),
  }
}
