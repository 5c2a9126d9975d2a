import { schedule } from './agenda.ts'
import { declineOf } from './stripe-cards.ts'
import type { Decline } from './stripe-cards.ts'
import {
  captureCharge,
  chargeCard,
  declineCharge,
  HOLDS_FOR_SECONDS,
  releaseCharge,
} from './stripe-charges.ts'
import { invalidRequest, unexpectedState } from './stripe-errors.ts'
import { emit, sendEvents } from './stripe-events.ts'
import { attachMethod, createFailure } from './stripe-methods.ts'
import type { CardFailure, Charge, NextAction, PaymentIntent, PaymentMethod } from './stripe-objects.ts'
import { addObject, addPage, createId, getObject, startWork } from './stripe-state.ts'
import type { CardState, Follower, Work } from './stripe-state.ts'

export type NewIntent = Pick<PaymentIntent, 'amount' | 'currency' | 'customer'> &
  Partial<PaymentIntent> & { follower?: Follower }

/** A payment intent without any attempt at it. */
export function createIntent(work: Work, { follower, ...made }: NewIntent): PaymentIntent {
  const id = createId('pi')
  const intent: PaymentIntent = {
    id,
    object: 'payment_intent',
    amount_capturable: 0,
    amount_received: 0,
    automatic_payment_methods: null,
    canceled_at: null,
    cancellation_reason: null,
    capture_method: 'automatic',
    client_secret: createId(`${id}_secret`),
    confirmation_method: 'automatic',
    created: work.at,
    description: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: work.account.livemode,
    metadata: {},
    next_action: null,
    payment_method: null,
    payment_method_types: ['card'],
    processing: null,
    receipt_email: null,
    setup_future_usage: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: 'requires_payment_method',
    ...made,
  }
  addObject(work, intent, [intent.customer])
  if (follower) work.account.followers.set(id, follower)
  emit(work, 'payment_intent.created', intent)
  return intent
}

export type Attempt = {
  /** Where the customer comes back to after 3-D Secure. */
  returnUrl: string | null
  /** The customer is not there to authenticate. */
  offSession: boolean
  failsOnAction?: boolean
}

/** Tries to pay with a card; answers why it did not do, which the intent says as well. */
export function attemptPayment(
  work: Work,
  intent: PaymentIntent,
  method: PaymentMethod,
  { returnUrl, offSession, failsOnAction }: Attempt,
): CardFailure | null {
  intent.payment_method = method.id
  intent.last_payment_error = null
  intent.next_action = null
  if (!needsAuthentication(cardOf(work, method), offSession)) return takePayment(work, intent, method)
  if (offSession || failsOnAction)
    return failPayment(work, intent, method, declineOf('authentication_required'))
  intent.next_action = describeAction(work, intent.id, returnUrl)
  setStatus(work, intent, 'requires_action')
  return null
}

/** The customer came through 3-D Secure, or did not. */
export function authenticatePayment(
  work: Work,
  intent: PaymentIntent,
  isAuthentic: boolean,
): CardFailure | null {
  const method = getObject<PaymentMethod>(work.account, 'payment_method', intent.payment_method ?? '')
  intent.next_action = null
  if (isAuthentic) return takePayment(work, intent, method)
  const failure: CardFailure = {
    ...createFailure({
      code: 'payment_intent_authentication_failure',
      message:
        'We are unable to authenticate your payment method. Please choose a different payment method and try again.',
    }),
    type: 'invalid_request_error',
    payment_method: { ...method },
  }
  return leaveFailed(work, intent, failure)
}

/** An asynchronous payment is under way until the bank says more. */
export function waitForBank(work: Work, intent: PaymentIntent, method: PaymentMethod): void {
  intent.payment_method = method.id
  setStatus(work, intent, 'processing')
}

/** What the bank says of a payment under way. */
export function takePayment(work: Work, intent: PaymentIntent, method: PaymentMethod): CardFailure | null {
  const card = cardOf(work, method)
  if (card.behaviour.decline) return failPayment(work, intent, method, card.behaviour.decline)
  const charge = chargeCard(work, intent, method)
  if (intent.setup_future_usage !== null) card.isSetUp = true
  if (intent.setup_future_usage !== null && intent.customer !== null)
    attachMethod(work, method, intent.customer)
  if (method.customer === null) card.isSpent = true
  if (charge.captured) return finishPayment(work, intent, intent.amount)
  intent.amount_capturable = intent.amount
  setStatus(work, intent, 'requires_capture')
  expireHold(work, intent)
  return null
}

export function failPayment(
  work: Work,
  intent: PaymentIntent,
  method: PaymentMethod,
  decline: Decline,
): CardFailure {
  const charge = declineCharge(work, intent, method, decline)
  return leaveFailed(
    work,
    intent,
    createFailure(decline, { charge: charge.id, payment_method: { ...method } }),
  )
}

export function capturePayment(work: Work, intent: PaymentIntent, amount = intent.amount_capturable): void {
  if (intent.status !== 'requires_capture') {
    const message = `This PaymentIntent could not be captured because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be captured: requires_capture.`
    throw unexpectedState(intent, message)
  }
  if (amount < 1 || amount > intent.amount_capturable) {
    const message = `The amount to capture (${amount}) must be at least 1 and at most the amount capturable (${intent.amount_capturable}).`
    const code = amount < 1 ? 'parameter_invalid_integer' : 'amount_too_large'
    throw invalidRequest(message, { code, param: 'amount_to_capture' })
  }
  captureCharge(work, intent, chargeOf(work, intent), amount)
  finishPayment(work, intent, amount)
}

const cancelable = [
  'requires_payment_method',
  'requires_capture',
  'requires_confirmation',
  'requires_action',
  'processing',
]

/** Held money is let go. */
export function cancelPayment(work: Work, intent: PaymentIntent, reason: string | null): void {
  if (!cancelable.includes(intent.status)) {
    const message = `You cannot cancel this PaymentIntent because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be canceled: ${cancelable.join(', ')}.`
    throw unexpectedState(intent, message)
  }
  const isExpired = reason === 'automatic'
  if (intent.status === 'requires_capture')
    releaseCharge(work, intent, chargeOf(work, intent), isExpired ? 'expired_uncaptured_charge' : null)
  intent.amount_capturable = 0
  intent.canceled_at = work.at
  intent.cancellation_reason = reason
  intent.next_action = null
  setStatus(work, intent, 'canceled')
}

/** What sends a customer through 3-D Secure. */
export function describeAction(work: Work, id: string, returnUrl: string | null): NextAction {
  addPage(work, id)
  if (returnUrl === null)
    return { type: 'use_stripe_sdk', use_stripe_sdk: { type: 'three_d_secure_redirect' } }
  return {
    type: 'redirect_to_url',
    redirect_to_url: { url: pageUrl(work, id), return_url: returnUrl },
  }
}

export function pageUrl({ stripe }: Work, id: string): string {
  return `${stripe.world.url}/stripe/pay/${id}`
}

export function cardOf({ account }: Work, method: PaymentMethod): CardState {
  return account.cards.get(method.id)!
}

/** A card that was set up is spared 3-D Secure only while the customer is away. */
export function needsAuthentication({ behaviour, isSetUp }: CardState, offSession: boolean): boolean {
  if (behaviour.authentication === 'always') return true
  return behaviour.authentication === 'unless_set_up' && !(offSession && isSetUp)
}

function finishPayment(work: Work, intent: PaymentIntent, amount: number): null {
  intent.amount_received = amount
  intent.amount_capturable = 0
  setStatus(work, intent, 'succeeded')
  return null
}

function leaveFailed(work: Work, intent: PaymentIntent, failure: CardFailure): CardFailure {
  intent.last_payment_error = failure
  intent.payment_method = null
  intent.status = 'requires_payment_method'
  emit(work, 'payment_intent.payment_failed', intent)
  tellFollower(work, intent)
  return failure
}

const statusEvents: Partial<Record<PaymentIntent['status'], string>> = {
  requires_action: 'payment_intent.requires_action',
  processing: 'payment_intent.processing',
  requires_capture: 'payment_intent.amount_capturable_updated',
  succeeded: 'payment_intent.succeeded',
  canceled: 'payment_intent.canceled',
}

function setStatus(work: Work, intent: PaymentIntent, status: PaymentIntent['status']): void {
  intent.status = status
  const type = statusEvents[status]
  if (type !== undefined) emit(work, type, intent)
  tellFollower(work, intent)
}

function tellFollower(work: Work, intent: PaymentIntent): void {
  work.account.followers.get(intent.id)?.changed(work, intent)
}

function chargeOf({ account }: Work, intent: PaymentIntent): Charge {
  return getObject<Charge>(account, 'charge', intent.latest_charge ?? '')
}

function expireHold({ stripe, account, at }: Work, intent: PaymentIntent): void {
  schedule(stripe.agenda, new Date((at + HOLDS_FOR_SECONDS) * 1_000), (due) => {
    if (intent.status !== 'requires_capture') return
    const work = startWork(stripe, account, due)
    cancelPayment(work, intent, 'automatic')
    void sendEvents(work)
  })
}
