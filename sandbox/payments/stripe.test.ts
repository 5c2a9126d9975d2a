import assert from 'node:assert/strict'
import { test } from 'node:test'
import Stripe from 'stripe'
import { signStripe } from './stripe-events.ts'
import { failureOf, startStripe } from './stripe-test-account.ts'

const card = { automatic_payment_methods: { enabled: true, allow_redirects: 'never' } } as const
const paid = {
  ...card,
  amount: 12_990,
  currency: 'clp',
  payment_method: 'pm_card_visa',
  confirm: true,
  metadata: { pipecore_payment_id: 'pay_1' },
} as const

test('the signature is that of the contract’s test vector', () => {
  const payload =
    '{"id":"evt_1","object":"event","type":"payment_intent.succeeded","created":1700000000,"data":{"object":{"id":"pi_1","object":"payment_intent","amount":12990,"currency":"clp","status":"succeeded"}}}'
  assert.equal(
    signStripe(['whsec_pipecore_test_secret'], 1_700_000_000, payload),
    't=1700000000,v1=153f6a4e2a6a75403da608fb16190aff769d68f3e2399d4b5b3379798a640498',
  )
})

test('a card is charged, told of by a webhook the SDK verifies, and booked once', async (t) => {
  const { stripe, waitForEvents, ledgerOf } = await startStripe(t)
  const made = await stripe.paymentIntents.create(paid, { idempotencyKey: 'idem-1' })
  assert.deepEqual([made.status, made.amount_received, made.livemode], ['succeeded', 12_990, false])
  assert.match(made.lastResponse.requestId, /^req_/)
  assert.equal(made.lastResponse.apiVersion, '2026-10-28.endive')
  const [event] = await waitForEvents('payment_intent.succeeded')
  assert.equal((event!.data.object as Stripe.PaymentIntent).id, made.id)
  assert.equal(event!.request?.idempotency_key, 'idem-1')
  const read = await stripe.paymentIntents.retrieve(made.id, { expand: ['latest_charge'] })
  const charge = read.latest_charge as Stripe.Charge
  assert.deepEqual([charge.captured, charge.amount_captured, charge.payment_intent], [true, 12_990, made.id])
  assert.equal((await stripe.charges.retrieve(charge.id)).payment_method_details?.card?.last4, '4242')
  assert.deepEqual(await ledgerOf('pay_1'), {
    authorized: 12_990,
    charged: 12_990,
    refunded: 0,
    voided: 0,
    charges: 1,
    refunds: 0,
  })
})

const declines = [
  ['pm_card_chargeDeclined', 'card_declined', 'generic_decline'],
  ['pm_card_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
  ['pm_card_chargeDeclinedExpiredCard', 'expired_card', ''],
  ['pm_card_chargeDeclinedIncorrectCvc', 'incorrect_cvc', ''],
  ['pm_card_chargeDeclinedProcessingError', 'processing_error', ''],
  ['pm_card_chargeDeclinedLostCard', 'card_declined', 'lost_card'],
] as const

test('a declined card answers 402 with its reason, and leaves the intent ready for another card', async (t) => {
  const { stripe, waitForEvents, ledgerOf } = await startStripe(t)
  for (const [method, code, reason] of declines) {
    const error = await failureOf(stripe.paymentIntents.create({ ...paid, payment_method: method }))
    assert.ok(error instanceof Stripe.errors.StripeCardError)
    assert.deepEqual([error.statusCode, error.code, error.decline_code], [402, code, reason])
    const left = await stripe.paymentIntents.retrieve(error.payment_intent!.id)
    assert.deepEqual([left.status, left.last_payment_error?.code], ['requires_payment_method', code])
    const again = await stripe.paymentIntents.confirm(left.id, { payment_method: 'pm_card_cl' })
    assert.deepEqual([again.status, again.last_payment_error], ['succeeded', null])
  }
  const [event] = await waitForEvents('payment_intent.payment_failed')
  const failed = event!.data.object as Stripe.PaymentIntent
  assert.equal(failed.last_payment_error?.decline_code, 'generic_decline')
  assert.equal((await ledgerOf('pay_1'))?.['charges'], declines.length)
})

test('3-D Secure sends the customer away and back with what became of it', async (t) => {
  const { stripe, pay, waitForEvents, sandbox } = await startStripe(t)
  const secure = {
    ...paid,
    payment_method: 'pm_card_threeDSecure2Required',
    return_url: 'https://shop.example/back?order=7',
  }
  const first = await stripe.paymentIntents.create(secure)
  assert.equal(first.status, 'requires_action')
  assert.equal(first.next_action?.redirect_to_url?.url, `${sandbox.url}/stripe/pay/${first.id}`)
  await waitForEvents('payment_intent.requires_action')
  const approved = await pay(first.id, 'approve')
  assert.equal(approved.state, 'succeeded')
  assert.deepEqual(approved.next, {
    method: 'GET',
    url: 'https://shop.example/back?order=7',
    fields: {
      payment_intent: first.id,
      payment_intent_client_secret: first.client_secret,
      redirect_status: 'succeeded',
    },
  })
  const second = await stripe.paymentIntents.create(secure)
  const refused = await pay(second.id, 'decline')
  assert.deepEqual(
    [refused.state, refused.next?.fields['redirect_status']],
    ['requires_payment_method', 'failed'],
  )
  const read = await stripe.paymentIntents.retrieve(second.id)
  assert.equal(read.last_payment_error?.code, 'payment_intent_authentication_failure')
  const away = await failureOf(stripe.paymentIntents.create({ ...secure, off_session: true }))
  assert.deepEqual([away.statusCode, away.code], [402, 'authentication_required'])
})

test('held money is captured in part, the rest let go; what is voided counts as refunded but never was taken', async (t) => {
  const { stripe, waitForEvents, ledgerOf } = await startStripe(t)
  const held = await stripe.paymentIntents.create({ ...paid, capture_method: 'manual' })
  assert.deepEqual([held.status, held.amount_capturable], ['requires_capture', 12_990])
  await waitForEvents('payment_intent.amount_capturable_updated')
  const over = await failureOf(stripe.paymentIntents.capture(held.id, { amount_to_capture: 13_000 }))
  assert.equal(over.code, 'amount_too_large')
  const captured = await stripe.paymentIntents.capture(held.id, { amount_to_capture: 5_000 })
  assert.deepEqual([captured.status, captured.amount, captured.amount_received], ['succeeded', 12_990, 5_000])
  const again = await failureOf(stripe.paymentIntents.capture(held.id))
  assert.deepEqual([again.statusCode, again.code], [400, 'payment_intent_unexpected_state'])
  const charge = await stripe.charges.retrieve(captured.latest_charge as string)
  assert.deepEqual([charge.amount_captured, charge.amount_refunded, charge.refunded], [5_000, 7_990, false])
  const other = await stripe.paymentIntents.create({
    ...paid,
    capture_method: 'manual',
    metadata: { pipecore_payment_id: 'pay_2' },
  })
  const canceled = await stripe.paymentIntents.cancel(other.id, { cancellation_reason: 'abandoned' })
  assert.deepEqual([canceled.status, canceled.cancellation_reason], ['canceled', 'abandoned'])
  const [voided] = await waitForEvents('charge.refunded', 'payment_intent.canceled')
  const released = voided!.data.object as Stripe.Charge
  assert.deepEqual([released.captured, released.refunded], [false, true])
  assert.deepEqual(await ledgerOf('pay_1'), {
    authorized: 12_990,
    charged: 5_000,
    refunded: 0,
    voided: 7_990,
    charges: 1,
    refunds: 0,
  })
  assert.deepEqual(
    [(await ledgerOf('pay_2'))?.['charged'], (await ledgerOf('pay_2'))?.['voided']],
    [0, 12_990],
  )
})

test('held money that nobody captures is let go after seven days', async (t) => {
  const { stripe, jump, waitForEvents } = await startStripe(t)
  const held = await stripe.paymentIntents.create({ ...paid, capture_method: 'manual' })
  await jump(6.9)
  assert.equal((await stripe.paymentIntents.retrieve(held.id)).status, 'requires_capture')
  await jump(0.2)
  const read = await stripe.paymentIntents.retrieve(held.id)
  assert.deepEqual([read.status, read.cancellation_reason], ['canceled', 'automatic'])
  await waitForEvents('payment_intent.canceled')
  const { data } = await stripe.refunds.list({ payment_intent: held.id })
  assert.deepEqual(
    data.map(({ reason }) => reason as string),
    ['expired_uncaptured_charge'],
  )
})

test('refunds go back in parts until nothing is left', async (t) => {
  const { stripe, waitForEvents, ledgerOf } = await startStripe(t)
  const { id } = await stripe.paymentIntents.create(paid)
  const part = await stripe.refunds.create({
    payment_intent: id,
    amount: 5_000,
    metadata: { pipecore_refund_id: 'rfd_1' },
  })
  assert.deepEqual(
    [part.status, part.amount, part.metadata?.['pipecore_refund_id']],
    ['succeeded', 5_000, 'rfd_1'],
  )
  const over = await failureOf(stripe.refunds.create({ payment_intent: id, amount: 8_000 }))
  assert.deepEqual([over.statusCode, over.param], [400, 'amount'])
  await stripe.refunds.create({ payment_intent: id })
  const done = await failureOf(stripe.refunds.create({ payment_intent: id }))
  assert.equal(done.code, 'charge_already_refunded')
  await waitForEvents('refund.created', 'charge.refunded')
  const { data } = await stripe.refunds.list({ payment_intent: id })
  assert.deepEqual(
    data.map(({ amount }) => amount),
    [7_990, 5_000],
  )
  assert.equal((await stripe.refunds.retrieve(part.id)).id, part.id)
  const read = await stripe.paymentIntents.retrieve(id, { expand: ['latest_charge'] })
  assert.equal((read.latest_charge as Stripe.Charge).refunded, true)
  assert.deepEqual(
    [(await ledgerOf('pay_1'))?.['refunded'], (await ledgerOf('pay_1'))?.['refunds']],
    [12_990, 2],
  )
})

test('a refund may stay pending, fail later, or be made in the dashboard', async (t) => {
  const { stripe, act, waitForEvents } = await startStripe(t)
  const slow = await stripe.paymentIntents.create({ ...paid, payment_method: 'pm_card_pendingRefund' })
  const pending = await stripe.refunds.create({ payment_intent: slow.id })
  assert.equal(pending.status, 'pending')
  await act('settle_refund', { refund: pending.id, status: 'succeeded' })
  assert.equal((await stripe.refunds.retrieve(pending.id)).status, 'succeeded')
  const bad = await stripe.paymentIntents.create({ ...paid, payment_method: 'pm_card_refundFail' })
  const failing = await stripe.refunds.create({ payment_intent: bad.id })
  await act('settle_refund', { refund: failing.id, status: 'failed' })
  const [failed] = await waitForEvents('refund.failed')
  assert.equal((failed!.data.object as Stripe.Refund).failure_reason, 'expired_or_canceled_card')
  const read = await stripe.paymentIntents.retrieve(bad.id, { expand: ['latest_charge'] })
  assert.equal((read.latest_charge as Stripe.Charge).amount_refunded, 0)
  const plain = await stripe.paymentIntents.create({ ...paid, metadata: { pipecore_payment_id: 'pay_9' } })
  await act('refund', { payment: 'pay_9', amount: 90, webhook: false })
  const { data } = await stripe.refunds.list({ payment_intent: plain.id })
  assert.deepEqual(
    data.map(({ amount }) => amount),
    [90],
  )
})

test('a dispute takes the money, blocks refunds, and is won or lost', async (t) => {
  const { stripe, act, waitForEvents } = await startStripe(t)
  const { id } = await stripe.paymentIntents.create({ ...paid, payment_method: 'pm_card_createDispute' })
  const [opened] = await waitForEvents('charge.dispute.created')
  const dispute = opened!.data.object as Stripe.Dispute
  assert.deepEqual([dispute.payment_intent, dispute.status, dispute.amount], [id, 'needs_response', 12_990])
  assert.equal((await failureOf(stripe.refunds.create({ payment_intent: id }))).code, 'charge_disputed')
  const answered = await stripe.disputes.update(dispute.id, { evidence: { product_description: 'Pizza' } })
  assert.equal(answered.status, 'under_review')
  await act('dispute', { payment: id, status: 'won' })
  await waitForEvents('charge.dispute.updated', 'charge.dispute.closed')
  const { data } = await stripe.disputes.list({ payment_intent: id })
  assert.deepEqual(
    data.map(({ status }) => status),
    ['won'],
  )
  const { data: moved } = await stripe.balanceTransactions.list({ type: 'adjustment' })
  assert.deepEqual(
    moved.map(({ amount }) => amount),
    [12_990, -12_990],
  )
})
