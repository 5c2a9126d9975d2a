import { z } from 'zod'
import { anything, figure, thenDone, mapDone, optionalFigure, optionalText, refuse } from '#connections'
import type { CheckResult, Outcome } from '#connections'
import { toWireNumber } from '../money.ts'
import { withoutWebhooks } from './no-webhooks.ts'
import type {
  PaymentProvider,
  PaymentRef,
  PaymentSnapshot,
  PaymentStatus,
  RefundSnapshot,
} from './provider.ts'
import { agrees, hasAny, postForm, webUrl } from './redirect.ts'
import { refuseFaults } from './rule-list.ts'
import { noMoney, present } from './snapshot.ts'
import { adviseOnKey, credentials, hosts, listCodes, listContradictions } from './transbank-account.ts'
import { listFaults, missingOneclick, title, windows, wire } from './transbank-account.ts'
import type { CommerceCode, Context, Credentials } from './transbank-account.ts'
import { callAfterSale, callTransbank, tokenField } from './transbank-call.ts'
import { endUnpaid, formEndOf, idsOf, orderOf, readTransaction } from './transbank-mapping.ts'
import { shopOrderOf, transactionAnswer } from './transbank-mapping.ts'
import { oneclick } from './transbank-oneclick.ts'
import { readWireNumber, refuseAmount } from './wire-amount.ts'
import { createWordTable } from './word-table.ts'

const createAnswer = z.looseObject({ token: tokenField, url: webUrl })
const captureAnswer = z.looseObject({ response_code: figure, captured_amount: optionalFigure })
const refundAnswer = z
  .looseObject({ type: optionalText, nullified_amount: optionalFigure, response_code: optionalFigure })
  .refine(({ type, response_code }) => Boolean(type ?? response_code))

const nothing = { outcome: 'done', snapshot: undefined } as const
const minuteMs = 60_000
/** A charge on its way may not be found yet. */
const settlingMs = minuteMs
const toldForMs = 7 * 24 * 60 * minuteMs

export const transbank: PaymentProvider<Credentials> = {
  id: 'transbank',
  title,
  baseUrl: hosts.integration,
  baseUrlOf: ({ environment }) => hosts[environment],
  credentials,
  accountOf: ({ environment, commerceCode, oneclickCommerceCode = '' }) =>
    [environment, commerceCode, oneclickCommerceCode].join(' '),
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
  windows,
  check,
  checkPayment: listFaults,
  ...oneclick,
  ...withoutWebhooks(
    `${title} sends no webhooks: its customers come back to the return URL, and payments are read.`,
  ),

  /** The customer is sent to Webpay by a form; nothing is taken before the commit after the return. */
  async createCheckout(command, context) {
    const { paymentId, amount, currency, returnUrl } = command
    const { mallChildCommerceCode: shop } = context.credentials
    const refused = refuseFaults(listFaults(command, context.credentials))
    if (refused) return refused
    const order = orderOf(paymentId)
    if (order === undefined) return refuse('content', `${paymentId} can't be an order of ${title}.`)
    const price = toWireNumber(amount, currency, wire)
    const paid = shop
      ? { details: [{ amount: price, commerce_code: shop, buy_order: shopOrderOf(order) }] }
      : { amount: price }
    const body = { buy_order: order, session_id: paymentId, ...paid, return_url: returnUrl }
    const outcome = await callTransbank(context, ['webpay', 'POST', '/transactions', body], createAnswer)
    return mapDone(outcome, ({ answer }) => ({
      snapshot: {
        ...noMoney,
        providerCheckoutId: answer.token,
        status: 'requires_action',
        amount,
        currency,
        action: postForm(answer.url, { token_ws: answer.token }),
        expiresAt: formEndOf(context.now(), context.credentials),
      },
    }))
  },

  /** What the parameters of a return to a Webpay checkout mean; they come by way of the browser. */
  readReturn(ref, parameters) {
    const token = ref.providerCheckoutId ?? ''
    const order = orderOf(ref.paymentId) ?? ''
    const session = { TBK_ID_SESION: ref.paymentId, TBK_ID_SESSION: ref.paymentId, TBK_ORDEN_COMPRA: order }
    const isOurs = agrees(parameters, { token_ws: token, TBK_TOKEN: token, ...session })
    if (ref.flow !== 'checkout' || !tokenField.safeParse(token).success || !isOurs) {
      return { next: 'refuse', reason: 'It names another payment than the one this return is of.' }
    }
    const hasEnded = parameters.has('token_ws')
    if (parameters.has('TBK_TOKEN')) return { next: 'read', otherwise: hasEnded ? 'failed' : 'canceled' }
    if (hasEnded) return { next: 'commit' }
    const isTimeout = hasAny(parameters, ...Object.keys(session))
    return isTimeout ? { next: 'read', otherwise: 'expired' } : { next: 'read' }
  },

  async read(ref, context) {
    // A token that never reached us is in nobody's hands and can't be paid.
    if (ref.flow === 'checkout' && ref.providerCheckoutId === undefined) return nothing
    const outcome = await callSale(ref, context, 'GET')
    if (outcome.outcome !== 'refused' || outcome.error.code !== 'not_found') return outcome
    const ageMs = context.now().getTime() - ref.createdAt.getTime()
    if (ageMs > settlingMs && ageMs <= toldForMs) return nothing
    const isOld = ageMs > toldForMs
    const words = isOld ? `${title} tells the state of a payment for seven days.` : 'It may be on its way.'
    return { outcome: 'unknown', error: { ...outcome.error, message: `${outcome.error.message} ${words}` } }
  },

  /** Only this takes the money that the customer agreed to. */
  async commit(ref, context) {
    const outcome = await callSale(ref, context, 'PUT', {})
    const end = outcome.outcome === 'refused' && unpaidEnds.get(outcome.error.code ?? '')
    if (!end) return outcome
    const { amount, currency } = ref
    return { outcome: 'done', snapshot: { ...idsOf(ref, false), amount, currency, ...end } }
  },

  async capture(ref, amount, _key, context) {
    const { currency, details } = ref
    const sale = findSale(ref, context.credentials)
    if ('outcome' in sale) return sale
    const { authorization_code: code } = details
    if (!code) return refuse('state', unreadCode)
    const refused = refuseAmount(amount, currency, { title, wire })
    if (refused) return refused
    const { product, order, path, shop = { buy_order: order } } = sale
    const body = { ...shop, authorization_code: code, capture_amount: toWireNumber(amount, currency, wire) }
    const place = product === 'oneclick' ? '/transactions/capture' : `${path}/capture`
    const usual = await callAfterSale(context, [product, 'PUT', place, body], captureAnswer)
    const isElsewhere = product === 'oneclick' && isWrongPath(usual)
    const outcome = isElsewhere
      ? await callAfterSale(context, ['oneclickMall', 'PUT', place, body], captureAnswer)
      : usual
    return mapDone(outcome, ({ answer: { captured_amount: captured } }) => ({
      snapshot: writeState(ref, 'confirmed', readWireNumber(captured, currency) ?? amount),
    }))
  },

  /** What is only held is let go by giving all of it back. */
  async cancel(ref, _key, context) {
    if (ref.captured > 0) return refuse('state', 'The payment was captured: it can only be refunded.')
    const outcome = await giveBack(ref, ref.amount, context)
    return mapDone(outcome, ({ answer: { type } }) => ({
      snapshot: writeState(ref, refundKinds.has(type ?? '') ? 'canceled' : 'unknown', 0),
    }))
  },

  /** There is no key for it at Transbank: before an unanswered one is repeated, the payment has to be read. */
  async refund(ref, { refundId, amount }, context) {
    const outcome = await giveBack(ref, amount, context)
    return mapDone(outcome, ({ answer: { type, nullified_amount: nullified } }) => {
      const kind = refundKinds.get(type ?? '')
      const refund = present<RefundSnapshot>({
        providerRefundId: `transbank_${refundId}`,
        refundId,
        amount: readWireNumber(nullified, ref.currency) ?? amount,
        status: kind ? 'succeeded' : 'unknown',
        kind,
      })
      return { refund }
    })
  },
}

/** How calls name a sale; its path is made of checked parts only. */
function findSale(ref: PaymentRef, account: Credentials) {
  const order = orderOf(ref.paymentId)
  if (order === undefined) return refuse('content', `${ref.paymentId} can't be an order of ${title}.`)
  const isDirect = ref.flow === 'direct'
  const id = isDirect ? order : tokenField.safeParse(ref.providerCheckoutId).data
  if (id === undefined) return refuse('content', 'The token of the checkout is no token.')
  const product = isDirect ? ('oneclick' as const) : ('webpay' as const)
  const code = isDirect ? account.oneclickChildCommerceCode : account.mallChildCommerceCode
  const commerce_code = code && (ref.details.commerce_code ?? code)
  const shop = commerce_code ? { commerce_code, buy_order: shopOrderOf(order) } : undefined
  return { product, order, path: `/transactions/${id}`, shop }
}

/** A call that answers with the transaction. */
async function callSale(
  ref: PaymentRef,
  context: Context,
  method: 'GET' | 'PUT',
  body?: Record<string, never>,
) {
  const sale = findSale(ref, context.credentials)
  if ('outcome' in sale) return sale
  const outcome = await callTransbank(context, [sale.product, method, sale.path, body], transactionAnswer)
  return thenDone(outcome, ({ answer }) => readTransaction(answer, ref, context))
}

const unreadCode = 'The payment has to be read first: its authorization code is not known.'

/** Refusals of a commit that tell how a checkout ended. */
const unpaidEnds = new Map([
  ['status_10', endUnpaid('canceled', 'canceled_by_customer', 'status_10')],
  ['status_19', endUnpaid('failed', 'authentication_failed', 'status_19')],
  ['finished', endUnpaid('expired', 'timed_out', 'finished')],
])

function isWrongPath(outcome: Outcome<object>): boolean {
  if (outcome.outcome !== 'refused') return false
  const { httpStatus, code } = outcome.error
  return (httpStatus === 404 || httpStatus === 405) && code === undefined
}

function writeState(ref: PaymentRef, status: PaymentStatus, captured: number): PaymentSnapshot {
  const { amount, currency, refunded } = ref
  return { ...idsOf(ref), amount, currency, refunded, status, captured }
}

const refundKinds = createWordTable([
  ['reversal', 'REVERSED'],
  ['refund', 'NULLIFIED'],
] as const)

async function giveBack(ref: PaymentRef, minor: number, context: Context) {
  const { currency } = ref
  const sale = findSale(ref, context.credentials)
  if ('outcome' in sale) return sale
  const refused = refuseAmount(minor, currency, { title, wire })
  if (refused) return refused
  const { product, path, shop } = sale
  const orderField = product === 'oneclick' ? 'detail_buy_order' : 'buy_order'
  const paid = shop && { commerce_code: shop.commerce_code, [orderField]: shop.buy_order }
  const body = { ...paid, amount: toWireNumber(minor, currency, wire) }
  return callAfterSale(context, [product, 'POST', `${path}/refunds`, body], refundAnswer)
}

async function check(context: Context): Promise<CheckResult> {
  const { credentials: account } = context
  const codes = listCodes(account)
  const answers: CheckResult[] = []
  for (const code of codes) answers.push(await tryKey(code, context))
  const faults = codes.flatMap((code) => listContradictions(code, account))
  const missing = codes.length === 1 ? [missingOneclick] : []
  return {
    ok: faults.length === 0 && answers.every(({ ok }) => ok),
    notes: [...answers.flatMap(({ notes }) => notes), ...faults, ...missing],
  }
}

/** Asks for a transaction that nobody has: who is told so has the right key. */
async function tryKey({ product, code }: CommerceCode, context: Context): Promise<CheckResult> {
  const { environment, oneclickApiKey } = context.credentials
  const path = `/transactions/${'0'.repeat(product === 'webpay' ? 64 : 26)}`
  const outcome = await callTransbank(context, [product, 'GET', path], anything)
  const error = outcome.outcome === 'done' ? undefined : outcome.error
  if (error === undefined || error.httpStatus === 422 || error.code === 'not_found') {
    return { ok: true, notes: [`${title} (${environment}) accepts the API key of commerce code ${code}.`] }
  }
  if (error.kind !== 'auth') return { ok: false, notes: [error.message] }
  const noKey = product === 'oneclick' && oneclickApiKey === undefined
  const missing = noKey ? ' Where Oneclick has a key of its own, add oneclickApiKey.' : ''
  const words = `${title} (${environment}) does not accept the API key of commerce code ${code}.`
  return { ok: false, notes: [`${words} ${adviseOnKey(code, environment)}${missing}`] }
}
