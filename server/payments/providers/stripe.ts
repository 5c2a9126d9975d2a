import { z } from 'zod'
import { type Form, mapped, mismatch, type Outcome, refuse, thenDone } from '#connections'
import { timeOfId } from '#core/ids.ts'
import type { CheckoutCommand, PaymentCommand, PaymentProvider } from './provider.ts'
import type { PaymentRef, PaymentSnapshot } from './provider.ts'
import { addParameter } from './redirect.ts'
import { listFieldFaults } from './rule-list.ts'
import { present } from './snapshot.ts'
import {
  callStripe,
  closePage,
  type Context,
  credentials,
  type Credentials,
  findOurs,
} from './stripe-call.ts'
import { findStripe, listStripe, openPage, pathOfPage, readListPage } from './stripe-call.ts'
import { disputeStatuses, expandable, expanded, type Intent, intentAnswer } from './stripe-mapping.ts'
import { moneyProblem, type Page, pageAnswer, paymentAnswer, readIntent, readPage } from './stripe-mapping.ts'
import { readRefund, references, refundAnswer, title, toSeconds, wire, writeMoney } from './stripe-mapping.ts'
import { methods, subscriptions } from './stripe-subscriptions.ts'
import { check, webhooks } from './stripe-webhook.ts'

export type { Credentials } from './stripe-call.ts'

const minuteMs = 60 * 1000
const dayMs = 24 * 60 * minuteMs
const shortestPageMs = 30 * minuteMs
/** Ours is made a little before Stripe's. */
const marginMs = minuteMs

export const stripe: PaymentProvider<Credentials> = {
  id: 'stripe',
  title,
  baseUrl: 'https://api.stripe.com',
  credentials,
  // Keys of today carry a part of their account's id, which rotating them does not change.
  accountOf: ({ account, secretKey }) => account ?? /_(?:test|live)_51(\w{14})/.exec(secretKey)?.[1],
  capabilities: {
    wire,
    idempotency: { keptMs: dayMs },
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

  checkPayment(command) {
    const problem = moneyProblem(command.amount, command.currency)
    const { method, installments = 1 } = 'method' in command ? command : {}
    const isOdd = method?.kind === 'token' && !/^pm_\w+$/.test(method.token)
    const end = 'expiresAt' in command ? command.expiresAt : undefined
    const openMs = end ? end.getTime() - timeOfId(command.paymentId).getTime() : dayMs
    const isOddEnd = openMs < shortestPageMs || openMs > dayMs
    return listFieldFaults([
      [problem !== undefined, 'amount', problem ?? ''],
      [isOdd, 'token', `is no PaymentMethod of ${title}: those begin with pm_`],
      [installments > 1, 'installments', `must be 1: ${title} charges at once here`],
      [isOddEnd, 'expires_at', `must be 30 minutes to 24 hours from now: so long ${title} keeps a page open`],
    ])
  },

  async createPayment(command, context) {
    const money = writeMoney(command.amount, command.currency)
    if ('outcome' in money) return money
    const { method, offSession, returnUrl, key } = command
    const { customer, payment_method }: Partial<Record<string, string>> =
      method.kind === 'saved' ? method.token : { payment_method: method.token }
    const form = {
      ...money,
      customer,
      payment_method,
      confirm: true,
      automatic_payment_methods: { enabled: true, allow_redirects: offSession ? 'never' : 'always' },
      ...(offSession ? { off_session: true } : { return_url: returnUrl }),
      capture_method: command.capture,
      description: command.description,
      metadata: writeMetadata(command),
      expand: ['latest_charge'],
    }
    return callStripe(context, { path: ['payment_intents'], key, form, ...paymentAnswer })
  },

  async createCheckout(command, context) {
    const { paymentId, description, capture: capture_method, returnUrl, expiresAt, key } = command
    const items = []
    for (const { title: name, quantity, unitAmount } of command.items) {
      const money = writeMoney(unitAmount, command.currency)
      if ('outcome' in money) return money
      const { amount: unit_amount, currency } = money
      items.push({ quantity, price_data: { currency, unit_amount, product_data: { name } } })
    }
    const metadata = writeMetadata(command)
    return openPage(context, readPage, key, {
      mode: 'payment',
      line_items: items,
      success_url: addParameter(returnUrl, 'session_id={CHECKOUT_SESSION_ID}'),
      cancel_url: command.cancelUrl,
      client_reference_id: paymentId,
      customer_email: command.customer.email,
      expires_at: expiresAt && writeExpiry(expiresAt, paymentId),
      payment_intent_data: { capture_method, description, metadata },
      metadata,
    })
  },

  async read(ref, context) {
    const found = await findPayment(ref, context)
    if (found.outcome !== 'done') return found
    const { page, intent } = found
    const snapshot = page ? readPage(page) : intent && readIntent(intent)
    return snapshot ? completeSnapshot(snapshot, intent, context) : { outcome: 'done', snapshot }
  },

  async capture(ref, amount, key, context) {
    const money = writeMoney(amount, ref.currency)
    if ('outcome' in money) return money
    const form = { amount_to_capture: money.amount, expand: ['latest_charge'] }
    return changeIntent(ref, 'capture', { key, form }, context)
  },

  /** A page is closed; what was paid there, and what we charged, is let go. */
  async cancel(ref, key, context) {
    if (ref.flow === 'direct') return changeIntent(ref, 'cancel', { key }, context)
    return thenDone(findPayment(ref, context), ({ page, intent }) => {
      if (page?.status === 'open') return closePage(context, readPage, key, page)
      const providerPaymentId = intent?.id ?? ref.providerPaymentId
      return changeIntent({ ...ref, providerPaymentId }, 'cancel', { key }, context)
    })
  },

  async refund(ref, { refundId, amount, key }, context) {
    const money = writeMoney(amount, ref.currency)
    if ('outcome' in money) return money
    return thenDone(requireIntent(ref, context), ({ id: payment_intent }) => {
      const form = { payment_intent, amount: money.amount, metadata: { [references.refund]: refundId } }
      const answer = mapped(refundAnswer, (refund) => ({ refund: readRefund(refund) }))
      return callStripe(context, { path: ['refunds'], key, form, answer })
    })
  },

  /** Giving up ends nothing: Stripe's page stays open. */
  readReturn({ providerPaymentId, providerCheckoutId }, parameters) {
    const isOurs = (name: string, ours: string | undefined) =>
      ours === undefined || parameters.getAll(name).every((id) => id === ours)
    return isOurs('payment_intent', providerPaymentId) && isOurs('session_id', providerCheckoutId)
      ? { next: 'read' }
      : { next: 'refuse', reason: 'It names another payment than the one this return is of.' }
  },

  /** Stripe lists the newest first: a page is turned round, the order of the pages stays. */
  async list(since, cursor, context) {
    const [index = '0', after] = cursor?.split(':') ?? []
    const phase = phases[Number(index)]
    if (phase === undefined) return { outcome: 'done', payments: [] }
    const form = { ...phase.form, created: { gte: toSeconds(since.getTime()) }, starting_after: after }
    const page = await readListPage(context, { ...phase, form })
    if (page.outcome !== 'done') return page
    const payments: ListedPayment[] = []
    const intents = page.items.toReversed().flatMap(({ intent }) => intent ?? [])
    for (const intent of new Map(intents.map((one) => [one.id, one])).values()) {
      const snapshot = readIntent(intent)
      // A declined card at a page that is still open looks like a payment that failed.
      if (['pending', 'requires_action', 'failed'].includes(snapshot.status)) continue
      const outcome = await completeSnapshot(snapshot, intent, context)
      if (outcome.outcome !== 'done') return outcome
      const paymentId = intent.metadata?.[references.payment]
      payments.push(present<ListedPayment>({ paymentId, snapshot: outcome.snapshot }))
    }
    const following = Number(index) + 1
    const next = page.hasMore ? `${index}:${page.items.at(-1)?.id}` : phases[following] && String(following)
    return { outcome: 'done', payments, ...(next && { next }) }
  },
}

function writeMetadata({ metadata, paymentId }: PaymentCommand | CheckoutCommand): Form {
  return { ...metadata, [references.payment]: paymentId }
}

/** The same for every repetition: another body under the same key would be refused. */
function writeExpiry(expiresAt: Date, paymentId: string): number {
  const earliestMs = timeOfId(paymentId).getTime() + shortestPageMs + marginMs
  return Math.ceil(Math.max(expiresAt.getTime(), earliestMs) / 1000)
}

type Paid = Promise<Outcome<{ snapshot: PaymentSnapshot }>>

async function changeIntent(
  ref: PaymentRef,
  verb: 'capture' | 'cancel',
  call: { key: string; form?: Form },
  context: Context,
): Paid {
  return thenDone(requireIntent(ref, context), ({ id }) =>
    callStripe(context, { path: ['payment_intents', id, verb], ...call, ...paymentAnswer }),
  )
}

async function requireIntent(ref: PaymentRef, context: Context): Promise<Outcome<{ id: string }>> {
  if (ref.providerPaymentId !== undefined) return { outcome: 'done', id: ref.providerPaymentId }
  return thenDone(findPayment(ref, context), ({ intent }) =>
    intent ? { outcome: 'done', id: intent.id } : refuse('state', `${title} has no payment for this yet.`),
  )
}

/** A payment as it was found: the page, its payment, or both. */
interface Found {
  page?: Page | undefined
  intent?: Intent | undefined
}

/** By the ids Stripe gave, else by ours. Nothing found: Stripe certainly has nothing. */
async function findPayment(ref: PaymentRef, context: Context): Promise<Outcome<Found>> {
  const { flow, providerCheckoutId: pageId, providerPaymentId: id } = ref
  if (flow === 'checkout' && pageId !== undefined) {
    const expand = expandWhole('payment_intent.')
    const paged = findStripe(context, pageAnswer, pathOfPage(pageId), ...expand)
    return thenDone(paged, ({ found }) => judgeFound(ref, found, expanded(found?.payment_intent)))
  }
  if (id !== undefined) {
    const known = findStripe(context, intentAnswer, ['payment_intents', id], ...expandWhole())
    return thenDone(known, ({ found }) => judgeFound(ref, undefined, found))
  }
  const listing = { path: ['payment_intents'], item: intentAnswer }
  const ours = findOurs(context, listing, [references.payment, ref.paymentId, ref.createdAt])
  return thenDone(ours, ({ found }) =>
    found ? findPayment({ ...ref, providerPaymentId: found.id }, context) : { outcome: 'done' },
  )
}

/** With what became of the money: so that one call tells all. */
function expandWhole(prefix = ''): string[] {
  return ['latest_charge', 'latest_charge.refunds'].map((name) => prefix + name)
}

function judgeFound({ paymentId }: PaymentRef, page?: Page, intent?: Intent): Outcome<Found> {
  const named = (intent ?? page)?.metadata?.[references.payment]
  if (named === undefined || named === paymentId) return { outcome: 'done', page, intent }
  return mismatch(`${title}: the answer is about ${named}, not about this payment.`)
}

const disputeAnswer = z.looseObject({ id: z.string(), status: z.string() })

/** Adds refunds and the dispute. The charge's own sum also counts what was let go of a hold. */
async function completeSnapshot(
  snapshot: PaymentSnapshot,
  intent: Intent | undefined,
  context: Context,
): Paid {
  if (intent === undefined || snapshot.captured === 0) return { outcome: 'done', snapshot }
  const form = { payment_intent: intent.id }
  const { refunds: inline, disputed: isDisputed } = expanded(intent.latest_charge) ?? {}
  const listed =
    inline?.has_more === false
      ? { outcome: 'done' as const, items: inline.data }
      : await listStripe(context, { path: ['refunds'], form, item: refundAnswer })
  if (listed.outcome !== 'done') return listed
  const refunds = listed.items.map(readRefund)
  const refunded = refunds.reduce((sum, { status, amount }) => sum + (status === 'succeeded' ? amount : 0), 0)
  const complete = { ...snapshot, refunds, refunded }
  if (!isDisputed) return { outcome: 'done', snapshot: complete }
  const disputes = await readListPage(context, { path: ['disputes'], form, item: disputeAnswer })
  if (disputes.outcome === 'unknown') return disputes
  const [dispute] = disputes.outcome === 'done' ? disputes.items : []
  const status = disputeStatuses.get(dispute?.status ?? '')
  const known = dispute && status && { dispute: { status, providerDisputeId: dispute.id } }
  return { outcome: 'done', snapshot: { ...complete, ...known } }
}

type ListedPayment = { paymentId?: string; snapshot: PaymentSnapshot }

const listedAnswer = intentAnswer.transform((intent) => ({ id: intent.id, intent }))
const bearerAnswer = z
  .looseObject({ id: z.string(), payment_intent: expandable(intentAnswer) })
  .transform(({ id, payment_intent: intent }) => ({ id, intent: expanded(intent) }))

/** What is listed to find every payment that was made, refunded or disputed since: Stripe has no list of changes. */
const phases = [
  { path: ['payment_intents'], form: { expand: expandWhole('data.') }, item: listedAnswer },
  { path: ['refunds'], form: { expand: expandWhole('data.payment_intent.') }, item: bearerAnswer },
  { path: ['disputes'], form: { expand: expandWhole('data.payment_intent.') }, item: bearerAnswer },
]
