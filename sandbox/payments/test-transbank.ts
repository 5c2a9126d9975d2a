import type { TestContext } from 'node:test'
import { Options, WebpayPlus } from 'transbank-sdk'
import { startTestSandbox } from '../test-receiver.ts'
import type { TestSandbox } from '../test-receiver.ts'

export const KEY = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'
export const PLAIN = '597055555532'
export const DEFERRED = '597055555540'
export const MALL = '597055555535'
export const ONECLICK = '597055555541'
export const RETURN_URL = 'https://shop.example/return?payment=pay_1'
export const HOUR_MS = 3_600_000

export type Answer = Record<string, unknown>
export type Paid = {
  state: string
  next: { method: string; url: string; fields: Record<string, string> } | null
}

export function optionsFor(sandbox: TestSandbox, code: string, apiKey = KEY) {
  return new Options(code, apiKey, sandbox.providerUrls.transbank, 5_000)
}

/** A sandbox and the SDK of one commerce. */
export async function startTransbank(t: TestContext, code = PLAIN) {
  const sandbox = await startTestSandbox(t)
  const webpay = new WebpayPlus.Transaction(optionsFor(sandbox, code))
  const create = async (order = 'order-1', amount = 10_000) =>
    (await webpay.create(order, 'pay_1', amount, RETURN_URL)) as { token: string; url: string }
  const pay = async (id: string, choice: string, extra: Answer = {}) =>
    (await sandbox.control('POST', '/pay', { provider: 'transbank', id, choice, ...extra })) as Paid
  const buy = async (extra: Answer = {}, amount = 10_000) => {
    const { token } = await create('order-1', amount)
    await pay(token, 'approve', extra)
    return { token, told: (await webpay.commit(token)) as Answer }
  }
  const advance = (ms: number) => sandbox.control('POST', '/clock', { advance_ms: ms })
  const totalsOf = async (order = 'order-1') => {
    const { totals } = await sandbox.control('GET', `/ledger?provider=transbank&reference=${order}`)
    return (totals as Record<string, Answer>)[order]
  }
  return { sandbox, webpay, create, pay, buy, advance, totalsOf }
}

/** HTTP status and text of what the SDK threw. */
export async function refusal(calling: Promise<unknown>): Promise<string> {
  try {
    return `no refusal: ${JSON.stringify(await calling)}`
  } catch (error) {
    const [first = '', text = ''] = String((error as Error).message).split('\n')
    return `${/status code (\d+)/.exec(first)?.[1] ?? first} ${text}`
  }
}

/** An API call without the SDK. */
export async function callTransbank(
  sandbox: TestSandbox,
  method: string,
  path: string,
  init: RequestInit = {},
) {
  const headers = {
    'tbk-api-key-id': PLAIN,
    'tbk-api-key-secret': KEY,
    'content-type': 'application/json',
    ...(init.headers as Record<string, string> | undefined),
  }
  const url = `${sandbox.providerUrls.transbank}/rswebpaytransaction/api/${path}`
  const answer = await fetch(url, { ...init, method, headers })
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}

/** Totals of a reference with one charge. */
export const charged = (amount: number, extra: Answer = {}) => ({
  authorized: 0,
  charged: amount,
  refunded: 0,
  voided: 0,
  charges: 1,
  refunds: 0,
  ...extra,
})

/** Hidden fields of a form on a page. */
export function decodeForm(page: string): Record<string, string> {
  const inputs = page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)
  return Object.fromEntries([...inputs].map(([, name, value]) => [name, value] as [string, string]))
}
