import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Outcome, RawWebhook } from '#connections'
import { createOutbound } from '#core/outbound.ts'
import { mercadopago } from '../mercadopago.ts'
import type { Context, Credentials } from '../mercadopago-call.ts'
import type { CheckoutCommand, PaymentCommand, PaymentRef, SubscriptionCommand } from '../provider.ts'

export const paymentId = 'pay_01k5fake0000000000000000ab'
export const subscriptionId = 'sub_01k5fake0000000000000000ab'
export const preferenceId = '2079614828-d15159b1-0000-4000-8000-00000000fake'
export const accessToken = 'TEST-1234567890123456-112200-fake0fake0fake0fake0fake0fake0fa-44444'
export const webhookSecret = 'mp_secret_tenantA'
export const webhookUrl = 'https://pipe.example.com/webhooks/payment?tenant_id=t_1&provider=mercadopago'
export const returnUrl = 'https://pipe.example.com/payments/return/rt_1'
export const now = new Date('2026-11-22T12:00:00Z')

export function readCredentials(changes: Record<string, unknown> = {}): Credentials {
  return mercadopago.credentials.parse({ accessToken, webhookSecret, currency: 'CLP', ...changes })
}

const newPayment = {
  paymentId,
  tenantId: 't_1',
  amount: 12_990,
  currency: 'CLP',
  capture: 'automatic',
  customer: { email: 'ana@example.com' },
  metadata: {},
  returnUrl,
  key: paymentId,
} as const

export const cardChoice = { kind: 'token', token: 'tok_fake', brand: 'visa', issuer: '166' } as const
export const savedChoice = {
  kind: 'saved',
  token: { customer: '123-cus', card: '9876', brand: 'master', issuer: '24' },
  customer: {},
} as const

export function createPaymentCommand(changes: Partial<PaymentCommand> = {}): PaymentCommand {
  return { ...newPayment, method: cardChoice, installments: 1, offSession: false, ...changes }
}

export function createCheckoutCommand(changes: Partial<CheckoutCommand> = {}): CheckoutCommand {
  const items = [{ title: 'Almuerzo', quantity: 1, unitAmount: 12_990 }]
  return { ...newPayment, items, cancelUrl: returnUrl, ...changes }
}

export function createSubscriptionCommand(changes: Partial<SubscriptionCommand> = {}): SubscriptionCommand {
  const { tenantId, customer, metadata } = newPayment
  return {
    subscriptionId,
    tenantId,
    amount: 9_990,
    currency: 'CLP',
    interval: 'month',
    intervalCount: 1,
    description: 'Plan',
    customer,
    metadata,
    returnUrl,
    key: subscriptionId,
    ...changes,
  }
}

/** Of a direct payment made an hour ago. */
export function createRef(changes: Partial<PaymentRef> = {}): PaymentRef {
  return {
    paymentId,
    flow: 'direct',
    providerPaymentId: '123',
    amount: 12_990,
    currency: 'CLP',
    captured: 0,
    refunded: 0,
    capture: 'automatic',
    createdAt: new Date(now.getTime() - 3600_000),
    details: {},
    ...changes,
  }
}

/** A payment as MercadoPago answers it: approved until something else is said. */
export function payment(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: 123,
    date_created: '2026-11-22T07:00:00.000-04:00',
    date_approved: '2026-11-22T07:00:01.000-04:00',
    date_last_updated: '2026-11-22T07:00:01.000-04:00',
    date_of_expiration: null,
    issuer_id: '166',
    payment_method_id: 'visa',
    payment_type_id: 'credit_card',
    status: 'approved',
    status_detail: 'accredited',
    currency_id: 'CLP',
    live_mode: false,
    external_reference: paymentId,
    transaction_amount: 12_990,
    transaction_amount_refunded: 0,
    captured: true,
    installments: 1,
    card: { last_four_digits: '7115' },
    refunds: [],
    ...changes,
  }
}

export function preference(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const init_point = `https://www.mercadopago.cl/checkout/v1/redirect?pref_id=${preferenceId}`
  const sandbox_init_point = init_point.replace('www', 'sandbox')
  return { id: preferenceId, init_point, sandbox_init_point, external_reference: paymentId, ...changes }
}

export function found(...results: unknown[]): Record<string, unknown> {
  return { paging: { total: results.length, limit: 50, offset: 0 }, results }
}

export function fail(code: number | string, description: string): Record<string, unknown> {
  return { message: description, error: 'bad_request', cause: [{ code, description, data: null }] }
}

export interface RecordedCall {
  method: string
  /** With its query. */
  target: string
  headers: Record<string, string | undefined>
  body: unknown
}

interface Answer {
  status?: number
  headers?: Record<string, string>
  /** A text goes out as it is. */
  body: unknown
}

export interface Double {
  url: string
  calls: RecordedCall[]
  /** Answers of `POST /v1/payments`, by method and path; the last one stays. */
  on(route: string, ...answers: Array<Answer | Record<string, unknown> | unknown[]>): void
  /** Forgets calls and answers. */
  reset(): void
  context(changes?: Record<string, unknown>, more?: Partial<Context>): Context
  close(): Promise<void>
}

/** Stands in for MercadoPago: keeps every call and answers what it is told to. */
export async function startDouble(): Promise<Double> {
  const calls: RecordedCall[] = []
  const routes = new Map<string, unknown[]>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const { method = '', url: target = '' } = request
      const headers = request.headers as RecordedCall['headers']
      calls.push({ method, target, headers, body: text === '' ? undefined : JSON.parse(text) })
      const answers = routes.get(`${method} ${target.split('?')[0]}`)
      const answer = readAnswer(answers && (answers.length > 1 ? answers.shift() : answers[0]))
      const isText = typeof answer.body === 'string'
      response.writeHead(answer.status ?? 200, {
        'content-type': isText ? 'text/html' : 'application/json',
        ...answer.headers,
      })
      response.end(isText ? answer.body : JSON.stringify(answer.body))
    })
  })
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  return {
    url,
    calls,
    on: (route, ...answers) => void routes.set(route, answers),
    reset: () => {
      calls.length = 0
      routes.clear()
    },
    context: (changes, more) => ({
      credentials: readCredentials(changes),
      baseUrl: url,
      webhookUrl,
      outbound,
      timeoutMs: 5_000,
      now: () => now,
      ...more,
    }),
    close: async () => {
      await outbound.close()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function readAnswer(given: unknown): Answer {
  if (given === undefined)
    return { status: 404, body: { message: 'not found', error: 'not_found', cause: [] } }
  const isAnswer = typeof given === 'object' && given !== null && 'body' in given
  return isAnswer ? (given as Answer) : { body: given }
}

/** A webhook at our address with MercadoPago's own parameters behind it. */
export function createWebhook(
  parameters: string,
  body: unknown,
  headers: Record<string, string> = {},
): RawWebhook {
  const publicUrl = `${webhookUrl}&source_news=webhooks&${parameters}`
  return {
    method: 'POST',
    publicUrl,
    query: new URL(publicUrl).searchParams,
    headers,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  }
}

export function snapshotOf<Snapshot>(outcome: Outcome<{ snapshot: Snapshot }> | undefined): Snapshot {
  assert.ok(outcome?.outcome === 'done', JSON.stringify(outcome))
  return outcome.snapshot
}

export function errorOf(outcome: Outcome<unknown> | undefined) {
  assert.ok(outcome && outcome.outcome !== 'done', JSON.stringify(outcome))
  return { outcome: outcome.outcome, ...outcome.error }
}
