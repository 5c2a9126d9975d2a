import assert from 'node:assert/strict'
import type { ProviderContext } from '#connections'
import { createId } from '#core/ids.ts'
import { createOutbound } from '#core/outbound.ts'
import { type Sandbox, startSandbox } from '../../../testing/sandbox.ts'
import type { PaymentRef, PaymentSnapshot, ReturnReading } from '../provider.ts'
import type { Credentials } from '../transbank-account.ts'
import { transbank } from '../transbank.ts'
import { createCheckoutCommand, readAccount } from './transbank.ts'

const apiKey = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'
const bare = {
  oneclickCommerceCode: undefined,
  oneclickChildCommerceCode: undefined,
  oneclickApiKey: undefined,
}
const accounts = {
  plain: { ...bare, apiKey, commerceCode: '597055555532' },
  deferred: { ...bare, apiKey, commerceCode: '597055555540', deferred: true },
  mall: { ...bare, apiKey, commerceCode: '597055555535', mallChildCommerceCode: '597055555536' },
  deferredMall: {
    ...bare,
    apiKey,
    commerceCode: '597055555581',
    mallChildCommerceCode: '597055555582',
    deferred: true,
  },
  oneclick: {
    apiKey,
    commerceCode: '597055555532',
    oneclickCommerceCode: '597055555541',
    oneclickChildCommerceCode: '597055555542',
    oneclickApiKey: undefined,
  },
  deferredOneclick: {
    apiKey,
    commerceCode: '597055555532',
    oneclickCommerceCode: '597055555547',
    oneclickChildCommerceCode: '597055555548',
    oneclickApiKey: undefined,
    oneclickDeferred: true,
  },
}

export type AccountName = keyof typeof accounts
export const accountNames = Object.keys(accounts) as AccountName[]

export const minuteMs = 60_000
export const dayMs = 24 * 60 * minuteMs

export interface TransbankSandbox {
  context(name: AccountName, timeoutMs?: number): ProviderContext<Credentials>
  control(method: string, path: string, body: unknown): Promise<Record<string, unknown>>
  /** The next call of this kind for this payment goes wrong. */
  play(fault: string, operation: string, paymentId: string): Promise<void>
  /** Moves the clock of the sandbox, and ours with it. */
  wait(ms: number): Promise<void>
  /** What Transbank's own books hold of a payment. */
  listBooked(paymentId: string): string[]
  read(ref: PaymentRef, name: AccountName): Promise<PaymentSnapshot>
  openCheckout(name: AccountName): Promise<PaymentRef>
  /** The customer acts on the page; answers what the return means. */
  pay(ref: PaymentRef, choice: string, more?: object): Promise<ReturnReading | undefined>
  buy(name: AccountName): Promise<PaymentRef>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** The simulated Transbank with its public test codes. */
export async function startTransbankSandbox(test: Test): Promise<TransbankSandbox> {
  const sandbox = await startSandbox({ port: 0, callbackDelayMs: 5 })
  const outbound = createOutbound({ allowPrivateAddresses: true })
  test.after(async () => {
    await sandbox.close()
    await outbound.close()
  })
  const context: TransbankSandbox['context'] = (name, timeoutMs = 5_000) => ({
    credentials: readAccount(accounts[name]),
    baseUrl: sandbox.providerUrls.transbank,
    webhookUrl: 'https://pipe.example.com/webhooks/payment',
    outbound,
    timeoutMs,
    now: () => sandbox.world.now(),
  })
  return { ...createControl(sandbox), ...createShop(sandbox, context), context }
}

function createControl(sandbox: Sandbox): Pick<TransbankSandbox, 'control' | 'play' | 'wait' | 'listBooked'> {
  const control: TransbankSandbox['control'] = (method, path, body) =>
    callControl(sandbox, method, path, body)
  return {
    control,
    async play(fault, operation, paymentId) {
      const rule = { provider: 'transbank', fault, operation, reference: orderOf(paymentId), times: 1 }
      await control('POST', 'payment-faults', rule)
    },
    async wait(ms) {
      const { settings } = sandbox.world
      await control('PATCH', 'settings', { clock_offset_ms: settings.clock_offset_ms + ms })
    },
    listBooked: (paymentId) =>
      sandbox.world.ledger
        .filter(({ reference }) => reference === orderOf(paymentId))
        .map(({ kind, amount }) => `${kind} ${amount}`),
  }
}

function orderOf(paymentId: string): string {
  return paymentId.slice('pay_'.length)
}

async function callControl(sandbox: Sandbox, method: string, path: string, body: unknown) {
  const response = await fetch(`${sandbox.url}/sandbox/${path}`, { method, body: JSON.stringify(body) })
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`)
  return (await response.json()) as Record<string, unknown>
}

function createShop(
  sandbox: Sandbox,
  context: TransbankSandbox['context'],
): Pick<TransbankSandbox, 'read' | 'openCheckout' | 'pay' | 'buy'> {
  const openCheckout = async (name: AccountName) => {
    const capture = name.startsWith('deferred') ? 'manual' : 'automatic'
    const paymentId = createId('pay', sandbox.world.now())
    const command = createCheckoutCommand({ paymentId, capture })
    const { snapshot } = unpack(await transbank.createCheckout(command, context(name)))
    assert.equal(snapshot.status, 'requires_action')
    return follow(startRef(paymentId, 'checkout', capture, sandbox.world.now()), snapshot)
  }
  const pay: TransbankSandbox['pay'] = async (ref, choice, more) => {
    const input = { provider: 'transbank', id: ref.providerCheckoutId, choice, ...more }
    const { next } = await callControl(sandbox, 'POST', 'pay', input)
    const fields = (next as { fields: Record<string, string> } | null)?.fields ?? {}
    return transbank.readReturn?.(ref, new URLSearchParams(fields))
  }
  return {
    openCheckout,
    pay,
    async read(ref, name) {
      const { snapshot } = unpack(await transbank.read(ref, context(name)))
      assert.ok(snapshot)
      return snapshot
    },
    async buy(name) {
      const ref = await openCheckout(name)
      assert.deepEqual(await pay(ref, 'approve'), { next: 'commit' })
      const { snapshot } = unpack(await transbank.commit?.(ref, context(name)))
      assert.equal(snapshot.status, ref.capture === 'manual' ? 'authorized' : 'confirmed')
      return follow(ref, snapshot)
    },
  }
}

export function startRef(
  paymentId: string,
  flow: PaymentRef['flow'],
  capture: PaymentRef['capture'],
  createdAt: Date,
): PaymentRef {
  const money = { amount: 10_000, currency: 'CLP', captured: 0, refunded: 0 }
  return { paymentId, flow, capture, createdAt, details: {}, ...money }
}

/** The payment as it is known after a snapshot. */
export function follow(ref: PaymentRef, snapshot: PaymentSnapshot): PaymentRef {
  const { captured, refunded, providerCheckoutId = ref.providerCheckoutId } = snapshot
  const details = { ...ref.details, ...snapshot.details }
  return { ...ref, captured, refunded, details, ...(providerCheckoutId && { providerCheckoutId }) }
}

/** What a call that has to succeed brought. */
export function unpack<Done extends object>(
  outcome: ({ outcome: 'done' } & Done) | { outcome: string } | undefined,
): Done {
  assert.equal(outcome?.outcome, 'done', JSON.stringify(outcome))
  return outcome as unknown as Done
}
