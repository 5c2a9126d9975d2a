import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Receiver, startReceiver } from '../../testing/receiver.ts'
import { startTestServer, type TestServer, type TestServerOptions } from '../../testing/server.ts'
import type { Payment, Story } from '../schema.ts'

export const tenantId = 'tableflow_123'
export type ProviderId = 'mercadopago' | 'transbank' | 'stripe'

/** Public test codes of Transbank; the others are plainly fake. */
export const accounts = {
  stripe: 'sk_test_tableflow',
  mercadopago: 'TEST-tableflow-access-token',
  webpay: '597055555532',
  deferredWebpay: '597055555540',
  oneclick: '597055555541',
  oneclickChild: '597055555542',
  transbankKey: '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C',
} as const

export interface Totals {
  authorized: number
  charged: number
  refunded: number
  voided: number
  charges: number
  refunds: number
}

export interface ReceivedEvent {
  event: string
  [field: string]: unknown
}

interface Act {
  /** false: the browser is closed before it goes back. */
  follow?: boolean
  [field: string]: unknown
}

export interface PaymentsServer extends TestServer {
  /** The tenant's backend: gets every event. */
  receiver: Receiver
  pay(body: Record<string, unknown>, headers?: Record<string, string>): Promise<Payment>
  refuse(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ status: number; code: string; detail: string }>
  read(id: string): Promise<Payment>
  story(id: string): Promise<Story>
  /** Waits until a payment is as wanted; rejects after the deadline with how it is. */
  until(id: string, fits: (payment: Payment) => boolean, deadlineMs?: number): Promise<Payment>
  /** As `until`, while minutes pass: for what the janitor has to find out. */
  waitFor(id: string, fits: (payment: Payment) => boolean): Promise<Payment>
  /** Events about an entity that the backend has taken, in order, once it has taken those wanted. */
  eventsOf(id: string, wanted?: readonly string[]): Promise<ReceivedEvent[]>
  /** Talks to the sandbox's control API. */
  control<Answer = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<Answer>
  /** What the customer does on the provider's page; follows the browser back through PipeCore. */
  customer(provider: ProviderId, payment: Payment, choice: string, extra?: Act): Promise<URL | undefined>
  /** The provider's books about a payment. */
  books(provider: ProviderId, payment: { id: string }): Promise<Totals>
  connections: Record<ProviderId, string>
  /** Moves PipeCore's clock and the providers'. */
  passTime(ms: number): Promise<void>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** A tenant with accounts at all payment providers, simulated, and a backend that takes its events. */
export async function startPaymentsServer(
  test: Test,
  settings: Record<string, string> = {},
  role?: TestServerOptions['role'],
): Promise<PaymentsServer> {
  let offsetMs = 0
  const now = () => new Date(Date.now() + offsetMs)
  const started = await startTestServer(test, { now, settings, ...(role !== undefined && { role }) })
  const receiver = await startReceiver(test)
  const { api } = started
  const control = controlOf(started.sandbox.url)
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  await api.call('POST', '/tenants', { id: tenantId, product_id: 'tableflow', name: 'Restaurant' })
  await api.call('POST', '/webhooks/endpoints', { url: receiver.url, tenant_id: tenantId, events: ['*'] })
  const connections = await connectProviders(started, control)
  const passTime = async (ms: number) => {
    offsetMs += ms
    await control('PATCH', 'settings', { clock_offset_ms: offsetMs })
  }
  const read = async (id: string) => (await api.call<Payment>('GET', `/payments/${id}`)).body
  return {
    ...started,
    receiver,
    control,
    connections,
    passTime,
    read,
    story: async (id) => (await api.call<Story>('GET', `/payments/${id}/story`)).body,
    pay: async (body, headers) => {
      const answer = await api.call<Payment>(
        'POST',
        '/payments/create',
        { tenant_id: tenantId, ...body },
        headers,
      )
      assert.equal(answer.status, 201, JSON.stringify(answer.body))
      return answer.body
    },
    refuse: async (method, path, body) => {
      const answer = await api.call<{ code: string; detail: string }>(method, path, body)
      assert.ok(answer.status >= 400, JSON.stringify(answer.body))
      return { status: answer.status, ...answer.body }
    },
    waitFor: (id, fits) => waitFor(read, passTime, id, fits),
    until: (id, fits, deadlineMs = 30_000) => untilFits(() => read(id), fits, deadlineMs),
    eventsOf: (id, wanted = []) => collectEvents(receiver, id, wanted),
    customer: (provider, payment, choice, extra = {}) =>
      actAsCustomer(control, provider, payment, { choice, ...extra }),
    books: async (provider, payment) => {
      const reference = provider === 'transbank' ? payment.id.slice('pay_'.length) : payment.id
      const { totals } = await control<{ totals: Record<string, Totals> }>(
        'GET',
        `ledger?provider=${provider}&reference=${reference}`,
      )
      return (
        totals[reference] ?? { authorized: 0, charged: 0, refunded: 0, voided: 0, charges: 0, refunds: 0 }
      )
    },
  }
}

function controlOf(sandboxUrl: string): PaymentsServer['control'] {
  return async <Answer>(method: string, path: string, body?: unknown) => {
    const response = await fetch(`${sandboxUrl}/sandbox/${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    assert.ok(response.ok, `sandbox ${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text) as Answer
  }
}

async function connectProviders(
  { api, server }: TestServer,
  control: PaymentsServer['control'],
): Promise<Record<ProviderId, string>> {
  const hook = (provider: string) =>
    `${server.context.config.publicUrl}/webhooks/payment?tenant_id=${tenantId}&provider=${provider}`
  const stripe = await control('PUT', `accounts/stripe/${accounts.stripe}`, { webhook_url: hook('stripe') })
  const mercadopago = await control('PUT', `accounts/mercadopago/${accounts.mercadopago}`, {
    webhook_url: hook('mercadopago'),
    search_lag_ms: 0,
  })
  const connect = async (provider: string, credentials: object, priority: number) => {
    const body = { tenantId, provider, credentials, priority }
    const answer = await api.call<{ id: string }>('POST', '/payments/config/provider', body)
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    return answer.body.id
  }
  return {
    stripe: await connect(
      'stripe',
      { secretKey: accounts.stripe, webhookSecret: stripe['webhook_secret'] },
      3,
    ),
    mercadopago: await connect(
      'mercadopago',
      { accessToken: accounts.mercadopago, webhookSecret: mercadopago['webhook_secret'] },
      1,
    ),
    transbank: await connect(
      'transbank',
      {
        commerceCode: accounts.webpay,
        apiKey: accounts.transbankKey,
        oneclickCommerceCode: accounts.oneclick,
        oneclickChildCommerceCode: accounts.oneclickChild,
      },
      2,
    ),
  }
}

export interface BrowserStep {
  method: 'GET' | 'POST'
  url: string
  fields: Record<string, string>
}

/** @returns where the customer ended, undefined when the browser went nowhere. */
async function actAsCustomer(
  control: PaymentsServer['control'],
  provider: ProviderId,
  payment: Payment,
  { follow = true, ...act }: Act,
): Promise<URL | undefined> {
  const id = pageIdOf(payment)
  const { next } = await control<{ next: BrowserStep | null }>('POST', 'pay', { provider, id, ...act })
  return next === null || !follow ? undefined : followBrowser(next)
}

/** The page's own id, which ends its address or stands in its form. */
function pageIdOf({ next_action: action }: Payment): string {
  assert.ok(action !== null, 'the payment has no next action')
  const [field] = Object.values(action.fields)
  if (field !== undefined) return field
  const url = new URL(action.url)
  return [...url.searchParams.values()].at(-1) ?? url.pathname.split('/').at(-1) ?? ''
}

/** What a browser does with the way back: PipeCore answers where the shop is. */
export async function followBrowser(step: BrowserStep): Promise<URL | undefined> {
  const url = new URL(step.url)
  const form = new URLSearchParams(step.fields)
  if (step.method === 'GET') for (const [name, value] of form) url.searchParams.append(name, value)
  const answer = await fetch(url, {
    method: step.method,
    redirect: 'manual',
    ...(step.method === 'POST' && { body: form }),
  })
  const location = answer.headers.get('location')
  return location === null ? undefined : new URL(location)
}

async function collectEvents(
  receiver: Receiver,
  id: string,
  wanted: readonly string[],
): Promise<ReceivedEvent[]> {
  const read = () => {
    const seen = new Map<string, ReceivedEvent>()
    for (const { body } of receiver.events) {
      const about = [body['payment_id'], body['subscription_id'], body['method_id'], body['checkout_id']]
      if (about.includes(id)) seen.set(String(body['id']), body as unknown as ReceivedEvent)
    }
    return [...seen.values()]
  }
  return untilFits(
    async () => read(),
    (events) => wanted.every((name) => events.some(({ event }) => event === name)),
    30_000,
  )
}

/** Long enough for the janitor's waits, short enough that no page or key expires. */
const stepMs = 45_000
const mostSteps = 80

async function waitFor(
  read: (id: string) => Promise<Payment>,
  passTime: (ms: number) => Promise<void>,
  id: string,
  fits: (payment: Payment) => boolean,
): Promise<Payment> {
  for (let step = 0; ; step += 1) {
    const payment = await read(id)
    if (fits(payment)) return payment
    assert.ok(step < mostSteps, `still ${JSON.stringify(payment)}`)
    await passTime(stepMs)
    await sleep(300)
  }
}

async function untilFits<Value>(
  read: () => Promise<Value>,
  fits: (value: Value) => boolean,
  deadlineMs: number,
): Promise<Value> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    const current = await read()
    if (fits(current)) return current
    assert.ok(performance.now() < deadline, `still ${JSON.stringify(current)}`)
    await sleep(25)
  }
}
