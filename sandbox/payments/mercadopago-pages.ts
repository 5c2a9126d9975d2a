import { z } from 'zod'
import type { Call, Reply } from '../http.ts'
import type { Mercadopago } from './mercadopago-account.ts'
import { stateOf, takesCash } from './mercadopago-checkout.ts'
import { payMercadopago } from './mercadopago-choices.ts'
import type { Payment } from './mercadopago-payment.ts'
import { pageUrlOf } from './mercadopago-payment-view.ts'
import type { Preapproval } from './mercadopago-preapproval.ts'
import type { Preference } from './mercadopago-preferences.ts'
import { createPreapproval } from './mercadopago-subscriptions.ts'
import { declineReasons, findVerdict } from './mercadopago-verdicts.ts'
import { startTurn } from './mercadopago-webhooks.ts'
import { readPayForm, renderBrowserStep, renderPayPage, replyPayError } from './pay-page.ts'
import type { PayChoice, PayField, PayPage } from './pay-page.ts'
import type { OpenPayPage, PayResult } from './simulator.ts'

type Paid = Preference | Preapproval | Payment

/** A browser on one of MercadoPago's pages; null when the path is none of them. */
export function answerPage(mercadopago: Mercadopago, call: Call): Reply | null {
  const found = findPage(mercadopago, call)
  if (found === null) return null
  if (!found) return replyPayError('mercadopago', 404, 'Mercado Pago no conoce esta página')
  const form = readPayForm(call)
  if (form['choice'] === undefined) return renderPayPage(describePage(mercadopago, found))
  // A challenge is opened by posting `creq`; whatever else a shop posts is its own affair.
  const { choice, reason, method, installments } = form
  return play(mercadopago, found, { choice, reason, method, installments })
}

/** Undefined: such a page there is, but not this one. */
function findPage(mercadopago: Mercadopago, { path, query }: Call): Paid | undefined | null {
  if (path === '/checkout/v1/redirect') return mercadopago.preferences.get(query.get('pref_id') ?? '')
  if (path === '/3ds/challenge') return mercadopago.payments.get(Number(query.get('payment_id')))
  const [, ticket] = /^\/payments\/(\d+)\/ticket$/.exec(path) ?? []
  if (ticket !== undefined) return mercadopago.payments.get(Number(ticket))
  if (path !== '/subscriptions/checkout') return null
  const plan = query.get('preapproval_plan_id')
  return plan === null
    ? mercadopago.preapprovals.get((query.get('preapproval_id') ?? '').toLowerCase())
    : joinPlan(mercadopago, plan)
}

/** Whoever opens a plan's link has a subscription of their own to it. */
function joinPlan(mercadopago: Mercadopago, id: string): Preapproval | undefined {
  const plan = mercadopago.plans.get(id)
  if (plan?.status !== 'active') return undefined
  const body = { payer_email: 'comprador@testuser.com' }
  return createPreapproval(startTurn(mercadopago, plan.account), { plan, terms: { ...plan.terms }, body })
}

function play(mercadopago: Mercadopago, paid: Paid, form: Record<string, string | undefined>): Reply {
  let result: PayResult
  try {
    result = payMercadopago(mercadopago, { ...form, id: paid.id })
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const notice = error.issues.map(({ message }) => message).join(' · ')
    return renderPayPage({ ...describePage(mercadopago, paid), notice })
  }
  if (result.next) return renderBrowserStep(result.next, 'mercadopago')
  return renderPayPage({
    ...describePage(mercadopago, paid),
    notice: `Quedó en ${result.state}; nadie vuelve al comercio.`,
  })
}

function describePage(mercadopago: Mercadopago, paid: Paid): PayPage {
  if ('items' in paid) return describePreference(mercadopago, paid)
  return 'terms' in paid ? describePreapproval(paid, mercadopago) : describePayment(paid)
}

function describePreference(mercadopago: Mercadopago, preference: Preference): PayPage {
  const state = stateOf(mercadopago, preference)
  const { account, amount, currency, items, externalReference } = preference
  return {
    provider: 'mercadopago',
    title: 'Total a pagar',
    merchant: account.name,
    amount,
    currency,
    lines: items.map(({ title, quantity, minor }) => ({
      title: quantity === 1 ? title : `${quantity} × ${title}`,
      amount: quantity * minor,
    })),
    reference: externalReference,
    state,
    isOpen: !['approved', 'refunded', 'charged_back', 'in_mediation', 'expired'].includes(state),
    fields: [cards, installments, reasons],
    choices: [
      approve('Pagar', 'La tarjeta aprueba; vuelve por back_urls.success.'),
      decline,
      ...(takesCash(preference) ? [cash] : []),
      review,
      abort,
      timeOut,
      closeTab,
    ],
  }
}

function describePreapproval(preapproval: Preapproval, { world }: Mercadopago): PayPage {
  const { account, terms, reason, externalReference, status } = preapproval
  const { count, type } = terms.every
  const unit = { days: ['día', 'días'], months: ['mes', 'meses'] }[type]
  return {
    provider: 'mercadopago',
    title: reason,
    merchant: account.name,
    amount: terms.amount,
    currency: terms.currency,
    terms: count === 1 ? `cada ${unit[0]}` : `cada ${count} ${unit[1]}`,
    lines: [],
    reference: externalReference,
    state: status,
    isOpen: status === 'pending',
    fields: [cards, reasons],
    choices: [
      approve('Suscribirme', 'La tarjeta pasa la prueba; se cobra más o menos en una hora.'),
      decline,
      abort,
      closeTab,
    ],
    // A plan's link makes a subscription; what is chosen is about that one.
    action: `${world.url}/mercadopago/subscriptions/checkout?preapproval_id=${preapproval.id}`,
  }
}

function describePayment(payment: Payment): PayPage {
  const isChallenge = payment.detail === 'pending_challenge'
  const isTransfer = payment.method.type === 'bank_transfer'
  const choices = isChallenge
    ? [approve('Confirmar con el banco', 'El pago queda aprobado.'), failChallenge, timeOut, closeTab]
    : [approve('Pagar', 'El pago queda aprobado.'), ...(isTransfer ? [decline] : []), timeOut, closeTab]
  return {
    provider: 'mercadopago',
    title: isChallenge ? 'Tu banco pide confirmar' : `Pagar con ${payment.method.name}`,
    merchant: payment.account.name,
    amount: payment.amount,
    currency: payment.currency,
    lines: [],
    reference: payment.externalReference,
    state: payment.status,
    isOpen: payment.status === 'pending',
    choices,
  }
}

/** Newest first; pages on which nothing can be done any more are forgotten on the way. */
export function listOpenPages(mercadopago: Mercadopago, limit: number): OpenPayPage[] {
  const pages: OpenPayPage[] = []
  for (const paid of [...mercadopago.openPages].toReversed()) {
    if (pages.length === limit) break
    const path = pathOf(paid)
    const { isOpen, title, merchant, reference, amount, currency } = describePage(mercadopago, paid)
    if (!isOpen || path === null) {
      mercadopago.openPages.delete(paid)
      continue
    }
    const id = String(paid.id)
    const at = paid.createdAt.toISOString()
    pages.push({
      provider: 'mercadopago',
      id,
      path,
      title: `${merchant}: ${title}`,
      reference,
      amount,
      currency,
      at,
    })
  }
  return pages
}

function pathOf(paid: Paid): string | null {
  if ('items' in paid) return `/mercadopago/checkout/v1/redirect?pref_id=${paid.id}`
  if ('terms' in paid) return `/mercadopago/subscriptions/checkout?preapproval_id=${paid.id}`
  return pageUrlOf(paid, '')
}

const cards: PayField = {
  kind: 'cards',
  name: 'method',
  label: 'Tarjeta de prueba',
  options: [
    { value: 'visa', label: 'Visa', hint: 'Crédito' },
    { value: 'master', label: 'Mastercard', hint: 'Crédito' },
    { value: 'amex', label: 'American Express', hint: 'Crédito' },
    { value: 'debvisa', label: 'Visa', hint: 'Débito' },
  ],
}

const installments: PayField = {
  kind: 'select',
  name: 'installments',
  label: 'Cuotas',
  options: ['1', '3', '6', '12'].map((value) => ({
    value,
    label: value === '1' ? 'Sin cuotas' : `${value} cuotas`,
  })),
}

const reasons: PayField = {
  kind: 'select',
  name: 'reason',
  label: 'Motivo',
  choice: 'decline',
  options: declineReasons.map((value) => ({ value, label: `${value}: ${findVerdict(value)!.detail}` })),
}

function approve(label: string, hint: string): PayChoice {
  return { name: 'approve', label, hint, tone: 'good' }
}

const decline: PayChoice = {
  name: 'decline',
  label: 'El banco rechaza',
  hint: 'Queda rechazado por este motivo; el cliente puede intentar otra vez.',
  tone: 'bad',
}

const cash: PayChoice = {
  name: 'pending',
  label: 'Pagar en efectivo',
  hint: 'Queda pendiente hasta que pague; vuelve por back_urls.pending.',
  tone: 'plain',
}

const review: PayChoice = {
  name: 'review',
  label: 'Queda en revisión',
  hint: 'in_process, hasta que alguien lo decida.',
  tone: 'plain',
}

const abort: PayChoice = {
  name: 'abort',
  label: 'Volver sin pagar',
  hint: 'Vuelve con status=null.',
  tone: 'bad',
}

const failChallenge: PayChoice = {
  name: 'decline',
  label: 'No confirmar',
  hint: 'cc_rejected_3ds_challenge.',
  tone: 'bad',
}

const timeOut: PayChoice = {
  name: 'time_out',
  label: 'Dejar que venza',
  hint: 'Ya no se puede pagar.',
  tone: 'plain',
}

const closeTab: PayChoice = {
  name: 'close_tab',
  label: 'Cerrar la pestaña',
  hint: 'El comercio no se entera de nada.',
  tone: 'plain',
}
