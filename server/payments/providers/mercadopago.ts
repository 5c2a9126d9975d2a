import { mapDone, mapped, type Outcome, refuse } from '#connections'
import { toWireNumber, wireProblem } from '../money.ts'
import { callMercadopago, type Context, credentials, type Credentials } from './mercadopago-call.ts'
import { findMercadopago, findPaymentById, refuseMoney, refuseOtherCurrency } from './mercadopago-call.ts'
import { changeAnswer, searchMercadopago, wholeResults } from './mercadopago-call.ts'
import { hasTaken, isDead, type PaymentAnswer, paymentAnswer, paymentIn } from './mercadopago-mapping.ts'
import { preferenceAnswer, readPayment, readPaymentId, refundIn, title, wire } from './mercadopago-mapping.ts'
import { writePerson, writeTime } from './mercadopago-mapping.ts'
import { explainSavedCard, makeCardToken, methods, subscriptions } from './mercadopago-subscriptions.ts'
import { check, webhooks } from './mercadopago-webhook.ts'
import type { CheckoutCommand, PaymentCommand, PaymentProvider, PaymentRef } from './provider.ts'
import type { PaymentSnapshot } from './provider.ts'
import { addParameter } from './redirect.ts'
import { listFieldFaults } from './rule-list.ts'
import { doubtSearch } from './search-lag.ts'
import { filled, noMoney, present } from './snapshot.ts'

/** MercadoPago's pages have no end of their own. */
const longestPageMs = 3 * 24 * 60 * 60_000
const pageSize = '50'

export const mercadopago: PaymentProvider<Credentials> = {
  id: 'mercadopago',
  title,
  baseUrl: 'https://api.mercadopago.com',
  credentials,
  /** Access tokens end with the id of the seller. */
  accountOf: ({ accessToken }) => /-(\d+)$/.exec(accessToken)?.[1],
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
  windows: ({ refundWindowDays: refundDays, captureWindowDays: captureDays }) => ({
    refundDays,
    captureDays,
  }),
  check,
  ...webhooks,
  ...methods,
  subscriptions,

  checkPayment(command, { currency: own }) {
    const { currency, capture, customer } = command
    if ('method' in command) {
      const isToken = command.method.kind === 'token'
      return listFieldFaults([
        [isToken && !customer.email, 'customer.email', 'is missing: MercadoPago wants it of who pays'],
        [own !== undefined && own !== currency, 'currency', `must be ${own}, which the account charges in`],
      ])
    }
    const problems = command.items.map(({ unitAmount }) => wireProblem(unitAmount, currency, { title, wire }))
    return listFieldFaults([
      ...problems.map((problem, index) => {
        return [problem !== undefined, `items.${index}.unit_amount`, problem ?? ''] as const
      }),
      [capture !== 'automatic', 'capture', 'must be automatic: MercadoPago’s page takes the money at once'],
    ])
  },

  async createPayment(command, context) {
    const { amount, currency, method, key } = command
    const refused = refuseMoney(amount, currency) ?? (await refuseOtherCurrency(currency, context))
    if (refused) return refused
    const token = await makeCardToken(method, key, context)
    if (token.outcome !== 'done') return token
    const body = writePayment(command, token.cardToken, context)
    const call = { path: ['v1', 'payments'], key, body, answer: paymentIn({ currency, captured: 0 }) }
    return explainSavedCard(await callMercadopago(context, call), method)
  },

  async createCheckout(command, context) {
    const { items, currency, key } = command
    const expiresAt = command.expiresAt ?? new Date(context.now().getTime() + longestPageMs)
    const refused = items.map(({ unitAmount }) => refuseMoney(unitAmount, currency)).find(Boolean)
    if (refused) return refused
    return callMercadopago(context, {
      path: ['checkout', 'preferences'],
      trailingSlash: true,
      key,
      body: writePreference(command, expiresAt, context),
      answer: mapped(preferenceAnswer, (page) => ({ snapshot: { ...page, expiresAt } })),
    })
  },

  async read(ref, context) {
    const outcome = await findPayment(ref, context)
    if (outcome.outcome !== 'done') return outcome
    const { found, paidTwice } = outcome
    const { providerCheckoutId: pageId } = ref
    if (pageId !== undefined && (!found || isDead(found.status))) {
      return readCheckout(ref, pageId, found, context)
    }
    const nothing = { outcome: 'done', snapshot: undefined } as const
    if (!found) return doubtSearch(lag, ref.createdAt, context.now()) ?? nothing
    const details = filled({ paid_twice: paidTwice })
    return { outcome: 'done', snapshot: present<PaymentSnapshot>({ ...readPayment(found, ref), details }) }
  },

  async capture(ref, amount, key, context) {
    const refused = refuseMoney(amount, ref.currency)
    if (refused) return refused
    const part = amount < ref.amount && { transaction_amount: toWireNumber(amount, ref.currency, wire) }
    return changePayment(ref, ref.providerPaymentId, { capture: true, ...part }, key, context)
  },

  /** A page is closed before what was begun on it is canceled, so that nothing new begins. */
  async cancel(ref, key, context) {
    const { providerCheckoutId, providerPaymentId, currency } = ref
    const change = { status: 'cancelled' }
    if (providerCheckoutId === undefined) return changePayment(ref, providerPaymentId, change, key, context)
    const closed = await callMercadopago(context, {
      method: 'PUT',
      path: ['checkout', 'preferences', providerCheckoutId],
      key: `${key}-page`,
      body: { expires: true, expiration_date_to: writeTime(context.now()) },
      answer: changeAnswer,
    })
    if (closed.outcome !== 'done') return closed
    const outcome = await findPayment(ref, context)
    if (outcome.outcome !== 'done') return { ...outcome, outcome: 'unknown' }
    const { found } = outcome
    if (!found || isDead(found.status)) {
      return { outcome: 'done', snapshot: { ...noMoney, providerCheckoutId, status: 'canceled', currency } }
    }
    const isOpen = ['pending', 'in_process', 'authorized'].includes(found.status)
    if (isOpen) return changePayment(ref, found.id, change, key, context)
    return { outcome: 'done', snapshot: readPayment(found, ref) }
  },

  /** Without an amount all that was taken goes back, also where a part could not. */
  async refund({ providerPaymentId: id, currency, refunded }, { amount, isFull, key }, context) {
    if (id === undefined) return noPayment
    const refused = refuseMoney(amount, currency)
    if (refused) return refused
    const body = isFull && refunded === 0 ? {} : { amount: toWireNumber(amount, currency, wire) }
    const path = ['v1', 'payments', id, 'refunds']
    return callMercadopago(context, { path, key, body, answer: refundIn(currency) })
  },

  /** The parameters are signed by nobody: they only say when it is not about this payment. */
  readReturn({ paymentId, providerCheckoutId }, parameters) {
    // What MercadoPago has not comes as the word null.
    const isOther = (name: string, ours: string | undefined) =>
      ours !== undefined && !['', 'null', ours].includes(parameters.get(name) ?? '')
    return isOther('external_reference', paymentId) || isOther('preference_id', providerCheckoutId)
      ? { next: 'refuse', reason: 'The return names another payment.' }
      : { next: 'read' }
  },

  /**
   * Pages by the time of the last payment rather than by number alone: a payment that changes meanwhile moves to the
   * end, and counted pages would skip another for it.
   */
  async list(since, cursor, context) {
    const [begin = '', offset = '0'] = (cursor ?? writeTime(since)).split('|')
    const page = await searchMercadopago(context, paymentAnswer, ['v1', 'payments'], {
      sort: 'date_last_updated',
      criteria: 'asc',
      range: 'date_last_updated',
      begin_date: begin,
      end_date: writeTime(context.now()),
      limit: pageSize,
      offset,
    })
    return mapDone(page, ({ items, count, hasMore }) => {
      const last = items.at(-1)?.date_last_updated ?? begin
      const isStill = Date.parse(last) === Date.parse(begin)
      const next = isStill ? `${begin}|${Number(offset) + count}` : `${last}|0`
      return { payments: items.flatMap(readListed), ...(hasMore && { next }) }
    })
  },
}

/** The same for every repetition under a key: MercadoPago refuses a key that comes with another body. */
function writePayment(command: PaymentCommand, token: string, context: Context): object {
  const { method, amount, currency, customer, installments, offSession } = command
  const { threeDSecure } = context.credentials
  const { brand, issuer } = method.kind === 'token' ? method : method.token
  return present<object>({
    transaction_amount: toWireNumber(amount, currency, wire),
    token,
    installments,
    payment_method_id: brand,
    issuer_id: /^\d{1,15}$/.test(issuer ?? '') ? Number(issuer) : undefined,
    payer:
      method.kind === 'saved'
        ? { type: 'customer', id: method.token.customer }
        : (writePerson(customer, 'first_name', 'last_name') ?? {}),
    capture: command.capture === 'automatic',
    description: command.description,
    ...(threeDSecure &&
      !offSession && { three_d_secure_mode: threeDSecure, callback_url: command.returnUrl }),
    ...writeReferences(command, context),
  })
}

function writePreference(command: CheckoutCommand, expiresAt: Date, context: Context): object {
  const { items, customer, currency, returnUrl, cancelUrl } = command
  return present<object>({
    items: items.map(({ title: name, quantity, unitAmount }, index) => ({
      id: String(index + 1),
      title: name,
      quantity,
      unit_price: toWireNumber(unitAmount, currency, wire),
      currency_id: currency,
    })),
    payer: writePerson(customer, 'name', 'surname'),
    back_urls: { success: returnUrl, pending: returnUrl, failure: cancelUrl },
    auto_return: 'approved',
    expires: true,
    expiration_date_to: writeTime(expiresAt),
    ...writeReferences(command, context),
  })
}

/** Asks for webhooks alone: the older notifications would come to the same address, and unsigned. */
function writeReferences({ paymentId, metadata }: PaymentCommand | CheckoutCommand, context: Context) {
  return {
    external_reference: paymentId,
    notification_url: addParameter(context.webhookUrl, 'source_news=webhooks'),
    statement_descriptor: context.credentials.statementDescriptor,
    metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
  }
}

async function changePayment(
  ref: PaymentRef,
  id: string | undefined,
  body: object,
  key: string,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  if (id === undefined) return noPayment
  const path = ['v1', 'payments', id]
  return callMercadopago(context, { method: 'PUT', path, key, body, answer: paymentIn(ref) })
}

const noPayment = refuse('state', 'MercadoPago has no payment for this yet.')

/** For how long a search may not show what was just made. */
const lag = {
  lagMs: 2 * 60_000,
  message: 'MercadoPago’s search shows no payment yet; it may be behind by some minutes.',
}

/** A checkout may be tried, and even paid, several times: its payments are found by our reference, not by one id. */
async function findPayment(
  { flow, paymentId, providerPaymentId: knownId }: PaymentRef,
  context: Context,
): Promise<Outcome<{ found?: PaymentAnswer; paidTwice?: string }>> {
  if (flow === 'direct' && knownId !== undefined) return findPaymentById(knownId, context)
  const search = await callMercadopago(context, {
    path: ['v1', 'payments', 'search'],
    query: { external_reference: paymentId, sort: 'date_created', criteria: 'desc', limit: pageSize },
    answer: wholeResults(paymentAnswer),
  })
  if (search.outcome !== 'done') return search
  const attempts = search.items.filter((one) => one.external_reference === paymentId).toReversed()
  if (knownId !== undefined && !attempts.some(({ id }) => id === knownId)) {
    const known = await findPaymentById(knownId, context)
    if (known.outcome !== 'done') return known
    if (known.found) attempts.unshift(known.found)
  }
  const chosen = chooseAttempt(attempts, knownId)
  if (chosen === undefined) return { outcome: 'done' }
  const others = attempts.filter((one) => one.id !== chosen.id && isPaid(one))
  const paidTwice = others.map(({ id }) => id).join(',')
  // The search may be behind: what is reported is read by its id.
  return mapDone(await findPaymentById(chosen.id, context), ({ found }) => ({ found, paidTwice }))
}

/** The payment that is known as long as money was taken with it, else the first that is paid, else the furthest. */
function chooseAttempt(attempts: readonly PaymentAnswer[], knownId?: string): PaymentAnswer | undefined {
  const known = attempts.find(({ id }) => id === knownId)
  if (known && hasTaken(known.status)) return known
  const timeOf = ({ date_approved: approved, date_created: made }: PaymentAnswer) =>
    (approved ?? made)?.getTime() ?? 0
  const [first] = attempts.filter(isPaid).toSorted((a, b) => timeOf(a) - timeOf(b))
  return first ?? attempts.toReversed().toSorted((a, b) => rankOf(b) - rankOf(a))[0]
}

function rankOf({ status }: PaymentAnswer): number {
  const order = ['pending', 'in_process', 'authorized', 'charged_back', 'refunded']
  return isDead(status) ? -2 : order.indexOf(status)
}

function isPaid({ status }: PaymentAnswer): boolean {
  return status === 'approved' || status === 'in_mediation'
}

/** A rejected attempt ends nothing while the page is open: the customer tries another card there. */
async function readCheckout(
  ref: PaymentRef,
  providerCheckoutId: string,
  dead: PaymentAnswer | undefined,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot | undefined }>> {
  const path = ['checkout', 'preferences', providerCheckoutId]
  const outcome = await findMercadopago(context, preferenceAnswer, ...path)
  if (outcome.outcome !== 'done') return outcome
  const { found: page } = outcome
  const now = context.now()
  const attempt = dead && readPayment(dead, ref)
  if (page && !(page.expiresAt && page.expiresAt <= now)) {
    return { outcome: 'done', snapshot: present<PaymentSnapshot>({ ...page, failure: attempt?.failure }) }
  }
  if (attempt) return { outcome: 'done', snapshot: attempt }
  const doubt = doubtSearch(lag, page?.expiresAt ?? ref.createdAt, now)
  if (doubt) return doubt
  const expired = { ...noMoney, providerCheckoutId, status: 'expired' } as const
  return { outcome: 'done', snapshot: page && expired }
}

function readListed(payment: PaymentAnswer): Array<{ paymentId?: string; snapshot: PaymentSnapshot }> {
  const { currency_id: currency, external_reference: reference } = payment
  if (!currency) return []
  const paymentId = readPaymentId(reference)
  const snapshot = readPayment(payment, { currency, captured: 0 })
  return [{ ...(paymentId && { paymentId }), snapshot }]
}
