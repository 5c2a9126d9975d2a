import type { Subscription } from './stripe-billing-objects.ts'
import { emit } from './stripe-events.ts'
import type { CheckoutSession, PaymentIntent, SetupIntent } from './stripe-objects.ts'
import { cancelPayment } from './stripe-payments.ts'
import { findObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

/** Nobody can pay on its page any more. */
export function expireSession(work: Work, session: CheckoutSession): void {
  session.status = 'expired'
  session.url = null
  const intent = findObject<PaymentIntent>(work.account, 'payment_intent', session.payment_intent)
  if (intent && intent.status !== 'canceled') cancelPayment(work, intent, 'expired')
  emit(work, 'checkout.session.expired', session)
}

/** Brings a session up to date with what its payment, setup or subscription became. */
export function refreshSession(work: Work, session: CheckoutSession): void {
  const { account } = work
  const intent = findObject<PaymentIntent>(account, 'payment_intent', session.payment_intent)
  const subscription = findObject<Subscription>(account, 'subscription', session.subscription)
  const setup = findObject<SetupIntent>(account, 'setup_intent', session.setup_intent)
  if (session.status === 'open') {
    if (intent && ['succeeded', 'requires_capture', 'processing'].includes(intent.status))
      completeSession(work, session, intent.status === 'succeeded' ? 'paid' : 'unpaid')
    if (subscription?.status === 'active') completeSession(work, session, 'paid')
    if (subscription?.status === 'trialing') completeSession(work, session, 'no_payment_required')
    if (setup?.status === 'succeeded') completeSession(work, session, 'no_payment_required')
    return
  }
  if (session.status !== 'complete' || session.payment_status !== 'unpaid' || !intent) return
  const isAsynchronous = intent.capture_method !== 'manual'
  if (intent.status === 'succeeded') {
    session.payment_status = 'paid'
    if (isAsynchronous) emit(work, 'checkout.session.async_payment_succeeded', session)
  } else if (intent.status === 'requires_payment_method')
    emit(work, 'checkout.session.async_payment_failed', session)
}

function completeSession(
  work: Work,
  session: CheckoutSession,
  paymentStatus: CheckoutSession['payment_status'],
): void {
  session.status = 'complete'
  session.payment_status = paymentStatus
  session.url = null
  emit(work, 'checkout.session.completed', session)
}
