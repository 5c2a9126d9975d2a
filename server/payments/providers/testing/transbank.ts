import type { ProviderContext } from '#connections'
import { createOutbound } from '#core/outbound.ts'
import { type Reply, startRecorder } from '../../../testing/recorder.ts'
import type { CheckoutCommand, PaymentCommand, PaymentRef } from '../provider.ts'
import { transbank } from '../transbank.ts'
import type { Credentials } from '../transbank-account.ts'

export const paymentId = 'pay_01k5fake0000000000000000ab'
export const order = '01k5fake0000000000000000ab'
export const shopOrder = 'c1k5fake0000000000000000ab'
export const token = '01ab'.repeat(16)
export const apiKey = '0badc0de'.repeat(8)
export const oneclickApiKey = '0badcafe'.repeat(8)
export const now = new Date('2026-11-22T12:00:00Z')
export const returnUrl = 'https://pipe.example.com/payments/return/rt_1'
export const webpay = '/rswebpaytransaction/api/webpay/v1.2'
export const oneclick = '/rswebpaytransaction/api/oneclick/v1.2'

export const savedCard = { tbk_user: 'b6bd6ba3-fake-user', username: 'pmt_1' }

const everything = {
  commerceCode: '597012345678',
  apiKey,
  oneclickCommerceCode: '597087654321',
  oneclickChildCommerceCode: '597087654322',
  oneclickApiKey,
}

export function readAccount(changes: Record<string, unknown> = {}): Credentials {
  return transbank.credentials.parse({ ...everything, ...changes }) as Credentials
}

export function createRef(changes: Partial<PaymentRef> = {}): PaymentRef {
  return {
    paymentId,
    flow: 'checkout',
    providerCheckoutId: token,
    amount: 10_000,
    currency: 'CLP',
    captured: 0,
    refunded: 0,
    capture: 'automatic',
    createdAt: new Date(now.getTime() - 5 * 60_000),
    details: {},
    ...changes,
  }
}

const newPayment = {
  paymentId,
  tenantId: 't_1',
  amount: 10_000,
  currency: 'CLP',
  capture: 'automatic',
  customer: { email: 'ana@example.com' },
  metadata: {},
  returnUrl,
  key: paymentId,
} as const

export function createCheckoutCommand(changes: Partial<CheckoutCommand> = {}): CheckoutCommand {
  const items = [{ title: 'Almuerzo', quantity: 1, unitAmount: 10_000 }]
  return { ...newPayment, items, cancelUrl: returnUrl, ...changes }
}

export function createChargeCommand(changes: Partial<PaymentCommand> = {}): PaymentCommand {
  const method = { kind: 'saved', token: savedCard, customer: {} } as const
  return { ...newPayment, method, installments: 1, offSession: true, ...changes }
}

/** What Webpay Plus answers to the commit of this payment, and to its status. */
export function approved(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    vci: 'TSY',
    amount: 10_000,
    status: 'AUTHORIZED',
    buy_order: order,
    session_id: paymentId,
    card_detail: { card_number: '6623' },
    accounting_date: '1122',
    transaction_date: '2026-11-22T11:59:00.000Z',
    authorization_code: '1213',
    payment_type_code: 'VN',
    response_code: 0,
    installments_number: 0,
    ...changes,
  }
}

/** The same of Oneclick, or of a Mall with `session_id`. */
export function approvedShop(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const { amount, status, authorization_code, payment_type_code, response_code, ...rest } = approved()
  const sale = {
    amount,
    status,
    authorization_code,
    payment_type_code,
    response_code,
    installments_number: 0,
  }
  const commerce_code = everything.oneclickChildCommerceCode
  return { ...rest, details: [{ ...sale, commerce_code, buy_order: shopOrder, ...changes }] }
}

interface Answer {
  status: number
  body: unknown
}

interface RecordedCall {
  method: string
  path: string
  headers: Record<string, string>
  body: unknown
}

export interface Double {
  url: string
  calls: RecordedCall[]
  /** What it answers from now on; a text goes out as it is, undefined begins an answer and never ends it. */
  answerWith(answer: unknown, status?: number): void
  /** Decides by the call instead. */
  answerBy(decide: (call: RecordedCall) => Answer): void
  context(changes?: Record<string, unknown>, more?: Partial<Context>): Context
}

type Context = ProviderContext<Credentials>

interface Test {
  after(work: () => Promise<void>): void
}

/** Stands in for Transbank: keeps every call and answers what it is told to. */
export async function startDouble(test: Test): Promise<Double> {
  const calls: RecordedCall[] = []
  let decide = (_call: RecordedCall): Answer => ({ status: 500, body: {} })
  const recorder = await startRecorder(({ method, target: path, headers, body: bytes }) => {
    const body: unknown = bytes.length === 0 ? undefined : JSON.parse(bytes.toString())
    const call = { method, path, headers, body }
    calls.push(call)
    return writeReply(decide(call))
  })
  const outbound = createOutbound({ allowPrivateAddresses: true })
  test.after(async () => {
    await outbound.close()
    await recorder.close()
  })
  return {
    url: recorder.url,
    calls,
    answerWith: (body, status = 200) => {
      decide = () => ({ status, body })
    },
    answerBy: (choose) => {
      decide = choose
    },
    context: (changes, more) => ({
      credentials: readAccount(changes),
      baseUrl: recorder.url,
      webhookUrl: 'https://pipe.example.com/webhooks/payment?tenant_id=t_1&provider=transbank',
      outbound,
      timeoutMs: 5_000,
      now: () => now,
      ...more,
    }),
  }
}

function writeReply({ status, body }: Answer): Reply {
  if (body === undefined) return { status, headers: { 'content-length': '10' } }
  const isText = typeof body === 'string'
  const headers = { 'content-type': isText ? 'text/html' : 'application/json' }
  return { status, headers, body: isText ? body : JSON.stringify(body) }
}
