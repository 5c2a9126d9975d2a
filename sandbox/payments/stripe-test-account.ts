import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import Stripe from 'stripe'
import { startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Receiver, TestSandbox } from '../test-receiver.ts'

export const KEY = 'sk_test_fakeTenantA'
export const SECRET = 'whsec_pipecore_test_secret'
const DAY_MS = 24 * 60 * 60 * 1_000

export type Played = { state: string; next: { url: string; fields: Record<string, string> } | null }

export type TestAccount = {
  sandbox: TestSandbox
  receiver: Receiver
  stripe: Stripe
  /** What a customer does on a page. */
  pay: (id: string, choice: string, extra?: Record<string, string>) => Promise<Played>
  act: (action: string, input: Record<string, unknown>) => Promise<Record<string, unknown>>
  /** Moves the sandbox's clock, counted from now. */
  jump: (days: number) => Promise<void>
  /** Waits until one webhook of each type has come; answers those, each verified by the SDK. */
  waitForEvents: (...types: string[]) => Promise<Stripe.Event[]>
  /** All that came so far, in the order it came. */
  typesSoFar: () => string[]
  /** What moved for a payment, by the simulator's own books. */
  ledgerOf: (reference: string) => Promise<Record<string, number> | undefined>
}

/** An account whose webhooks reach a receiver, and the official SDK pointed at it. */
export async function startStripe(
  t: TestContext,
  account: Record<string, unknown> = {},
): Promise<TestAccount> {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const webhook = { webhook_url: `${receiver.url}/stripe?tenant_id=t_1`, webhook_secret: SECRET }
  await sandbox.control('PUT', `/accounts/stripe/${KEY}`, { ...webhook, ...account })
  let offsetDays = 0
  const typeOf = (body: Buffer) => (JSON.parse(body.toString()) as { type: string }).type
  return {
    sandbox,
    receiver,
    stripe: connectStripe(sandbox),
    pay: async (id, choice, extra = {}) =>
      (await sandbox.control('POST', '/pay', { provider: 'stripe', id, choice, ...extra })) as Played,
    act: (action, input) => sandbox.control('POST', '/act', { provider: 'stripe', action, ...input }),
    async jump(days) {
      offsetDays += days
      await sandbox.control('PATCH', '/settings', { clock_offset_ms: offsetDays * DAY_MS })
    },
    async waitForEvents(...types) {
      const found = types.map(async (type) => {
        const [received] = await receiver.waitFor(1, ({ body }) => typeOf(body) === type)
        const signature = received!.headers['stripe-signature'] ?? ''
        const signedAt = Number(/t=(\d+)/.exec(signature)?.[1]) * 1_000
        return Stripe.webhooks.constructEvent(received!.body, signature, SECRET, 300, undefined, signedAt)
      })
      return Promise.all(found)
    },
    typesSoFar: () => receiver.received.map(({ body }) => typeOf(body)),
    async ledgerOf(reference) {
      const { totals } = await sandbox.control('GET', `/ledger?provider=stripe&reference=${reference}`)
      return (totals as Record<string, Record<string, number>>)[reference]
    },
  }
}

/** The SDK has no setting for a path, so its requests are moved below the simulator's prefix. */
export function connectStripe(sandbox: TestSandbox, key = KEY, options: Stripe.StripeConfig = {}): Stripe {
  const httpClient = Stripe.createFetchHttpClient((url: string | URL | Request, init?: RequestInit) => {
    const { pathname, search } = new URL(url instanceof Request ? url.url : url)
    return fetch(`${sandbox.url}/stripe${pathname}${search}`, init)
  })
  return new Stripe(key, { httpClient, maxNetworkRetries: 0, telemetry: false, timeout: 5_000, ...options })
}

type StripeFailure = InstanceType<typeof Stripe.errors.StripeError>

/** The SDK's error of a call that has to fail. */
export async function failureOf(call: Promise<unknown>): Promise<StripeFailure> {
  try {
    await call
  } catch (error) {
    assert.ok(error instanceof Stripe.errors.StripeError, String(error))
    return error
  }
  return assert.fail('the call was answered')
}
