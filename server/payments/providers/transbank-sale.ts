import { z } from 'zod'
import { describeError, equalText, optionalText, readJson } from '#connections'
import type { NotDone, Outcome, ProviderError } from '#connections'
import type { PaymentRef, PaymentSnapshot, RefundCommand, RefundSnapshot, ReturnReading } from './provider.ts'
import { callTransbank, refuse, refuseByNumber, title, writeWireAmount } from './transbank-account.ts'
import type { Context, Credentials, Product, TransbankCall } from './transbank-account.ts'
import { fail, figure, idsOf, optionalFigure, orderOf, readAmount } from './transbank-mapping.ts'
import { readTransaction, shopOrderOf, transactionAnswer } from './transbank-mapping.ts'
import type { TransactionAnswer } from './transbank-mapping.ts'

const captureAnswer = z.looseObject({ response_code: figure, captured_amount: optionalFigure })
const refundAnswer = z
  .looseObject({ type: optionalText, nullified_amount: optionalFigure, response_code: optionalFigure })
  .refine(({ type, response_code }) => Boolean(type ?? response_code))

const minuteMs = 60_000
/** A charge on its way may not be found yet. */
const settlingMs = minuteMs
const toldForMs = 7 * 24 * 60 * minuteMs

const tokenPattern = /^[\da-f]{64}$/i

/** 64 hexadecimal digits: what else comes back in a browser has no place in a path. */
export const tokenField = z.string().regex(tokenPattern)

/** A sale as calls name it. */
interface Sale {
  product: Product
  order: string
  /** Checked: it goes into paths. */
  id: string
  shop?: { commerce_code: string; buy_order: string }
}

function findSale(ref: PaymentRef, account: Credentials): Sale | NotDone {
  const order = orderOf(ref.paymentId)
  if (order === undefined) return refuse('content', `${ref.paymentId} can't be an order of ${title}.`)
  const isDirect = ref.flow === 'direct'
  const shop = isDirect ? account.oneclickChildCommerceCode : account.mallChildCommerceCode
  const id = isDirect ? order : (ref.providerCheckoutId ?? '')
  if (!isDirect && !tokenPattern.test(id)) return refuse('content', 'The token of the checkout is no token.')
  const shopCode = shop && (ref.details.commerce_code ?? shop)
  return {
    product: isDirect ? 'oneclick' : 'webpay',
    order,
    id,
    ...(shopCode && { shop: { commerce_code: shopCode, buy_order: shopOrderOf(order) } }),
  }
}

/** What the parameters of a return to a Webpay checkout mean; they come by way of the browser. */
export function readReturn(ref: PaymentRef, parameters: URLSearchParams): ReturnReading {
  const isOurs = (names: readonly string[], ours: string) =>
    names.every((name) => parameters.getAll(name).every((text) => equalText(text.toLowerCase(), ours)))
  const token = ref.providerCheckoutId?.toLowerCase() ?? ''
  if (
    ref.flow !== 'checkout' ||
    !tokenPattern.test(token) ||
    !isOurs(['token_ws', 'TBK_TOKEN'], token) ||
    !isOurs(['TBK_ORDEN_COMPRA'], orderOf(ref.paymentId) ?? '') ||
    !isOurs(['TBK_ID_SESION', 'TBK_ID_SESSION'], ref.paymentId)
  ) {
    return { next: 'refuse', reason: 'It names another payment than the one this return is of.' }
  }
  const isBroken = parameters.has('TBK_TOKEN')
  if (parameters.has('token_ws')) return isBroken ? { next: 'read', otherwise: 'failed' } : { next: 'commit' }
  if (isBroken) return { next: 'read', otherwise: 'canceled' }
  const isTimeout = ['TBK_ID_SESION', 'TBK_ID_SESSION', 'TBK_ORDEN_COMPRA'].some((name) =>
    parameters.has(name),
  )
  return isTimeout ? { next: 'read', otherwise: 'expired' } : { next: 'read' }
}

export async function read(
  ref: PaymentRef,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot | undefined }>> {
  // A token that never reached us is in nobody's hands and can't be paid.
  if (ref.flow === 'checkout' && ref.providerCheckoutId === undefined) {
    return { outcome: 'done', snapshot: undefined }
  }
  const outcome = await callSale(ref, context, ({ id }) => ({ method: 'GET', path: `/transactions/${id}` }))
  if (outcome.outcome !== 'refused' || outcome.error.code !== 'not_found') return outcome
  const ageMs = context.now().getTime() - ref.createdAt.getTime()
  if (ageMs > settlingMs && ageMs <= toldForMs) return { outcome: 'done', snapshot: undefined }
  const words =
    ageMs > toldForMs ? `${title} tells the state of a payment for seven days.` : 'It may be on its way.'
  return { outcome: 'unknown', error: { ...outcome.error, message: `${outcome.error.message} ${words}` } }
}

/** Only this takes the money that the customer agreed to. */
export async function commit(
  ref: PaymentRef,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  const outcome = await callSale(ref, context, ({ id }) => ({
    method: 'PUT',
    path: `/transactions/${id}`,
    body: {},
  }))
  const ended = outcome.outcome === 'refused' ? unpaidEnds.get(outcome.error.code ?? '') : undefined
  if (ended === undefined) return outcome
  const { amount, currency } = ref
  return { outcome: 'done', snapshot: { ...idsOf(ref, false), amount, currency, ...ended } }
}

/** Refusals of a commit that tell how a checkout ended. */
const unpaidEnds: ReadonlyMap<string, ReturnType<typeof fail>> = new Map([
  ['status_10', { ...fail('canceled_by_customer', 'status_10', 'same'), status: 'canceled' }],
  ['status_19', fail('authentication_failed', 'status_19', 'same')],
  ['finished', { ...fail('timed_out', 'finished', 'same'), status: 'expired' }],
])

/** A call that answers with the transaction. */
async function callSale(
  ref: PaymentRef,
  context: Context,
  describe: (sale: Sale) => Pick<TransbankCall<TransactionAnswer>, 'method' | 'path' | 'body'>,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  const sale = findSale(ref, context.credentials)
  if ('outcome' in sale) return sale
  const { product } = sale
  const outcome = await callTransbank(context, {
    product,
    ...describe(sale),
    read: readJson(transactionAnswer),
  })
  return outcome.outcome === 'done' ? judgeTransaction(outcome.answer, ref, context) : outcome
}

/** An answer about another payment never becomes a state of this one. */
export function judgeTransaction(
  answer: TransactionAnswer,
  ref: PaymentRef,
  { credentials, now }: Context,
): Outcome<{ snapshot: PaymentSnapshot }> {
  const { snapshot, problem } = readTransaction(answer, ref, credentials, now())
  if (snapshot) return { outcome: 'done', snapshot }
  const message = `${title}: the answer is not about this payment: ${problem}. Look it up at ${title}.`
  return {
    outcome: 'unknown',
    error: describeError(['unknown', 'never', false], { code: 'mismatch', message }),
  }
}

export async function capture(
  ref: PaymentRef,
  amount: number,
  _key: string,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  const sale = findSale(ref, context.credentials)
  if ('outcome' in sale) return sale
  const { authorization_code: code } = ref.details
  if (!code) return refuse('state', 'The payment has to be read first: its authorization code is not known.')
  const { product, order, id, shop } = sale
  const wireAmount = writeWireAmount(amount, ref.currency)
  if (typeof wireAmount === 'object') return wireAmount
  const body = { ...(shop ?? { buy_order: order }), authorization_code: code, capture_amount: wireAmount }
  const path = product === 'oneclick' ? '/transactions/capture' : `/transactions/${id}/capture`
  const call = { method: 'PUT', path, body, read: readJson(captureAnswer), isAfterSale: true } as const
  let outcome = await callTransbank(context, { product, ...call })
  if (product === 'oneclick' && outcome.outcome === 'refused' && isWrongPath(outcome.error)) {
    outcome = await callTransbank(context, { product: 'oneclickMall', ...call })
  }
  if (outcome.outcome !== 'done') return outcome
  const { response_code: responseCode, captured_amount: captured } = outcome.answer
  if (responseCode !== 0) return refuseByNumber(responseCode)
  const taken = readAmount(captured, ref) ?? amount
  return { outcome: 'done', snapshot: writeState(ref, { status: 'confirmed', captured: taken }) }
}

function isWrongPath({ httpStatus, code }: ProviderError): boolean {
  return (httpStatus === 404 || httpStatus === 405) && code === undefined
}

/** What is only held is let go by giving all of it back. */
export async function cancel(
  ref: PaymentRef,
  _key: string,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  if (ref.captured > 0) return refuse('state', 'The payment was captured: it can only be refunded.')
  const outcome = await giveBack(ref, ref.amount, context)
  if (outcome.outcome !== 'done') return outcome
  const status = refundKinds.has(outcome.answer.type ?? '') ? 'canceled' : 'unknown'
  return { outcome: 'done', snapshot: writeState(ref, { status, captured: 0 }) }
}

function writeState(ref: PaymentRef, state: Pick<PaymentSnapshot, 'status' | 'captured'>): PaymentSnapshot {
  const { amount, currency, refunded } = ref
  return { ...idsOf(ref, true), amount, currency, refunded, ...state }
}

/** There is no key for it at Transbank: before an unanswered one is repeated, the payment has to be read. */
export async function refund(
  ref: PaymentRef,
  command: RefundCommand,
  context: Context,
): Promise<Outcome<{ refund: RefundSnapshot }>> {
  const outcome = await giveBack(ref, command.amount, context)
  if (outcome.outcome !== 'done') return outcome
  const { type, nullified_amount: amount } = outcome.answer
  const kind = refundKinds.get(type ?? '')
  return {
    outcome: 'done',
    refund: {
      providerRefundId: `transbank_${command.refundId}`,
      refundId: command.refundId,
      amount: readAmount(amount, ref) ?? command.amount,
      status: kind ? 'succeeded' : 'unknown',
      ...(kind && { kind }),
    },
  }
}

const refundKinds: ReadonlyMap<string, NonNullable<RefundSnapshot['kind']>> = new Map([
  ['REVERSED', 'reversal'],
  ['NULLIFIED', 'refund'],
])

async function giveBack(
  ref: PaymentRef,
  minor: number,
  context: Context,
): Promise<Outcome<{ answer: z.output<typeof refundAnswer> }>> {
  const sale = findSale(ref, context.credentials)
  if ('outcome' in sale) return sale
  const { product, id, shop } = sale
  const amount = writeWireAmount(minor, ref.currency)
  if (typeof amount === 'object') return amount
  const orderField = product === 'oneclick' ? 'detail_buy_order' : 'buy_order'
  const outcome = await callTransbank(context, {
    product,
    method: 'POST',
    path: `/transactions/${id}/refunds`,
    body: { ...(shop && { commerce_code: shop.commerce_code, [orderField]: shop.buy_order }), amount },
    read: readJson(refundAnswer),
    isAfterSale: true,
  })
  if (outcome.outcome !== 'done') return outcome
  const responseCode = outcome.answer.response_code ?? 0
  return responseCode === 0 ? outcome : refuseByNumber(responseCode)
}
