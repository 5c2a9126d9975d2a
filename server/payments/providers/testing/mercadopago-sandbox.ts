import assert from 'node:assert/strict'
import { createId } from '#core/ids.ts'
import { createOutbound } from '#core/outbound.ts'
import { type RecordedRequest, startRecorder } from '../../../testing/recorder.ts'
import { startSandbox } from '../../../testing/sandbox.ts'
import { mercadopago } from '../mercadopago.ts'
import type { Context } from '../mercadopago-call.ts'
import type {
  MethodChoice,
  PaymentCommand,
  PaymentRef,
  PaymentSnapshot,
  SubscriptionRef,
} from '../provider.ts'
import { createCheckoutCommand, createPaymentCommand, readCredentials, snapshotOf } from './mercadopago.ts'

const accessToken = 'TEST-1234567890123456-112200-fake0fake0fake0fake0fake0fake0fa-123456789'

export type Body = Record<string, unknown>

export interface MercadopagoSandbox {
  context(changes?: Record<string, unknown>, timeoutMs?: number): Context
  control(method: string, path: string, body: unknown): Promise<Body>
  setAccount(options: Body): Promise<void>
  /** The next call of this kind for this reference goes wrong. */
  play(fault: string, operation: string, reference: string): Promise<void>
  act(action: string, input: Body): Promise<Body>
  /** Moves the clock of the sandbox, and ours with it. */
  wait(ms: number): Promise<void>
  /** What MercadoPago's own books hold under a reference. */
  listBooked(reference: string): string[]
  charge(changes?: Partial<PaymentCommand>): Promise<PaymentRef>
  openPage(): Promise<PaymentRef>
  /** The customer acts on the page; answers the parameters of the return. */
  choose(id: string | undefined, choice: string, more?: Body): Promise<URLSearchParams>
  read(ref: PaymentRef): Promise<PaymentSnapshot>
  /** The genuine webhook that fits, once it has come. */
  receive(fits: (webhook: RecordedRequest) => boolean): Promise<RecordedRequest>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** The simulated MercadoPago with one Chilean seller whose webhooks come to us. */
export async function startMercadopagoSandbox(test: Test): Promise<MercadopagoSandbox> {
  const receiver = await startRecorder(() => ({ status: 200 }))
  const sandbox = await startSandbox({ port: 0, callbackDelayMs: 5 })
  const outbound = createOutbound({ allowPrivateAddresses: true })
  test.after(async () => {
    await sandbox.close()
    await receiver.close()
    await outbound.close()
  })
  const webhookUrl = `${receiver.url}/webhook?tenant_id=t_1&provider=mercadopago`
  const control: MercadopagoSandbox['control'] = async (method, path, body) => {
    const init = { method, body: JSON.stringify(body) }
    const response = await fetch(`${sandbox.url}/sandbox/${path}`, init)
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`)
    return (await response.json()) as Body
  }
  const account = await control('PUT', `accounts/mercadopago/${accessToken}`, { webhook_url: webhookUrl })
  const own = { accessToken, webhookSecret: account.webhook_secret, currency: undefined }
  const context: MercadopagoSandbox['context'] = (changes, timeoutMs = 5_000) => ({
    credentials: readCredentials({ ...own, ...changes }),
    baseUrl: sandbox.providerUrls.mercadopago,
    webhookUrl,
    outbound,
    timeoutMs,
    now: () => sandbox.world.now(),
  })
  return {
    context,
    control,
    setAccount: async (options) =>
      void (await control('PUT', `accounts/mercadopago/${accessToken}`, options)),
    play: async (fault, operation, reference) => {
      const rule = { provider: 'mercadopago', fault, operation, reference, times: 1 }
      await control('POST', 'payment-faults', rule)
    },
    act: (action, input) => control('POST', 'act', { provider: 'mercadopago', action, ...input }),
    wait: async (ms) => {
      const { settings } = sandbox.world
      await control('PATCH', 'settings', { clock_offset_ms: settings.clock_offset_ms + ms })
    },
    listBooked: (reference) =>
      sandbox.world.ledger
        .filter((entry) => entry.reference === reference)
        .map(({ kind, amount }) => `${kind} ${amount}`),
    ...createShop(control, context),
    receive: (fits) => receiver.find(fits),
  }
}

function createShop(
  control: MercadopagoSandbox['control'],
  context: MercadopagoSandbox['context'],
): Pick<MercadopagoSandbox, 'charge' | 'openPage' | 'choose' | 'read'> {
  return {
    async charge(changes = {}) {
      const command = createSandboxPayment(context().now(), changes)
      const snapshot = snapshotOf(await mercadopago.createPayment?.(command, context()))
      return follow(startRef(command, context().now()), snapshot)
    },
    async openPage() {
      const paymentId = createId('pay', context().now())
      const command = createCheckoutCommand({ paymentId, key: paymentId })
      const snapshot = snapshotOf(await mercadopago.createCheckout(command, context()))
      return follow({ ...startRef(command, context().now()), flow: 'checkout' }, snapshot)
    },
    async choose(id, choice, more) {
      const { next } = await control('POST', 'pay', { provider: 'mercadopago', id, choice, ...more })
      return new URLSearchParams((next as { fields: Record<string, string> } | null)?.fields)
    },
    async read(ref) {
      const snapshot = snapshotOf(await mercadopago.read(ref, context()))
      assert.ok(snapshot)
      return snapshot
    },
  }
}

export function createSandboxPayment(now: Date, changes: Partial<PaymentCommand> = {}): PaymentCommand {
  const paymentId = createId('pay', now)
  return createPaymentCommand({ paymentId, key: paymentId, method: cardOf('tok_apro'), ...changes })
}

export function cardOf(token: string): MethodChoice {
  return { kind: 'token', token, brand: 'visa' }
}

type Made = Pick<PaymentCommand, 'paymentId' | 'amount' | 'currency' | 'capture'>

export function startRef({ paymentId, amount, currency, capture }: Made, createdAt: Date): PaymentRef {
  const money = { amount, currency, captured: 0, refunded: 0 }
  return { paymentId, flow: 'direct', capture, createdAt, details: {}, ...money }
}

/** The payment as it is known after a snapshot. */
export function follow(ref: PaymentRef, snapshot: PaymentSnapshot): PaymentRef {
  const { captured, refunded } = snapshot
  const providerPaymentId = snapshot.providerPaymentId ?? ref.providerPaymentId
  const providerCheckoutId = snapshot.providerCheckoutId ?? ref.providerCheckoutId
  return {
    ...ref,
    captured,
    refunded,
    ...(providerPaymentId && { providerPaymentId }),
    ...(providerCheckoutId && { providerCheckoutId }),
  }
}

export function startSubscriptionRef(
  subscriptionId: string,
  createdAt: Date,
  providerSubscriptionId?: string,
): SubscriptionRef {
  const money = { amount: 9_990, currency: 'CLP' }
  return {
    subscriptionId,
    ...(providerSubscriptionId && { providerSubscriptionId }),
    ...money,
    createdAt,
    details: {},
  }
}
