import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import { playDue } from './agenda.ts'
import type { BrowserStep, PayResult } from './simulator.ts'
import type { Invoice } from './stripe-billing-objects.ts'
import { intentOf } from './stripe-billing.ts'
import { declineOf, findTestCard } from './stripe-cards.ts'
import { collectInvoice } from './stripe-collection.ts'
import { sendEvents } from './stripe-events.ts'
import { createCard, createDeclinedCard } from './stripe-methods.ts'
import type {
  CheckoutSession,
  NextAction,
  PaymentIntent,
  PaymentMethod,
  SetupIntent,
} from './stripe-objects.ts'
import { authenticatePayment, failPayment, pageUrl } from './stripe-payments.ts'
import { payLater, paySession } from './stripe-session-payments.ts'
import { expireSession, refreshSession } from './stripe-sessions.ts'
import { authenticateSetup } from './stripe-setups.ts'
import { findObject, getObject, objectsOf, startWork } from './stripe-state.ts'
import type { Stripe, Work } from './stripe-state.ts'

const playSchema = z.strictObject({
  id: z.string(),
  choice: z.enum(['approve', 'decline', 'pending', 'abort', 'time_out', 'close_tab']),
  /** A test card: its number, `pm_card_…` or `tok_…`. */
  card: z.string().optional(),
  /** A decline code, such as `insufficient_funds`. */
  reason: z.string().optional(),
  email: z.email().optional(),
})

export type Play = z.infer<typeof playSchema>

/** What a customer does on a page of Stripe's: a checkout, 3-D Secure, or an invoice. */
export function playChoice(stripe: Stripe, input: unknown): PayResult {
  const play = playSchema.parse(input)
  const page = stripe.pages.get(play.id)
  if (!page) throw inputError('id', 'no such page: give the id of a session, an intent or an invoice')
  if (play.card !== undefined && !findTestCard(play.card)) throw inputError('card', 'no test card of Stripe')
  playDue(stripe.agenda)
  const work = { ...startWork(stripe, page.account), fault: page.fault }
  const result = playOn(work, play)
  void sendEvents(work)
  return result
}

function playOn(work: Work, play: Play): PayResult {
  const { account } = work
  const object = account.objects.get(play.id)
  switch (object?.object) {
    case 'checkout.session':
      return playSession(work, object as CheckoutSession, play)
    case 'payment_intent':
      return playPayment(work, object as PaymentIntent, play)
    case 'setup_intent':
      return playSetup(work, object as SetupIntent, play)
    default:
      return playInvoice(work, getObject<Invoice>(account, 'invoice', play.id), play)
  }
}

function playSession(work: Work, session: CheckoutSession, play: Play): PayResult {
  if (session.status !== 'open' || play.choice === 'close_tab') return { state: session.status, next: null }
  switch (play.choice) {
    case 'abort':
      return { state: session.status, next: session.cancel_url === null ? null : goTo(session.cancel_url) }
    case 'time_out':
      expireSession(work, session)
      return { state: session.status, next: null }
    case 'pending':
      payLater(work, session, play)
      break
    default:
      paySession(work, session, chooseCard(work, play), play)
  }
  return { state: session.status, next: stepAfter(work, session) }
}

/** To the shop when it is done, to 3-D Secure when that is next; else the customer stays and tries again. */
function stepAfter(work: Work, session: CheckoutSession): BrowserStep | null {
  if (session.status === 'complete' && session.success_url !== null)
    return goTo(session.success_url.replaceAll('{CHECKOUT_SESSION_ID}', session.id))
  const waiting = [session.payment_intent, session.setup_intent, paidBy(work, session.invoice)?.id]
    .map((id) => work.account.objects.get(id ?? ''))
    .find((intent) => intent?.status === 'requires_action')
  return waiting ? goTo(pageUrl(work, waiting.id)) : null
}

function paidBy({ account }: Work, invoiceId: string | null): PaymentIntent | undefined {
  const invoice = findObject<Invoice>(account, 'invoice', invoiceId)
  return invoice && intentOf(account, invoice)
}

function playPayment(work: Work, intent: PaymentIntent, play: Play): PayResult {
  const returnUrl = returnUrlOf(intent.next_action)
  if (intent.status !== 'requires_action' || play.choice === 'close_tab')
    return { state: intent.status, next: null }
  if (play.choice === 'decline' && play.reason !== undefined) {
    const method = getObject<PaymentMethod>(work.account, 'payment_method', intent.payment_method ?? '')
    intent.next_action = null
    failPayment(work, intent, method, declineOf(play.reason))
  } else authenticatePayment(work, intent, play.choice === 'approve')
  return comeBack(work, intent, returnUrl, 'payment_intent')
}

function playSetup(work: Work, setup: SetupIntent, play: Play): PayResult {
  const returnUrl = returnUrlOf(setup.next_action)
  if (setup.status !== 'requires_action' || play.choice === 'close_tab')
    return { state: setup.status, next: null }
  authenticateSetup(work, setup, play.choice === 'approve')
  return comeBack(work, setup, returnUrl, 'setup_intent')
}

/** From 3-D Secure to the shop, or to the checkout it happened in. */
function comeBack(
  work: Work,
  intent: PaymentIntent | SetupIntent,
  returnUrl: string | null,
  name: 'payment_intent' | 'setup_intent',
): PayResult {
  const session = objectsOf<CheckoutSession>(work.account, 'checkout.session', intent.id).at(-1)
  if (session) {
    refreshSession(work, session)
    return { state: session.status, next: stepAfter(work, session) ?? goTo(pageUrl(work, session.id)) }
  }
  const fields = {
    [name]: intent.id,
    [`${name}_client_secret`]: intent.client_secret,
    redirect_status: ['succeeded', 'requires_capture'].includes(intent.status) ? 'succeeded' : 'failed',
  }
  return { state: intent.status, next: returnUrl === null ? null : { ...goTo(returnUrl), fields } }
}

function playInvoice(work: Work, invoice: Invoice, play: Play): PayResult {
  if (invoice.status === 'open' && (play.choice === 'approve' || play.choice === 'decline')) {
    const method = chooseCard(work, play)
    const returnUrl = pageUrl(work, invoice.id)
    collectInvoice(work, invoice, { method, onSession: true, isManual: true, returnUrl })
  }
  const intent = paidBy(work, invoice.id)
  const next = intent?.status === 'requires_action' ? goTo(pageUrl(work, intent.id)) : null
  return { state: invoice.status, next }
}

function chooseCard(work: Work, play: Play): PaymentMethod {
  if (play.choice === 'decline') return createDeclinedCard(work, play.reason ?? 'generic_decline')
  return createCard(work, play.card ?? '4242424242424242')
}

function returnUrlOf(action: NextAction | null): string | null {
  return action?.type === 'redirect_to_url' ? action.redirect_to_url.return_url : null
}

function goTo(url: string): BrowserStep {
  return { method: 'GET', url, fields: {} }
}
