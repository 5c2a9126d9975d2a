import { referenceIn } from './stripe-balance.ts'
import type { Invoice, Subscription } from './stripe-billing-objects.ts'
import { intentOf } from './stripe-billing.ts'
import { collectInvoice } from './stripe-collection.ts'
import { createCustomer } from './stripe-customers.ts'
import { attachMethod, createCard } from './stripe-methods.ts'
import type {
  CheckoutSession,
  Customer,
  PaymentIntent,
  PaymentMethod,
  SetupIntent,
} from './stripe-objects.ts'
import { attemptPayment, cardOf, createIntent, pageUrl, waitForBank } from './stripe-payments.ts'
import { refreshSession } from './stripe-sessions.ts'
import { attemptSetup } from './stripe-setups.ts'
import { findObject, getObject, listUnder } from './stripe-state.ts'
import type { CheckoutPlan, Work } from './stripe-state.ts'
import { readTrialEnd } from './stripe-subscription-params.ts'
import { createSubscription } from './stripe-subscriptions.ts'

type Payer = { email?: string | undefined }

/** The customer pays with a card on the session's page; a declined one leaves the session open. */
export function paySession(work: Work, session: CheckoutSession, method: PaymentMethod, payer: Payer): void {
  const returnUrl = pageUrl(work, session.id)
  const plan = work.account.checkouts.get(session.id)!
  knowCustomer(work, session, plan, payer)
  if (session.mode === 'payment')
    attemptPayment(work, intentFor(work, session, plan), method, { offSession: false, returnUrl })
  else if (session.mode === 'setup')
    attemptSetup(
      work,
      getObject<SetupIntent>(work.account, 'setup_intent', session.setup_intent!),
      method,
      returnUrl,
    )
  else subscribe(work, session, plan, method)
  refreshSession(work, session)
}

/** The customer pays by a way that takes days: the session is complete, the money is not there. */
export function payLater(work: Work, session: CheckoutSession, payer: Payer): void {
  const plan = work.account.checkouts.get(session.id)!
  if (session.mode !== 'payment') return
  knowCustomer(work, session, plan, payer)
  waitForBank(work, intentFor(work, session, plan), createCard(work, '4242424242424242'))
}

function knowCustomer(work: Work, session: CheckoutSession, plan: CheckoutPlan, payer: Payer): void {
  const known = findObject<Customer>(work.account, 'customer', session.customer)
  const email = payer.email ?? session.customer_email ?? known?.email ?? 'cliente@example.com'
  session.customer_details = { email, name: known?.name ?? null, phone: known?.phone ?? null }
  if (session.customer !== null || (session.mode !== 'subscription' && !plan.makesCustomer)) return
  session.customer = createCustomer(work, { email }).id
  listUnder(work.account, session, session.customer)
}

/** Made when the customer first tries to pay, as Stripe does. */
function intentFor(work: Work, session: CheckoutSession, plan: CheckoutPlan): PaymentIntent {
  const { account } = work
  const known = findObject<PaymentIntent>(account, 'payment_intent', session.payment_intent)
  if (known) return known
  const intent = createIntent(work, {
    ...plan.payment,
    amount: session.amount_total ?? 0,
    currency: session.currency ?? 'usd',
    customer: session.customer,
    follower: {
      reference: referenceIn(session.metadata) ?? session.client_reference_id,
      changed: (later) => refreshSession(later, session),
    },
  })
  session.payment_intent = intent.id
  listUnder(account, session, intent.id)
  return intent
}

function subscribe(work: Work, session: CheckoutSession, plan: CheckoutPlan, method: PaymentMethod): void {
  const { account } = work
  const trialEnd = readTrialEnd(work, plan.trialEnd)
  const { decline, declinesAt, authentication } = cardOf(work, method).behaviour
  const isCharged = trialEnd === null || declinesAt === 'attach'
  if (decline && authentication === undefined && isCharged) return
  attachMethod(work, method, session.customer!)
  const subscription =
    findObject<Subscription>(account, 'subscription', session.subscription) ??
    createSubscription(work, {
      ...plan.subscription,
      customer: session.customer!,
      items: plan.items.map(({ price, quantity }) => ({ price, quantity })),
      method,
      trialEnd,
    })
  subscription.default_payment_method = method.id
  const invoice = getObject<Invoice>(account, 'invoice', subscription.latest_invoice!)
  session.subscription = subscription.id
  session.invoice = invoice.id
  for (const id of [subscription.id, intentOf(account, invoice)?.id])
    if (id !== undefined) listUnder(account, session, id)
  collectInvoice(work, invoice, { method, onSession: true, returnUrl: pageUrl(work, session.id) })
}
