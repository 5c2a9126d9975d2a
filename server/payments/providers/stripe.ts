import { z } from 'zod'
import { readJson, secretField } from '#connections'
import type { Outcome, ProviderContext } from '#connections'
import type { FieldError } from '#core/errors.ts'
import { timeOfId } from '#core/ids.ts'
import type { CheckoutCommand, MethodChoice, PaymentCommand, PaymentProvider } from './provider.ts'
import type { PaymentRef, PaymentSnapshot, RefundCommand, RefundSnapshot } from './provider.ts'
import type { ReturnReading, Windows } from './provider.ts'
import { callStripe, type Form, refuse, stateIfClosed, title } from './stripe-call.ts'
import { checkStripe } from './stripe-check.ts'
import { addParameter, intentCall, moneyProblem, readIntent } from './stripe-mapping.ts'
import { readRefund, readSession, references, refundAnswer, sessionAnswer, wire } from './stripe-mapping.ts'
import { writeMoney } from './stripe-mapping.ts'
import { finishMethod, removeMethod, saveMethod } from './stripe-methods.ts'
import { findPayment, listPayments, readPayment } from './stripe-reading.ts'
import { subscriptions } from './stripe-subscriptions.ts'
import { ownsStripeEvent, parseStripeEvent, verifyStripeEvent } from './stripe-webhook.ts'

const minuteMs = 60 * 1000
const dayMs = 24 * 60 * minuteMs

const facts = {
  id: 'stripe',
  title,
  baseUrl: 'https://api.stripe.com',
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
  acknowledgement: { status: 200 },
} satisfies Partial<PaymentProvider>

const credentials = z.strictObject({
  secretKey: secretField('Secret key, or a restricted key. Test keys move no money.').regex(
    /^(sk|rk)_(test|live)_\w+$/,
    'Begins with sk_test_, sk_live_, rk_test_ or rk_live_; what begins with pk_ is for browsers.',
  ),
  webhookSecret: webhookSecretField('Signing secret of the webhook. Needed to accept webhooks.').optional(),
  previousWebhookSecret: webhookSecretField(
    'Former signing secret: webhooks signed with it still pass.',
  ).optional(),
  account: z
    .string()
    .regex(/^acct_\w+$/, 'Begins with acct_.')
    .meta({ description: 'Connected account that is charged, where the key is that of a platform.' })
    .optional(),
  refundWindowDays: countField('For how many days payments can be refunded.', 365, 3650),
  captureWindowDays: countField('For how many days a held payment can be captured.', 7, 90),
})

function webhookSecretField(description: string): z.ZodString {
  return secretField(description).regex(/^whsec_[\x21-\x7e]+$/, 'Begins with whsec_, as Stripe shows it.')
}

function countField(description: string, usual: number, most: number) {
  return z.number().int().min(1).max(most).default(usual).meta({ description })
}

export type Credentials = z.output<typeof credentials>
type Context = ProviderContext<Credentials>
type Snapshot = Promise<Outcome<{ snapshot: PaymentSnapshot }>>

function windows({ refundWindowDays, captureWindowDays }: Credentials): Windows {
  return { refundDays: refundWindowDays, captureDays: captureWindowDays }
}

const shortestPageMs = 30 * minuteMs
/** Ours is made a little before Stripe's. */
const marginMs = minuteMs

function checkPayment(command: PaymentCommand | CheckoutCommand): FieldError[] {
  const problem = moneyProblem(command.amount, command.currency)
  const errors = problem === undefined ? [] : [{ field: 'amount', message: problem }]
  if ('method' in command) {
    const { method, installments } = command
    if (method.kind === 'token' && !/^pm_\w+$/.test(method.token)) {
      errors.push({ field: 'token', message: `is no PaymentMethod of ${title}: those begin with pm_` })
    }
    if (installments > 1) {
      errors.push({ field: 'installments', message: `must be 1: ${title} charges at once here` })
    }
    return errors
  }
  if (command.expiresAt === undefined) return errors
  const openMs = command.expiresAt.getTime() - timeOfId(command.paymentId).getTime()
  if (openMs < shortestPageMs || openMs > dayMs) {
    const message = `must be 30 minutes to 24 hours from now: so long ${title} keeps a page open`
    errors.push({ field: 'expires_at', message })
  }
  return errors
}

async function createPayment(command: PaymentCommand, context: Context): Snapshot {
  const money = writeMoney(command.amount, command.currency)
  if ('outcome' in money) return money
  const { offSession, returnUrl } = command
  return callIntent(context, {
    path: ['payment_intents'],
    key: command.key,
    form: {
      ...money,
      ...writeMethod(command.method),
      confirm: true,
      automatic_payment_methods: { enabled: true, allow_redirects: offSession ? 'never' : 'always' },
      ...(offSession ? { off_session: true } : { return_url: returnUrl }),
      capture_method: command.capture,
      description: command.description,
      metadata: writeMetadata(command),
      expand: ['latest_charge'],
    },
  })
}

function writeMethod(method: MethodChoice): Form {
  if (method.kind === 'token') return { payment_method: method.token }
  return { customer: method.token.customer, payment_method: method.token.payment_method }
}

function writeMetadata(command: PaymentCommand | CheckoutCommand): Form {
  return { ...command.metadata, [references.payment]: command.paymentId }
}

/** A call that answers with the payment. */
async function callIntent(context: Context, call: { path: string[]; key: string; form?: Form }): Snapshot {
  const outcome = await callStripe(context, { ...call, ...intentCall })
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', snapshot: readIntent(outcome.answer) }
}

async function createCheckout(command: CheckoutCommand, context: Context): Snapshot {
  const { paymentId, description, customer, returnUrl, expiresAt } = command
  const items = []
  for (const { title: name, quantity, unitAmount } of command.items) {
    const money = writeMoney(unitAmount, command.currency)
    if ('outcome' in money) return money
    const { amount, currency } = money
    items.push({ quantity, price_data: { currency, unit_amount: amount, product_data: { name } } })
  }
  const metadata = writeMetadata(command)
  const form = {
    mode: 'payment',
    line_items: items,
    success_url: addParameter(returnUrl, 'session_id={CHECKOUT_SESSION_ID}'),
    cancel_url: command.cancelUrl,
    client_reference_id: paymentId,
    customer_email: customer.email,
    ...(expiresAt && { expires_at: writeExpiry(expiresAt, paymentId) }),
    payment_intent_data: { capture_method: command.capture, description, metadata },
    metadata,
  }
  const call = { path: ['checkout', 'sessions'], key: command.key, form, read: readJson(sessionAnswer) }
  const outcome = await callStripe(context, call)
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', snapshot: readSession(outcome.answer) }
}

/** The same for every repetition: another body under the same key would be refused. */
function writeExpiry(expiresAt: Date, paymentId: string): number {
  const earliestMs = timeOfId(paymentId).getTime() + shortestPageMs + marginMs
  return Math.ceil(Math.max(expiresAt.getTime(), earliestMs) / 1000)
}

/** Giving up ends nothing: Stripe's page stays open. */
function readReturn(ref: PaymentRef, parameters: URLSearchParams): ReturnReading {
  const isOurs = (name: string, ours: string | undefined) =>
    ours === undefined || parameters.getAll(name).every((id) => id === ours)
  if (!isOurs('payment_intent', ref.providerPaymentId) || !isOurs('session_id', ref.providerCheckoutId)) {
    return { next: 'refuse', reason: 'It names another payment than the one this return is of.' }
  }
  return { next: 'read' }
}

async function capture(ref: PaymentRef, amount: number, key: string, context: Context): Snapshot {
  const money = writeMoney(amount, ref.currency)
  if ('outcome' in money) return money
  const intent = await requireIntent(ref, context)
  if (intent.outcome !== 'done') return intent
  const form = { amount_to_capture: money.amount, expand: ['latest_charge'] }
  return callIntent(context, { path: ['payment_intents', intent.id, 'capture'], key, form })
}

/** A page is closed; what was paid there, and what we charged, is let go. */
async function cancel(ref: PaymentRef, key: string, context: Context): Snapshot {
  const found = ref.flow === 'checkout' ? await findPayment(ref, context) : undefined
  if (found && found.outcome !== 'done') return found
  if (found?.session?.status === 'open') {
    const path = ['checkout', 'sessions', found.session.id, 'expire']
    const outcome = await callStripe(context, { path, key, read: readJson(sessionAnswer) })
    if (outcome.outcome === 'done') {
      return { outcome: 'done', snapshot: { ...readSession(outcome.answer), status: 'canceled' } }
    }
    return stateIfClosed(outcome)
  }
  const providerPaymentId = found?.intent?.id ?? ref.providerPaymentId
  const intent = await requireIntent({ ...ref, providerPaymentId }, context)
  if (intent.outcome !== 'done') return intent
  return callIntent(context, { path: ['payment_intents', intent.id, 'cancel'], key })
}

async function refund(
  ref: PaymentRef,
  { refundId, amount, key }: RefundCommand,
  context: Context,
): Promise<Outcome<{ refund: RefundSnapshot }>> {
  const money = writeMoney(amount, ref.currency)
  if ('outcome' in money) return money
  const intent = await requireIntent(ref, context)
  if (intent.outcome !== 'done') return intent
  const metadata = { [references.refund]: refundId }
  const form = { payment_intent: intent.id, amount: money.amount, metadata }
  const outcome = await callStripe(context, { path: ['refunds'], key, form, read: readJson(refundAnswer) })
  return outcome.outcome === 'done' ? { outcome: 'done', refund: readRefund(outcome.answer) } : outcome
}

async function requireIntent(ref: PaymentRef, context: Context): Promise<Outcome<{ id: string }>> {
  if (ref.providerPaymentId !== undefined) return { outcome: 'done', id: ref.providerPaymentId }
  const found = await findPayment(ref, context)
  if (found.outcome !== 'done') return found
  if (found.intent) return { outcome: 'done', id: found.intent.id }
  return refuse('state', `${title} has no payment for this yet.`)
}

/** Keys of today carry a part of their account's id, which rotating them does not change. */
function accountOf({ account, secretKey }: Credentials): string | undefined {
  return account ?? /_(?:test|live)_51(\w{14})/.exec(secretKey)?.[1]
}

export const stripe: PaymentProvider<Credentials> = {
  ...facts,
  credentials,
  accountOf,
  verify: verifyStripeEvent,
  owns: ownsStripeEvent,
  check: checkStripe,
  windows,
  checkPayment,
  createPayment,
  createCheckout,
  read: readPayment,
  capture,
  cancel,
  refund,
  readReturn,
  saveMethod,
  finishMethod,
  removeMethod,
  subscriptions,
  parse: parseStripeEvent,
  list: listPayments,
}
