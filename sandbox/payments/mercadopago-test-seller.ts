import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { MercadoPagoConfig } from 'mercadopago'
import { Agent } from 'undici'
import { startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Received, Receiver, TestSandbox } from '../test-receiver.ts'
import type { SandboxOptions } from '../sandbox.ts'

export const TOKEN = 'TEST-fake-seller'

export type Body = Record<string, unknown>
export type Answer = { status: number; body: Body; text: string; headers: Headers }

export type Seller = {
  sandbox: TestSandbox
  receiver: Receiver
  /** The official SDK, talking to the sandbox: its base URL is fixed, its connections are not. */
  config: () => MercadoPagoConfig
  /** Every call that acts has a key of its own unless it is given one. */
  call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>
  /** A payment of CLP 5000 by a card that is good. */
  pay: (changes?: Body, headers?: Record<string, string>) => Promise<Answer>
  /** What the provider’s books have under a reference. */
  ledger: (reference: string) => Promise<Body | undefined>
}

/** A seller whose webhooks go to a receiver, both of this test alone. */
export async function startSeller(
  t: TestContext,
  account: Body = {},
  options: Partial<SandboxOptions> = {},
): Promise<Seller> {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t, options), startReceiver(t)])
  await sandbox.control('PUT', `/accounts/mercadopago/${TOKEN}`, {
    webhook_url: `${receiver.url}/webhook?tenant_id=t_1`,
    ...account,
  })
  const { origin } = new URL(sandbox.url)
  const agent = new Agent()
  t.after(() => agent.destroy())
  const dispatcher = agent.compose(
    (dispatch) => (call, handler) => dispatch({ ...call, origin, path: `/mercadopago${call.path}` }, handler),
  )
  const call: Seller['call'] = async (method, path, body, headers = {}) => {
    const answer = await fetch(sandbox.providerUrls.mercadopago + path, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(method === 'GET' ? {} : { 'x-idempotency-key': randomUUID() }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: parse(text), text, headers: answer.headers }
  }
  return {
    sandbox,
    receiver,
    config() {
      const sdkOptions = { timeout: 5_000, maxRetries: 0, dispatcher }
      return new MercadoPagoConfig({ accessToken: TOKEN, options: sdkOptions })
    },
    call,
    pay: (changes = {}, headers = {}) =>
      call('POST', '/v1/payments', { ...createPaymentBody(), ...changes }, headers),
    async ledger(reference) {
      const { totals } = await sandbox.control('GET', `/ledger?reference=${reference}`)
      return (totals as Record<string, Body>)[reference]
    },
  }
}

function createPaymentBody(): Body {
  return {
    transaction_amount: 5000,
    token: 'tok_apro',
    installments: 1,
    payment_method_id: 'visa',
    payer: { email: 'ana@example.com' },
    external_reference: 'pay_1',
  }
}

function parse(text: string): Body {
  try {
    return JSON.parse(text) as Body
  } catch {
    return {}
  }
}

/** The code of an error's first cause. */
export function causeOf({ body }: Answer): unknown {
  const [cause] = (body['cause'] ?? []) as Body[]
  return cause?.['code']
}

/** A webhook's own id, topic and action; IPN has none of these. */
export function readWebhook(received: Received): { id: string | null; topic: string | null; body: Body } {
  const { searchParams } = new URL(received.url)
  const body = JSON.parse(received.body.toString()) as Body
  return { id: searchParams.get('data.id'), topic: searchParams.get('type'), body }
}

export const ofTopic = (topic: string) => (received: Received) => readWebhook(received).topic === topic
