import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import { playDue } from './agenda.ts'
import type { PaymentFault } from './payment-faults.ts'
import type { Subscription } from './stripe-billing-objects.ts'
import { declineOf } from './stripe-cards.ts'
import { setSubscriptionStatus } from './stripe-collection.ts'
import { changeDispute, openDispute } from './stripe-disputes.ts'
import { invalidRequest, StripeError } from './stripe-errors.ts'
import { emit, sendEvents } from './stripe-events.ts'
import { attachMethod, createCard } from './stripe-methods.ts'
import type {
  Charge,
  CheckoutSession,
  Customer,
  Dispute,
  PaymentIntent,
  PaymentMethod,
  Refund,
  StripeObject,
} from './stripe-objects.ts'
import { cancelPayment, failPayment, takePayment } from './stripe-payments.ts'
import { endPeriod } from './stripe-periods.ts'
import { refundCharge, settleRefund } from './stripe-refunds.ts'
import { getObject, metadataKey, objectsOf, startWork } from './stripe-state.ts'
import type { Stripe, StripeAccount, Work } from './stripe-state.ts'

/** The payment is found by its intent, its charge, its session, or what PipeCore calls it. */
const payment = z.string()
const webhook = z.boolean().default(true)

const schemas = {
  refund: z.strictObject({ payment, amount: z.int().min(1).optional(), webhook }),
  dispute: z.strictObject({
    payment,
    status: z.string().default('needs_response'),
    reason: z.string().default('fraudulent'),
    webhook,
  }),
  settle: z.strictObject({
    payment,
    status: z.enum(['approved', 'rejected']),
    reason: z.string().default('generic_decline'),
    webhook,
  }),
  settle_refund: z.strictObject({ refund: z.string(), status: z.enum(['succeeded', 'failed']), webhook }),
  cancel: z.strictObject({ payment, webhook }),
  renew: z.strictObject({ subscription: z.string(), webhook }),
  change_card: z.strictObject({
    subscription: z.string(),
    card: z.string().default('pm_card_visa'),
    webhook,
  }),
}

type Actions = {
  [Name in keyof typeof schemas]: (stripe: Stripe, input: z.infer<(typeof schemas)[Name]>) => Done
}
type Done = { work: Work; object: StripeObject }

const actions: Actions = {
  refund(stripe, { payment: name, amount }) {
    const { work, intent } = findPayment(stripe, name)
    return {
      work,
      object: refundCharge(work, chargeOf(work, intent), { amount, reason: 'requested_by_customer' }),
    }
  },
  dispute(stripe, { payment: name, status, reason }) {
    const { work, intent } = findPayment(stripe, name)
    const known = objectsOf<Dispute>(work.account, 'dispute', intent.id).at(-1)
    const dispute = known ?? openDispute(work, chargeOf(work, intent), reason)
    return { work, object: dispute.status === status ? dispute : changeDispute(work, dispute, status) }
  },
  settle(stripe, { payment: name, status, reason }) {
    const { work, intent } = findPayment(stripe, name)
    if (intent.status !== 'processing') throw inputError('payment', `has the status ${intent.status}`)
    const method = getObject<PaymentMethod>(work.account, 'payment_method', intent.payment_method ?? '')
    if (status === 'approved') takePayment(work, intent, method)
    else failPayment(work, intent, method, declineOf(reason))
    return { work, object: intent }
  },
  settle_refund(stripe, { refund: id, status }) {
    const work = startWork(stripe, ownerOf(stripe, id, 'refund'))
    return { work, object: settleRefund(work, getObject<Refund>(work.account, 'refund', id), status) }
  },
  cancel(stripe, { payment: name }) {
    const { work, intent } = findPayment(stripe, name)
    cancelPayment(work, intent, 'requested_by_customer')
    return { work, object: intent }
  },
  renew(stripe, { subscription: id }) {
    const { work, subscription } = findSubscription(stripe, id)
    subscription.billing_cycle_anchor = work.at
    for (const item of subscription.items.data) item.current_period_end = work.at
    endPeriod(work, subscription)
    return { work, object: subscription }
  },
  change_card(stripe, { subscription: id, card }) {
    const { work, subscription } = findSubscription(stripe, id)
    const method = createCard(work, card)
    attachMethod(work, method, subscription.customer)
    const customer = getObject<Customer>(work.account, 'customer', subscription.customer)
    customer.invoice_settings.default_payment_method = method.id
    subscription.default_payment_method = method.id
    emit(work, 'customer.updated', customer)
    setSubscriptionStatus(work, subscription, subscription.status)
    return { work, object: subscription }
  },
}

/** What happens at Stripe without a call: in its dashboard, at a bank, by the clock. */
export async function actOnStripe(
  stripe: Stripe,
  action: string,
  input: unknown,
): Promise<Record<string, unknown>> {
  if (!isAction(action)) throw inputError('action', `must be one of ${Object.keys(schemas).join(', ')}`)
  playDue(stripe.agenda)
  try {
    const parsed = schemas[action].parse(input)
    const run = actions[action] as (stripe: Stripe, input: unknown) => Done
    const { work, object } = run(stripe, parsed)
    if (!parsed.webhook) work.fault = dropped
    await sendEvents(work)
    return { ...object }
  } catch (error) {
    if (error instanceof StripeError) throw inputError(error.body.param ?? 'action', error.message)
    throw error
  }
}

const dropped: PaymentFault = { name: 'webhook_dropped', afterMs: 0, retryAfterSeconds: 0 }

function isAction(action: string): action is keyof typeof schemas {
  return Object.hasOwn(schemas, action)
}

function findPayment(stripe: Stripe, name: string): { work: Work; intent: PaymentIntent } {
  for (const account of stripe.accounts.byName.values()) {
    const named = account.objects.get(name)
    const id =
      named?.object === 'payment_intent'
        ? name
        : ((named as Charge | CheckoutSession | undefined)?.payment_intent ?? latestOf(account, name))
    if (id !== undefined)
      return { work: startWork(stripe, account), intent: getObject(account, 'payment_intent', id) }
  }
  throw inputError('payment', 'no such payment')
}

/** The last attempt at what PipeCore calls by this name. */
function latestOf(account: StripeAccount, reference: string): string | undefined {
  return account.byMetadata.get(metadataKey('payment_intent', 'pipecore_payment_id', reference))?.at(-1)?.id
}

function findSubscription(stripe: Stripe, name: string): { work: Work; subscription: Subscription } {
  for (const account of stripe.accounts.byName.values()) {
    const key = metadataKey('subscription', 'pipecore_subscription_id', name)
    const id = account.objects.has(name) ? name : account.byMetadata.get(key)?.at(-1)?.id
    if (id !== undefined)
      return { work: startWork(stripe, account), subscription: getObject(account, 'subscription', id) }
  }
  throw inputError('subscription', 'no such subscription')
}

function ownerOf(stripe: Stripe, id: string, field: string): StripeAccount {
  const owner = [...stripe.accounts.byName.values()].find(({ objects }) => objects.has(id))
  if (!owner) throw inputError(field, `no such ${field}`)
  return owner
}

function chargeOf({ account }: Work, intent: PaymentIntent): Charge {
  if (intent.latest_charge === null) throw invalidRequest('This payment has no charge.')
  return getObject<Charge>(account, 'charge', intent.latest_charge)
}
