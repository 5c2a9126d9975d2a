import assert from 'node:assert/strict'
import Stripe from 'stripe'
import type { Outcome, ProviderContext } from '#connections'
import { createOutbound } from '#core/outbound.ts'
import { type RecordedRequest, startRecorder } from '../../../testing/recorder.ts'
import type {
  CheckoutCommand,
  MethodCommand,
  PaymentCommand,
  PaymentRef,
  PaymentSnapshot,
} from '../provider.ts'
import type { SubscriptionCommand, SubscriptionRef } from '../provider.ts'
import { type Credentials, stripe } from '../stripe.ts'

export const paymentId = 'pay_01k5fake0000000000000000ab'
export const subscriptionId = 'sub_01k5fake0000000000000000cd'
export const secretKey = 'sk_test_fake_secret_key'
export const webhookSecret = 'whsec_pipecore_test_secret'
export const now = new Date('2026-11-22T12:00:00Z')
export const createdAt = new Date(now.getTime() - 5 * 60_000)
export const returnUrl = 'https://pipe.example.com/payments/return/rt_1'
export const key = 'key_1'

export function readAccount(changes: Record<string, unknown> = {}): Credentials {
  return stripe.credentials.parse({ secretKey, webhookSecret, ...changes }) as Credentials
}

const newPayment = {
  paymentId,
  tenantId: 't_1',
  amount: 12_990,
  currency: 'CLP',
  capture: 'automatic',
  description: 'Pedido 42',
  customer: { email: 'ana@example.com' },
  metadata: { order: '42' },
  returnUrl,
  key,
} as const

export function createPaymentCommand(changes: Partial<PaymentCommand> = {}): PaymentCommand {
  const method = { kind: 'token', token: 'pm_card_visa' } as const
  return { ...newPayment, method, installments: 1, offSession: false, ...changes }
}

export const savedMethod = {
  kind: 'saved',
  token: { customer: 'cus_1', payment_method: 'pm_1' },
  customer: {},
} as const

export function createCheckoutCommand(changes: Partial<CheckoutCommand> = {}): CheckoutCommand {
  const items = [
    { title: 'Almuerzo', quantity: 2, unitAmount: 6_000 },
    { title: 'Propina', quantity: 1, unitAmount: 990 },
  ]
  return { ...newPayment, items, cancelUrl: `${returnUrl}?pipecore_canceled=1`, ...changes }
}

export function createRef(changes: Partial<PaymentRef> = {}): PaymentRef {
  return {
    paymentId,
    flow: 'direct',
    providerPaymentId: 'pi_1',
    amount: 12_990,
    currency: 'CLP',
    captured: 0,
    refunded: 0,
    capture: 'automatic',
    createdAt,
    details: {},
    ...changes,
  }
}

export const checkoutRef = (changes: Partial<PaymentRef> = {}) =>
  createRef({ flow: 'checkout', providerPaymentId: undefined, providerCheckoutId: 'cs_test_1', ...changes })

export function createMethodCommand(changes: Partial<MethodCommand> = {}): MethodCommand {
  const customer = { reference: 'customer_1', email: 'ana@example.com', name: 'Ana', phone: '+56911112222' }
  return { methodId: 'pmt_1', tenantId: 't_1', customer, returnUrl, key: 'pmt_1', ...changes }
}

export function createSubscriptionCommand(changes: Partial<SubscriptionCommand> = {}): SubscriptionCommand {
  return {
    subscriptionId,
    tenantId: 't_1',
    amount: 2_000,
    currency: 'USD',
    interval: 'month',
    intervalCount: 1,
    description: 'Plan mensual',
    customer: { reference: 'customer_1', email: 'ana@example.com' },
    method: savedMethod,
    metadata: { plan: 'pro' },
    returnUrl,
    key,
    ...changes,
  }
}

export function createSubscriptionRef(changes: Partial<SubscriptionRef> = {}): SubscriptionRef {
  return {
    subscriptionId,
    providerSubscriptionId: 'sub_1',
    amount: 2_000,
    currency: 'USD',
    createdAt,
    details: {},
    ...changes,
  }
}

type Fields = Record<string, unknown>

export function createIntent(changes: Fields = {}): Fields {
  return {
    id: 'pi_1',
    object: 'payment_intent',
    amount: 12_990,
    amount_received: 12_990,
    currency: 'clp',
    status: 'succeeded',
    metadata: { pipecore_payment_id: paymentId },
    latest_charge: createCharge(),
    last_payment_error: null,
    next_action: null,
    ...changes,
  }
}

export function createCharge(changes: Fields = {}): Fields {
  return {
    id: 'ch_1',
    object: 'charge',
    amount: 12_990,
    amount_refunded: 0,
    disputed: false,
    refunds: listOf([]),
    payment_method_details: { type: 'card', card: { brand: 'visa', last4: '4242', funding: 'credit' } },
    ...changes,
  }
}

export function createSession(changes: Fields = {}): Fields {
  return {
    id: 'cs_test_1',
    object: 'checkout.session',
    mode: 'payment',
    url: 'https://checkout.stripe.com/c/pay/cs_test_1',
    status: 'open',
    payment_status: 'unpaid',
    amount_total: 12_990,
    currency: 'clp',
    expires_at: 1_795_435_200,
    payment_intent: null,
    metadata: { pipecore_payment_id: paymentId },
    ...changes,
  }
}

export function createRefund(changes: Fields = {}): Fields {
  return {
    id: 're_1',
    object: 'refund',
    amount: 1_000,
    currency: 'clp',
    payment_intent: 'pi_1',
    status: 'succeeded',
    metadata: { pipecore_refund_id: 'rfd_1' },
    destination_details: { type: 'card', card: { type: 'refund' } },
    ...changes,
  }
}

export function createSubscription(changes: Fields = {}): Fields {
  const recurring = { interval: 'month', interval_count: 1 }
  const price = { id: 'price_1', product: 'prod_1', unit_amount: 2_000, recurring }
  const period = { current_period_start: 1_795_000_000, current_period_end: 1_797_592_000 }
  return {
    id: 'sub_1',
    object: 'subscription',
    status: 'active',
    customer: 'cus_1',
    currency: 'usd',
    cancel_at_period_end: false,
    trial_end: null,
    pause_collection: null,
    items: listOf([{ id: 'si_1', quantity: 1, price, ...period }]),
    metadata: { pipecore_subscription_id: subscriptionId },
    ...changes,
  }
}

export function createInvoice(changes: Fields = {}): Fields {
  return {
    id: 'in_1',
    object: 'invoice',
    status: 'paid',
    billing_reason: 'subscription_cycle',
    amount_due: 2_000,
    amount_paid: 2_000,
    currency: 'usd',
    attempt_count: 1,
    next_payment_attempt: null,
    hosted_invoice_url: 'https://invoice.stripe.com/i/1',
    period_start: 1_792_408_000,
    period_end: 1_795_000_000,
    lines: listOf([{ id: 'il_1', period: { start: 1_795_000_000, end: 1_797_592_000 } }]),
    payments: listOf([{ id: 'inpay_1', payment: { type: 'payment_intent', payment_intent: 'pi_9' } }]),
    ...changes,
  }
}

export function listOf(data: readonly Fields[], hasMore = false): Fields {
  return { object: 'list', has_more: hasMore, data }
}

export function createError(error: Fields): Fields {
  return { error: { type: 'invalid_request_error', ...error } }
}

export interface Answer {
  status?: number
  headers?: Record<string, string>
  /** A text goes out as it is. */
  body: unknown
}

const missing: Answer = {
  status: 404,
  body: createError({ code: 'resource_missing', message: 'No such object.', param: 'id' }),
}

export interface Desk {
  url: string
  requests: RecordedRequest[]
  /** Answers by `POST /v1/refunds`: each in turn, the last one for good. What is not named is not there. */
  answers: (plan: Record<string, Fields | readonly Answer[]>) => void
  context: (changes?: Fields, more?: Partial<ProviderContext<Credentials>>) => ProviderContext<Credentials>
  sdk: () => Stripe
  /** Of the requests since the last call of this: what tells them apart for Stripe. */
  taken: () => TakenRequest[]
}

export interface TakenRequest {
  call: string
  /** Of the query or the form, sorted. */
  fields: Array<[name: string, value: string]>
  headers: Record<string, string | undefined>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** Stands in for Stripe: keeps every call and answers what it is told to. */
export async function startDesk(test: Test): Promise<Desk> {
  let plan = new Map<string, Answer[]>()
  let seen = 0
  const recorder = await startRecorder((request) => {
    const { pathname } = new URL(request.publicUrl)
    const left = plan.get(`${request.method} ${pathname}`) ?? [missing]
    const { status = 200, headers, body } = (left.length > 1 ? left.shift() : left[0]) ?? missing
    const isText = typeof body === 'string'
    return { status, ...(headers && { headers }), body: isText ? body : JSON.stringify(body) }
  })
  const outbound = createOutbound({ allowPrivateAddresses: true })
  test.after(async () => {
    await outbound.close()
    await recorder.close()
  })
  return {
    url: recorder.url,
    requests: recorder.requests,
    answers: (next) => {
      plan = new Map(
        Object.entries(next).map(([call, answer]) => [
          call,
          Array.isArray(answer) ? [...answer] : [{ body: answer }],
        ]),
      )
      seen = recorder.requests.length
    },
    context: (changes, more) => ({
      credentials: readAccount(changes),
      baseUrl: recorder.url,
      webhookUrl: 'https://pipe.example.com/webhooks/payment?tenant_id=t_1&provider=stripe',
      outbound,
      timeoutMs: 5_000,
      now: () => now,
      ...more,
    }),
    sdk: () => {
      const { hostname: host, port } = new URL(recorder.url)
      return new Stripe(secretKey, { host, port, protocol: 'http', maxNetworkRetries: 0, telemetry: false })
    },
    taken: () => {
      const requests = recorder.requests.slice(seen)
      seen = recorder.requests.length
      return requests.map(describeRequest)
    },
  }
}

const comparedHeaders = ['authorization', 'stripe-version', 'stripe-account', 'idempotency-key']

function describeRequest({ method, publicUrl, headers, body, query }: RecordedRequest): TakenRequest {
  const fields = [...query, ...new URLSearchParams(body.toString())] as TakenRequest['fields']
  const compared = method === 'POST' ? [...comparedHeaders, 'content-type'] : comparedHeaders
  return {
    call: `${method} ${new URL(publicUrl).pathname}`,
    fields: fields.toSorted(([a], [b]) => (a < b ? -1 : 1)),
    headers: Object.fromEntries(compared.map((name) => [name, headers[name]])),
  }
}

/** What a verb found, once it was done. */
export function expectDone<Done extends object>(outcome: Outcome<Done> | undefined): Done {
  assert.ok(outcome?.outcome === 'done', JSON.stringify(outcome))
  return outcome
}

export function expectSnapshot(outcome: Outcome<{ snapshot: PaymentSnapshot | undefined }>): PaymentSnapshot {
  const { snapshot } = expectDone(outcome)
  assert.ok(snapshot, 'Stripe knows the payment')
  return snapshot
}

export function expectNotDone(outcome: Outcome<object> | undefined) {
  assert.ok(outcome !== undefined && outcome.outcome !== 'done', JSON.stringify(outcome))
  return { outcome: outcome.outcome, ...outcome.error }
}
