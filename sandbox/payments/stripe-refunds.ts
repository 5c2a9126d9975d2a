import { z } from 'zod'
import { schedule } from './agenda.ts'
import { addMovement, book } from './stripe-balance.ts'
import { invalidRequest, unexpectedState } from './stripe-errors.ts'
import { emit, sendEvents } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import type { Charge, PaymentIntent, Refund } from './stripe-objects.ts'
import { boolean, changeMetadata, ignored, integer, metadata, text } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject, startWork } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const SETTLES_AFTER_SECONDS = 60

const created = z.strictObject({
  amount: integer.optional(),
  charge: text.optional(),
  instructions_email: ignored,
  metadata,
  payment_intent: text.optional(),
  reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
  refund_application_fee: boolean.optional(),
  reverse_transfer: boolean.optional(),
})

type NewRefund = Partial<Pick<Refund, 'metadata' | 'reason'>> & { amount?: number | undefined }

/** Gives money back; what card it was decides whether that is quick, slow or fails later. */
export function refundCharge(work: Work, charge: Charge, made: NewRefund): Refund {
  const { account } = work
  const left = charge.amount - charge.amount_refunded
  const amount = made.amount ?? left
  checkRefund(charge, amount, left)
  const behaviour = account.cards.get(charge.payment_method)?.behaviour.refund
  const refund: Refund = {
    id: createId('re'),
    object: 'refund',
    amount,
    balance_transaction: null,
    charge: charge.id,
    created: work.at,
    currency: charge.currency,
    destination_details: { type: 'card', card: { type: behaviour ? 'pending' : 'refund' } },
    livemode: account.livemode,
    metadata: made.metadata ?? {},
    payment_intent: charge.payment_intent,
    reason: made.reason ?? null,
    ...(behaviour === 'pending'
      ? { status: 'pending', pending_reason: 'processing' }
      : { status: 'succeeded' }),
  }
  addObject(work, refund, [charge.id, charge.payment_intent])
  charge.amount_refunded += amount
  charge.refunded = charge.amount_refunded === charge.amount
  // A refund that will bounce never reaches the customer, so the books never have it.
  if (behaviour === undefined) bookRefund(work, refund)
  emit(work, 'refund.created', refund)
  emit(work, 'charge.refunded', charge)
  if (behaviour) settleLater(work, refund, behaviour === 'fails' ? 'failed' : 'succeeded')
  return refund
}

function checkRefund(charge: Charge, amount: number, left: number): void {
  if (charge.disputed) {
    const message = `Charge ${charge.id} has been charged back; cannot issue a refund.`
    throw invalidRequest(message, { code: 'charge_disputed' })
  }
  if (left === 0) {
    const message = `Charge ${charge.id} has already been refunded.`
    throw invalidRequest(message, { code: 'charge_already_refunded' })
  }
  if (amount < 1) {
    const message = 'This value must be greater than or equal to 1.'
    throw invalidRequest(message, { code: 'parameter_invalid_integer', param: 'amount' })
  }
  if (amount > left) {
    const message = `Refund amount (${amount} ${charge.currency}) is greater than unrefunded amount on charge (${left} ${charge.currency})`
    throw invalidRequest(message, { param: 'amount' })
  }
}

/** What the bank made of a refund: the money arrived, or came back. */
export function settleRefund(work: Work, refund: Refund, status: 'succeeded' | 'failed'): Refund {
  if (refund.status === status || refund.status === 'failed' || refund.status === 'canceled') return refund
  refund.status = status
  delete refund.pending_reason
  if (status === 'succeeded') {
    refund.destination_details.card.type = 'refund'
    bookRefund(work, refund)
  } else {
    refund.failure_reason = 'expired_or_canceled_card'
    returnMoney(work, refund)
    emit(work, 'refund.failed', refund)
  }
  emit(work, 'refund.updated', refund)
  return refund
}

function bookRefund(work: Work, refund: Refund): void {
  const intent = getObject<PaymentIntent>(work.account, 'payment_intent', refund.payment_intent)
  const { amount, currency, id } = refund
  refund.balance_transaction = addMovement(work, { type: 'refund', amount: -amount, currency, source: id })
  book(work, 'refund', intent, amount)
}

function returnMoney(work: Work, refund: Refund): void {
  const charge = getObject<Charge>(work.account, 'charge', refund.charge)
  charge.amount_refunded -= refund.amount
  charge.refunded = false
}

function settleLater({ stripe, account, at }: Work, refund: Refund, status: 'succeeded' | 'failed'): void {
  schedule(stripe.agenda, new Date((at + SETTLES_AFTER_SECONDS) * 1_000), (due) => {
    const work = startWork(stripe, account, due)
    settleRefund(work, refund, status)
    void sendEvents(work)
  })
}

function create(work: Work, params: z.infer<typeof created>): Refund {
  return refundCharge(work, findCharge(work, params), {
    amount: params.amount,
    metadata: changeMetadata({}, params.metadata),
    reason: params.reason ?? null,
  })
}

function findCharge({ account }: Work, params: z.infer<typeof created>): Charge {
  const { payment_intent: intentId, charge: chargeId } = params
  if (intentId === undefined && chargeId === undefined) {
    const message =
      'One of the following params should be provided for this request: payment_intent or charge.'
    throw invalidRequest(message, { code: 'parameter_missing' })
  }
  const named = chargeId === undefined ? null : getObject<Charge>(account, 'charge', chargeId, 'charge')
  const id = intentId ?? named!.payment_intent
  const intent = getObject<PaymentIntent>(account, 'payment_intent', id, 'payment_intent')
  const charge = account.objects.get(named?.id ?? intent.latest_charge ?? '') as Charge | undefined
  if (charge?.captured) return charge
  if (intent.status === 'requires_capture') {
    const message = `This uncaptured Charge was created by a PaymentIntent (${id}). You must cancel the PaymentIntent to reverse the authorization instead of refunding the Charge directly.`
    throw unexpectedState(intent, message)
  }
  throw unexpectedState(intent, `This PaymentIntent (${id}) does not have a successful charge to refund.`)
}

function cancel(work: Work, _: object, id: string): Refund {
  const refund = getObject<Refund>(work.account, 'refund', id)
  if (refund.status !== 'requires_action' && refund.status !== 'pending') {
    const message = `You cannot cancel this refund because it has a status of ${refund.status}. Only a refund with the status requires_action may be canceled.`
    throw invalidRequest(message, { code: 'intent_invalid_state' })
  }
  refund.status = 'canceled'
  returnMoney(work, refund)
  emit(work, 'refund.updated', refund)
  return refund
}

const nothing = z.strictObject({})

export const refundRoutes: Routes = {
  'POST refunds': route('refund', created, create),
  'GET refunds': listRoute<Refund>('refund', 'refunds', { parents: ['payment_intent', 'charge'] }),
  'GET refunds/:id': route('read', nothing, ({ account }, _, id) => getObject(account, 'refund', id)),
  'POST refunds/:id': route('refund', z.strictObject({ metadata }), (work, params, id) => {
    const refund = getObject<Refund>(work.account, 'refund', id)
    refund.metadata = changeMetadata(refund.metadata, params.metadata)
    emit(work, 'refund.updated', refund)
    return refund
  }),
  'POST refunds/:id/cancel': route('refund', nothing, cancel),
}
