import { z } from 'zod'
import type { NotDone, Outcome } from '#connections'
import type { FieldError } from '#core/errors.ts'
import { toWireNumber, wireProblem } from '../money.ts'
import { callMercadopago, check, type Context, type Credentials, credentials } from './mercadopago-account.ts'
import { refuse, refuseAmounts, refuseOtherCurrency, refuseUnpaid } from './mercadopago-account.ts'
import { title, wire } from './mercadopago-account.ts'
import { explainSavedCard, makeCardToken, removeMethod, saveMethod } from './mercadopago-cards.ts'
import { writePerson } from './mercadopago-cards.ts'
import { describePage, describePayment, describeRefund } from './mercadopago-mapping.ts'
import { paymentAnswer, preferenceAnswer, refundAnswer, writeTime } from './mercadopago-mapping.ts'
import { findPayment, isDead, list, read } from './mercadopago-reading.ts'
import { subscriptions } from './mercadopago-subscriptions.ts'
import { locate, owns, parse, verify } from './mercadopago-webhook.ts'
import type { CheckoutCommand, Customer, MethodChoice, PaymentCommand, PaymentProvider } from './provider.ts'
import type { PaymentRef, PaymentSnapshot, RefundCommand, RefundSnapshot } from './provider.ts'
import type { ReturnReading, Windows } from './provider.ts'

const facts = {
  id: 'mercadopago',
  title,
  baseUrl: 'https://api.mercadopago.com',
  acknowledgement: { status: 200 },
  capabilities: {
    wire,
    // MercadoPago does not say for how long; an hour is what every provider keeps.
    idempotency: { keptMs: 60 * 60_000 },
    tokens: true,
    savedMethods: true,
    partialCapture: true,
    partialRefund: true,
    cancel: 'authorized_or_open',
    subscriptions: 'native',
    webhooks: true,
  },
} satisfies Partial<PaymentProvider>

function windows(account: Credentials): Windows {
  return { refundDays: account.refundWindowDays, captureDays: account.captureWindowDays }
}

function checkPayment(command: PaymentCommand | CheckoutCommand, account: Credentials): FieldError[] {
  return 'items' in command ? checkCheckout(command) : checkDirect(command, account)
}

function checkCheckout({ items, capture, currency }: CheckoutCommand): FieldError[] {
  const errors = items.flatMap(({ unitAmount }, index) => {
    const message = wireProblem(unitAmount, currency, { title, wire })
    return message === undefined ? [] : [{ field: `items.${index}.unit_amount`, message }]
  })
  if (capture === 'automatic') return errors
  return [
    ...errors,
    { field: 'capture', message: 'must be automatic: MercadoPago’s page takes the money at once' },
  ]
}

function checkDirect({ method, customer, currency }: PaymentCommand, account: Credentials): FieldError[] {
  const errors: FieldError[] = []
  if (method.kind === 'token' && !customer.email) {
    errors.push({ field: 'customer.email', message: 'is missing: MercadoPago wants it of who pays' })
  }
  if (account.currency !== undefined && account.currency !== currency) {
    errors.push({ field: 'currency', message: `must be ${account.currency}, which the account charges in` })
  }
  return errors
}

type Paid = Outcome<{ snapshot: PaymentSnapshot }>

async function createPayment(command: PaymentCommand, context: Context): Promise<Paid> {
  const { amount, currency, method, key } = command
  const refused = refuseAmounts([amount], currency) ?? (await refuseOtherCurrency(currency, context))
  if (refused) return refused
  const token = await makeCardToken(method, key, context)
  if (token.outcome !== 'done') return refuseUnpaid(token)
  const body = writePayment(command, token.cardToken, context)
  const path = ['v1', 'payments']
  const outcome = await callMercadopago(context, { method: 'POST', path, key, body, answer: paymentAnswer })
  if (outcome.outcome !== 'done') return explainSavedCard(outcome, method)
  return { outcome: 'done', snapshot: describePayment(outcome.answer, { currency, captured: 0 }) }
}

/** The same for every repetition under a key: MercadoPago refuses a key that comes with another body. */
function writePayment(command: PaymentCommand, token: string, context: Context): object {
  const { threeDSecure, statementDescriptor } = context.credentials
  const { method, description, offSession } = command
  const { brand, issuer } = method.kind === 'token' ? method : method.token
  return {
    transaction_amount: toWireNumber(command.amount, command.currency, wire),
    token,
    installments: command.installments,
    ...(brand && { payment_method_id: brand }),
    ...(issuer && /^\d{1,15}$/.test(issuer) && { issuer_id: Number(issuer) }),
    payer: writePayer(method, command.customer),
    capture: command.capture === 'automatic',
    ...(description && { description }),
    external_reference: command.paymentId,
    ...(statementDescriptor && { statement_descriptor: statementDescriptor }),
    notification_url: writeNotificationUrl(context),
    ...(threeDSecure &&
      !offSession && { three_d_secure_mode: threeDSecure, callback_url: command.returnUrl }),
    ...writeFilled('metadata', command.metadata),
  }
}

function writePayer(method: MethodChoice, customer: Customer): object {
  if (method.kind === 'saved') return { type: 'customer', id: method.token.customer }
  return writePerson(customer, 'first_name', 'last_name')
}

/** MercadoPago's pages have no end of their own. */
const longestPageMs = 3 * 24 * 60 * 60 * 1000

/** Asks for webhooks alone: the older notifications would come to the same address, and unsigned. */
function writeNotificationUrl({ webhookUrl }: Context): string {
  return `${webhookUrl}${webhookUrl.includes('?') ? '&' : '?'}source_news=webhooks`
}

function writeFilled(name: string, value: object): object {
  return Object.keys(value).length > 0 ? { [name]: value } : {}
}

async function createCheckout(command: CheckoutCommand, context: Context): Promise<Paid> {
  const { items, currency, paymentId, returnUrl, cancelUrl, key } = command
  const expiresAt = command.expiresAt ?? new Date(context.now().getTime() + longestPageMs)
  const refused = refuseAmounts(
    items.map(({ unitAmount }) => unitAmount),
    currency,
  )
  if (refused) return refused
  const { statementDescriptor } = context.credentials
  const body = {
    items: items.map(({ title: name, quantity, unitAmount }, index) => ({
      id: String(index + 1),
      title: name,
      quantity,
      unit_price: toWireNumber(unitAmount, currency, wire),
      currency_id: currency,
    })),
    ...writeFilled('payer', writePerson(command.customer, 'name', 'surname')),
    back_urls: { success: returnUrl, pending: returnUrl, failure: cancelUrl },
    auto_return: 'approved',
    external_reference: paymentId,
    notification_url: writeNotificationUrl(context),
    expires: true,
    expiration_date_to: writeTime(expiresAt),
    ...(statementDescriptor && { statement_descriptor: statementDescriptor }),
    ...writeFilled('metadata', command.metadata),
  }
  const path = ['checkout', 'preferences']
  const outcome = await callMercadopago(context, {
    method: 'POST',
    path,
    trailingSlash: true,
    key,
    body,
    answer: preferenceAnswer,
  })
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', snapshot: { ...describePage(outcome.answer), expiresAt } }
}

async function capture(ref: PaymentRef, amount: number, key: string, context: Context): Promise<Paid> {
  const refused = refuseAmounts([amount], ref.currency)
  if (refused) return refused
  const part = amount < ref.amount && { transaction_amount: toWireNumber(amount, ref.currency, wire) }
  return changePayment(ref, ref.providerPaymentId, { capture: true, ...part }, key, context)
}

/** A page is closed before what was begun on it is canceled, so that nothing new begins. */
async function cancel(ref: PaymentRef, key: string, context: Context): Promise<Paid> {
  const { providerCheckoutId, currency } = ref
  const change = { status: 'cancelled' }
  if (providerCheckoutId === undefined) {
    return changePayment(ref, ref.providerPaymentId, change, key, context)
  }
  const closed = await callMercadopago(context, {
    method: 'PUT',
    path: ['checkout', 'preferences', providerCheckoutId],
    key: `${key}-page`,
    body: { expires: true, expiration_date_to: writeTime(context.now()) },
    answer: z.looseObject({}),
  })
  if (closed.outcome !== 'done') return closed
  const found = await findPayment(ref, context)
  if (found.outcome !== 'done') return { ...found, outcome: 'unknown' }
  const { payment } = found
  if (payment && ['pending', 'in_process', 'authorized'].includes(payment.status)) {
    return changePayment(ref, payment.id, change, key, context)
  }
  if (payment && !isDead(payment)) return { outcome: 'done', snapshot: describePayment(payment, ref) }
  const snapshot = { providerCheckoutId, status: 'canceled' as const, currency, captured: 0, refunded: 0 }
  return { outcome: 'done', snapshot }
}

async function changePayment(
  ref: PaymentRef,
  id: string | undefined,
  body: object,
  key: string,
  context: Context,
): Promise<Paid> {
  if (id === undefined) return noPayment
  const path = ['v1', 'payments', id]
  const outcome = await callMercadopago(context, { method: 'PUT', path, key, body, answer: paymentAnswer })
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', snapshot: describePayment(outcome.answer, ref) }
}

const noPayment: NotDone = refuse('state', 'MercadoPago has no payment for this yet.')

/** Without an amount all that was taken goes back, also where a part could not. */
async function refund(
  ref: PaymentRef,
  { amount, isFull, key }: RefundCommand,
  context: Context,
): Promise<Outcome<{ refund: RefundSnapshot }>> {
  const { providerPaymentId: id, currency, refunded } = ref
  if (id === undefined) return noPayment
  const refused = refuseAmounts([amount], currency)
  if (refused) return refused
  const body = isFull && refunded === 0 ? {} : { amount: toWireNumber(amount, currency, wire) }
  const path = ['v1', 'payments', id, 'refunds']
  const outcome = await callMercadopago(context, { method: 'POST', path, key, body, answer: refundAnswer })
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', refund: describeRefund(outcome.answer, currency) }
}

/** The parameters are signed by nobody: they only say when it is not about this payment. */
function readReturn(ref: PaymentRef, parameters: URLSearchParams): ReturnReading {
  const isOther = (name: string, expected: string | undefined) => {
    const given = parameters.get(name)
    return Boolean(given && given !== 'null' && expected !== undefined && given !== expected)
  }
  if (isOther('external_reference', ref.paymentId) || isOther('preference_id', ref.providerCheckoutId)) {
    return { next: 'refuse', reason: 'The return names another payment.' }
  }
  return { next: 'read' }
}

/** Access tokens end with the id of the seller. */
function accountOf({ accessToken }: Credentials): string | undefined {
  return /-(\d+)$/.exec(accessToken)?.[1]
}

export const mercadopago: PaymentProvider<Credentials> = {
  ...facts,
  credentials,
  accountOf,
  windows,
  checkPayment,
  createPayment,
  createCheckout,
  read,
  capture,
  cancel,
  refund,
  readReturn,
  saveMethod,
  removeMethod,
  subscriptions,
  verify,
  owns,
  parse,
  locate,
  list,
  check,
}
