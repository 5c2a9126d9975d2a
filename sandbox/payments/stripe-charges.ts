import { z } from 'zod'
import { addMovement, book } from './stripe-balance.ts'
import type { Decline } from './stripe-cards.ts'
import { openDispute } from './stripe-disputes.ts'
import { emit } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import type { Charge, PaymentIntent, PaymentMethod, Refund } from './stripe-objects.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

export const HOLDS_FOR_SECONDS = 7 * 24 * 60 * 60

/** Takes the money, or only holds it when the intent is captured later. */
export function chargeCard(work: Work, intent: PaymentIntent, method: PaymentMethod): Charge {
  const isHeld = intent.capture_method === 'manual'
  const charge = addCharge(work, intent, method, {
    authorization_code: String(100_000 + (intent.created % 900_000)),
    captured: false,
    outcome: {
      network_status: 'approved_by_network',
      reason: null,
      seller_message: 'Payment complete.',
      type: 'authorized',
    },
    paid: true,
    status: 'succeeded',
  })
  book(work, 'authorization', intent, intent.amount)
  if (isHeld) charge.payment_method_details.card.capture_before = work.at + HOLDS_FOR_SECONDS
  else takeMoney(work, intent, charge, intent.amount)
  emit(work, 'charge.succeeded', charge)
  const { dispute } = work.account.cards.get(method.id)?.behaviour ?? {}
  if (dispute && !isHeld) openDispute(work, charge, dispute)
  return charge
}

/** A charge that the bank declined: kept, but no money in it. */
export function declineCharge(
  work: Work,
  intent: PaymentIntent,
  method: PaymentMethod,
  decline: Decline,
): Charge {
  const charge = addCharge(work, intent, method, {
    authorization_code: null,
    captured: false,
    failure_code: decline.code,
    failure_message: decline.message,
    outcome: {
      network_status: 'declined_by_network',
      reason: decline.declineCode ?? decline.code,
      seller_message: 'The bank did not return any further details with this decline.',
      type: 'issuer_declined',
    },
    paid: false,
    status: 'failed',
  })
  emit(work, 'charge.failed', charge)
  return charge
}

/** What is not captured goes back at once, and counts as refunded in the charge. */
export function captureCharge(work: Work, intent: PaymentIntent, charge: Charge, amount: number): void {
  takeMoney(work, intent, charge, amount)
  const released = charge.amount - amount
  charge.amount_refunded = released
  if (released > 0) book(work, 'void', intent, released)
  emit(work, 'charge.captured', charge)
}

/** Lets go of held money: a refund in Stripe's books of a charge that never was captured. */
export function releaseCharge(
  work: Work,
  intent: PaymentIntent,
  charge: Charge,
  reason: Refund['reason'],
): void {
  charge.amount_refunded = charge.amount
  charge.refunded = true
  book(work, 'void', intent, charge.amount)
  const refund: Refund = {
    id: createId('re'),
    object: 'refund',
    amount: charge.amount,
    balance_transaction: null,
    charge: charge.id,
    created: work.at,
    currency: charge.currency,
    destination_details: { type: 'card', card: { type: 'reversal' } },
    livemode: work.account.livemode,
    metadata: {},
    payment_intent: intent.id,
    reason,
    status: 'succeeded',
  }
  addObject(work, refund, [charge.id, intent.id])
  if (reason !== null) emit(work, 'charge.expired', charge)
  emit(work, 'charge.refunded', charge)
}

function takeMoney(work: Work, intent: PaymentIntent, charge: Charge, amount: number): void {
  charge.captured = true
  charge.amount_captured = amount
  const { currency, description } = charge
  const movement = { type: 'charge', amount, currency, source: charge.id, description } as const
  charge.balance_transaction = addMovement(work, movement)
  book(work, 'charge', intent, amount)
}

type ChargeOutcome = Pick<Charge, 'authorization_code' | 'captured' | 'outcome' | 'paid' | 'status'> &
  Partial<Pick<Charge, 'failure_code' | 'failure_message'>>

function addCharge(work: Work, intent: PaymentIntent, method: PaymentMethod, outcome: ChargeOutcome): Charge {
  const { three_d_secure_usage: _, ...card } = method.card
  const charge: Charge = {
    id: createId('ch'),
    object: 'charge',
    amount: intent.amount,
    amount_captured: 0,
    amount_refunded: 0,
    balance_transaction: null,
    billing_details: { ...method.billing_details },
    created: work.at,
    currency: intent.currency,
    customer: intent.customer,
    description: intent.description,
    disputed: false,
    failure_code: null,
    failure_message: null,
    livemode: work.account.livemode,
    metadata: intent.metadata,
    payment_intent: intent.id,
    payment_method: method.id,
    payment_method_details: { type: 'card', card },
    receipt_email: intent.receipt_email,
    refunded: false,
    ...outcome,
  }
  intent.latest_charge = charge.id
  return addObject(work, charge, [intent.id, intent.customer])
}

export const chargeRoutes: Routes = {
  'GET charges': listRoute<Charge>('charge', 'charges', { parents: ['payment_intent', 'customer'] }),
  'GET charges/:id': route('read', z.strictObject({}), ({ account }, _, id) =>
    getObject(account, 'charge', id),
  ),
}
