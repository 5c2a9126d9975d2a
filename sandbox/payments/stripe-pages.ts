import { z } from 'zod'
import { textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { playDue } from './agenda.ts'
import { readPayForm, renderBrowserStep, renderPayPage, replyPayError } from './pay-page.ts'
import type { PayChoice, PayField, PayPage } from './pay-page.ts'
import type { OpenPayPage } from './simulator.ts'
import { toIsoMinor } from './stripe-amounts.ts'
import { referenceIn, referenceOf } from './stripe-balance.ts'
import type { Invoice } from './stripe-billing-objects.ts'
import { declineReasons } from './stripe-cards.ts'
import type { CheckoutSession, PaymentIntent, SetupIntent, StripeObject } from './stripe-objects.ts'
import { playChoice } from './stripe-plays.ts'
import { objectsOf, startWork } from './stripe-state.ts'
import type { Stripe, StripeAccount } from './stripe-state.ts'

/** A browser on one of Stripe's pages: it looks by GET and posts a choice. */
export function answerStripePage(stripe: Stripe, call: Call): Reply {
  const id = call.path.split('/')[2] ?? ''
  const { account } = stripe.pages.get(id) ?? {}
  if (!account) return replyPayError('stripe', 404, 'Stripe no conoce esta página')
  playDue(stripe.agenda)
  if (call.method !== 'POST') return renderPayPage(describePage(stripe, account, id))
  try {
    const { choice, card, reason } = readPayForm(call)
    const played = playChoice(stripe, { id, choice, card, ...(choice === 'decline' ? { reason } : {}) })
    if (played.next) return renderBrowserStep(played.next, 'stripe')
    return renderPayPage({ ...describePage(stripe, account, id), notice: noticeOf(choice ?? '') })
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const notice = error.issues.map(({ message }) => message).join(' · ')
    return renderPayPage({ ...describePage(stripe, account, id), notice })
  }
}

function noticeOf(choice: string): string {
  if (choice === 'close_tab') return 'Aquí el cliente cerró la pestaña. El comercio no se entera.'
  if (choice === 'time_out') return 'La página venció. El comercio se entera por el webhook.'
  if (choice === 'abort') return 'El comercio no dijo adónde volver.'
  return 'La tarjeta fue rechazada. Prueba con otra.'
}

const cards: PayField = {
  kind: 'cards',
  name: 'card',
  label: 'Tarjeta de prueba',
  options: [
    { value: '4242424242424242', label: 'Visa ··4242', hint: 'Aprueba' },
    { value: '4000001520000001', label: 'Visa ··0001', hint: 'Chile, aprueba' },
    { value: '4000001700000003', label: 'Visa ··0003', hint: 'Colombia, aprueba' },
    { value: '4000002500003155', label: 'Visa ··3155', hint: 'Pide 3-D Secure' },
    { value: '4000000000000002', label: 'Visa ··0002', hint: 'Rechaza' },
    { value: '4000000000009995', label: 'Visa ··9995', hint: 'Sin fondos' },
    { value: '4000000000000069', label: 'Visa ··0069', hint: 'Vencida' },
    { value: '4000000000000127', label: 'Visa ··0127', hint: 'CVC malo' },
    { value: '4000000000000119', label: 'Visa ··0119', hint: 'Error del banco' },
    { value: '4000000000000341', label: 'Visa ··0341', hint: 'Se guarda, no se cobra' },
    { value: '4000000000000259', label: 'Visa ··0259', hint: 'Aprueba y se disputa' },
  ],
}

const reasons: PayField = {
  kind: 'select',
  name: 'reason',
  label: 'Motivo',
  options: declineReasons.map((reason) => ({ value: reason, label: reason })),
  choice: 'decline',
}

const closeTab: PayChoice = {
  name: 'close_tab',
  label: 'Cerrar la pestaña',
  hint: 'El cliente se va sin avisar.',
  tone: 'plain',
}

const decline: PayChoice = {
  name: 'decline',
  label: 'Rechazar la tarjeta',
  hint: 'El cliente se queda en la página y puede probar otra.',
  tone: 'bad',
}

function describePage(stripe: Stripe, account: StripeAccount, id: string): PayPage {
  const object = account.objects.get(id)
  switch (object?.object) {
    case 'checkout.session':
      return describeSession(account, object as CheckoutSession)
    case 'invoice':
      return describeInvoice(account, object as Invoice)
    default:
      return describeSecure(stripe, account, object as PaymentIntent | SetupIntent)
  }
}

function describeSession(account: StripeAccount, session: CheckoutSession): PayPage {
  const currency = session.currency ?? 'usd'
  const lines = account.checkouts.get(session.id)?.items ?? []
  const titles = { payment: 'Pagar', setup: 'Guardar una tarjeta', subscription: 'Suscribirse' }
  return {
    ...frame(account, titles[session.mode], session.amount_total ?? 0, currency),
    lines: lines.map(({ description, amount_total: amount }) => ({
      title: description,
      amount: toIsoMinor(amount, currency),
    })),
    reference: referenceIn(session.metadata) ?? session.client_reference_id,
    state: session.status,
    isOpen: session.status === 'open',
    fields: [cards, reasons],
    choices: [
      { name: 'approve', label: titles[session.mode], hint: 'Usa la tarjeta elegida.', tone: 'good' },
      decline,
      ...(session.mode === 'payment' ? [pending] : []),
      {
        name: 'abort',
        label: 'Volver al comercio',
        hint: 'Vuelve a cancel_url; la sesión sigue abierta.',
        tone: 'bad',
      },
      { name: 'time_out', label: 'Dejar vencer', hint: 'La sesión vence ahora.', tone: 'bad' },
      closeTab,
    ],
  }
}

const pending: PayChoice = {
  name: 'pending',
  label: 'Pagar con un medio que demora',
  hint: 'La sesión termina sin pagar; el banco responde después.',
  tone: 'plain',
}

function describeInvoice(account: StripeAccount, invoice: Invoice): PayPage {
  return {
    ...frame(account, `Factura ${invoice.number ?? ''}`, invoice.amount_due, invoice.currency),
    lines: invoice.lines.data.map(({ description, amount }) => ({
      title: description,
      amount: toIsoMinor(amount, invoice.currency),
    })),
    reference: referenceIn(invoice.parent.subscription_details.metadata),
    state: invoice.status,
    isOpen: invoice.status === 'open',
    fields: [cards, reasons],
    choices: [
      { name: 'approve', label: 'Pagar', hint: 'Usa la tarjeta elegida.', tone: 'good' },
      decline,
      closeTab,
    ],
  }
}

function describeSecure(
  stripe: Stripe,
  account: StripeAccount,
  intent: PaymentIntent | SetupIntent,
): PayPage {
  const isPayment = intent.object === 'payment_intent'
  const [amount, currency] = isPayment ? [intent.amount, intent.currency] : [0, 'usd']
  return {
    ...frame(account, '3-D Secure', amount, currency),
    reference: isPayment ? referenceOf(startWork(stripe, account), intent) : referenceIn(intent.metadata),
    state: intent.status,
    isOpen: intent.status === 'requires_action',
    choices: [
      { name: 'approve', label: 'Autorizar', hint: 'Vuelve con redirect_status=succeeded.', tone: 'good' },
      { name: 'decline', label: 'No autorizar', hint: 'Vuelve con redirect_status=failed.', tone: 'bad' },
      {
        name: 'time_out',
        label: 'Dejar pasar el tiempo',
        hint: 'El banco da la verificación por fallida.',
        tone: 'bad',
      },
      closeTab,
    ],
  }
}

function frame(account: StripeAccount, title: string, amount: number, currency: string) {
  return {
    provider: 'stripe' as const,
    title,
    merchant: account.title,
    amount: toIsoMinor(amount, currency),
    currency: currency.toUpperCase(),
    lines: [],
  }
}

const LOOKED_AT = 500

/** Sessions that are open and intents that wait for 3-D Secure, of the latest of each account. */
export function listOpenPages(stripe: Stripe, limit: number): OpenPayPage[] {
  return [...stripe.accounts.byName.values()]
    .flatMap((account) =>
      [
        ...latest<CheckoutSession>(account, 'checkout.session', 'open'),
        ...latest<PaymentIntent>(account, 'payment_intent', 'requires_action'),
        ...latest<SetupIntent>(account, 'setup_intent', 'requires_action'),
      ].map((object) => [account, object] as const),
    )
    .toSorted(([, a], [, b]) => b.created - a.created)
    .slice(0, limit)
    .map(([account, object]) => {
      const page = describePage(stripe, account, object.id)
      return {
        provider: 'stripe',
        id: object.id,
        path: `/stripe/pay/${object.id}`,
        title: page.title,
        reference: page.reference,
        amount: page.amount,
        currency: page.currency,
        at: new Date(object.created * 1_000).toISOString(),
      }
    })
}

function latest<Waiting extends StripeObject>(
  account: StripeAccount,
  type: Waiting['object'],
  status: string,
): Waiting[] {
  return objectsOf<Waiting>(account, type)
    .slice(-LOOKED_AT)
    .filter((object) => textOf(object.status) === status)
}
