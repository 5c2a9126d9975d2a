import { z } from 'zod'
import { readJson } from '#connections'
import type { CheckResult, Outcome, Verification } from '#connections'
import type { CheckoutCommand, PaymentProvider, PaymentSnapshot, Windows } from './provider.ts'
import { baseUrlOf, callTransbank, credentials, listFaults, missingOneclick } from './transbank-account.ts'
import { refuse, title, wire, writeWireAmount } from './transbank-account.ts'
import type { Context, Credentials, Product } from './transbank-account.ts'
import { formEndOf, orderOf, shopOrderOf } from './transbank-mapping.ts'
import { createPayment, finishMethod, removeMethod, saveMethod } from './transbank-oneclick.ts'
import { cancel, capture, commit, read, readReturn, refund, tokenField } from './transbank-sale.ts'

const facts = {
  id: 'transbank',
  title,
  baseUrl: baseUrlOf({ environment: 'integration' }),
  capabilities: {
    wire,
    idempotency: undefined,
    tokens: false,
    savedMethods: true,
    partialCapture: true,
    partialRefund: true,
    cancel: 'authorized',
    subscriptions: 'emulated',
    webhooks: false,
  },
  acknowledgement: { status: 200 },
} satisfies Partial<PaymentProvider>

const createAnswer = z.looseObject({ token: tokenField, url: z.url({ protocol: /^https?$/ }) })

function windows(account: Credentials): Windows {
  const isDeferred = account.deferred || account.oneclickDeferred
  return {
    refundDays: account.refundWindowDays,
    ...(isDeferred && { captureDays: account.captureWindowDays }),
    reversalMs: account.reversalWindowMinutes * 60_000,
    fullRefundOnly: ['debit', 'prepaid'],
  }
}

/** The customer is sent to Webpay by a form; nothing is taken before the commit after the return. */
async function createCheckout(
  command: CheckoutCommand,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  const { paymentId, amount, currency } = command
  const [fault] = listFaults(command, context.credentials)
  if (fault) return refuse('content', `${fault.field}: ${fault.message}`)
  const order = orderOf(paymentId)
  if (order === undefined) return refuse('content', `${paymentId} can't be an order of ${title}.`)
  const price = writeWireAmount(amount, currency)
  if (typeof price === 'object') return price
  const { mallChildCommerceCode: shop } = context.credentials
  const paid = shop
    ? { details: [{ amount: price, commerce_code: shop, buy_order: shopOrderOf(order) }] }
    : { amount: price }
  const outcome = await callTransbank(context, {
    product: 'webpay',
    method: 'POST',
    path: '/transactions',
    body: { buy_order: order, session_id: paymentId, ...paid, return_url: command.returnUrl },
    read: readJson(createAnswer),
  })
  if (outcome.outcome !== 'done') return outcome
  const { token, url } = outcome.answer
  return {
    outcome: 'done',
    snapshot: {
      providerCheckoutId: token,
      status: 'requires_action',
      amount,
      currency,
      captured: 0,
      refunded: 0,
      action: { kind: 'redirect', method: 'POST', url, fields: { token_ws: token } },
      expiresAt: formEndOf(context.now(), context.credentials),
    },
  }
}

const testCodes = /^59705555/
const deferredTestCodes = ['597055555540', '597055555547', '597055555581']
const mallTestCodes = ['597055555535', '597055555581']
/** Printed in Transbank's papers: it opens every test code, and nothing else. */
const testKey = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'

interface Tried {
  product: Product
  code: string
  key: string
  deferred: boolean
}

function listTried(account: Credentials): Tried[] {
  const { commerceCode, apiKey, deferred, oneclickCommerceCode, oneclickApiKey, oneclickDeferred } = account
  const webpay: Tried = { product: 'webpay', code: commerceCode, key: apiKey, deferred }
  if (oneclickCommerceCode === undefined) return [webpay]
  const key = oneclickApiKey ?? apiKey
  return [webpay, { product: 'oneclick', code: oneclickCommerceCode, key, deferred: oneclickDeferred }]
}

async function check(context: Context): Promise<CheckResult> {
  const { credentials: account } = context
  const tried = listTried(account)
  const faults = tried.flatMap((one) => listContradictions(one, account))
  const answers: CheckResult[] = []
  for (const one of tried) answers.push(await tryKey(one, context))
  const isSingle = tried.length === 1
  return {
    ok: faults.length === 0 && answers.every(({ ok }) => ok),
    notes: [...answers.flatMap(({ notes }) => notes), ...faults, ...(isSingle ? [missingOneclick] : [])],
  }
}

/** Asks for a transaction that nobody has: who is told so has the right key. */
async function tryKey({ product, code }: Tried, context: Context): Promise<CheckResult> {
  const { environment, oneclickApiKey } = context.credentials
  const path = `/transactions/${'0'.repeat(product === 'webpay' ? 64 : 26)}`
  const outcome = await callTransbank(context, { product, method: 'GET', path, read: () => true })
  const error = outcome.outcome === 'done' ? undefined : outcome.error
  if (error === undefined || error.httpStatus === 422 || error.code === 'not_found') {
    return { ok: true, notes: [`${title} (${environment}) accepts the API key of commerce code ${code}.`] }
  }
  if (error.kind !== 'auth') return { ok: false, notes: [error.message] }
  const advice = adviseOnKey(code, environment)
  const noKey = product === 'oneclick' && oneclickApiKey === undefined
  const missing = noKey ? ' Where Oneclick has a key of its own, add oneclickApiKey.' : ''
  const words = `${title} (${environment}) does not accept the API key of commerce code ${code}.`
  return { ok: false, notes: [`${words} ${advice}${missing}`] }
}

function adviseOnKey(code: string, environment: Credentials['environment']): string {
  if (environment === 'production') return 'Is it the key of this very code, and of production?'
  return testCodes.test(code)
    ? "Test codes take the public test key of Transbank's papers: is this one of production?"
    : 'Codes of your own belong to production: set environment to production, or use the test codes.'
}

/** What can't be right whatever Transbank answers. */
function listContradictions({ product, code, key, deferred }: Tried, account: Credentials): string[] {
  const isTest = testCodes.test(code)
  const isTestKey = key.toUpperCase() === testKey
  const isMall = account.mallChildCommerceCode !== undefined
  const isDeferred = deferredTestCodes.includes(code)
  const setting = product === 'webpay' ? 'deferred' : 'oneclickDeferred'
  const isProduction = account.environment === 'production'
  const faults: Array<[applies: boolean, words: string]> = [
    [isProduction && isTest, `${code} is a public test code: it exists in integration only.`],
    [isProduction && isTestKey, 'The API key is the public one of integration: production has your own.'],
    [isTestKey && !isTest, `The API key is the public one of the test codes, and ${code} is none of them.`],
    [isTest && deferred !== isDeferred, `Set ${setting} to ${isDeferred}: so is the test code ${code}.`],
    [
      product === 'webpay' && isTest && isMall !== mallTestCodes.includes(code),
      `The test code ${code} is ${isMall ? 'no Mall: remove' : 'a Mall: add'} mallChildCommerceCode.`,
    ],
  ]
  return faults.flatMap(([applies, words]) => (applies ? [words] : []))
}

/** Transbank tells nothing by webhook: what comes in its name is not from Transbank. */
function verify(): Verification {
  const reason = `${title} sends no webhooks: its customers come back to the return URL, and payments are read.`
  return { ok: false, check: 'signature', reason }
}

export const transbank: PaymentProvider<Credentials> = {
  ...facts,
  baseUrlOf,
  credentials,
  accountOf: ({ environment, commerceCode, oneclickCommerceCode = '' }) =>
    [environment, commerceCode, oneclickCommerceCode].join(' '),
  windows,
  checkPayment: listFaults,
  createPayment,
  createCheckout,
  read,
  capture,
  cancel,
  refund,
  readReturn,
  commit,
  saveMethod,
  finishMethod,
  removeMethod,
  verify,
  owns: () => false,
  parse: () => [],
  check,
}
