import { z } from 'zod'
import type { Call, Reply } from '../http.ts'
import { writeMoney } from './amounts.ts'
import { readPayForm, renderBrowserStep, renderPayPage, replyPayError } from './pay-page.ts'
import type { PayChoice, PayField, PayPage } from './pay-page.ts'
import type { OpenPayPage, PayResult } from './simulator.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'
import { declineReasons, kindNames, testCards } from './transbank-cards.ts'
import { payTransbank } from './transbank-customer.ts'
import type { Inscription } from './transbank-inscriptions.ts'
import { phaseOf } from './transbank-webpay.ts'
import type { WebpayTransaction } from './transbank-webpay.ts'

/** The forms to which a shop sends its customer, with the name of the token each takes. */
const tokenNames: Record<string, 'token_ws' | 'TBK_TOKEN'> = {
  '/webpayserver/initTransaction': 'token_ws',
  '/webpayserver/bp_inscription.cgi': 'TBK_TOKEN',
}

/** A browser on Webpay: it arrives with the token by GET or POST, and posts a choice. */
export function answerWebpayPage(transbank: Transbank, call: Call): Reply {
  const name = tokenNames[call.path]
  if (!name) return replyPayError('transbank', 404, 'Esta página no existe')
  const form = readPayForm(call)
  const token = (form[name] ?? call.query.get(name) ?? '').toLowerCase()
  const page = name === 'token_ws' ? transbank.transactions.get(token) : transbank.inscriptions.get(token)
  if (!page) return replyPayError('transbank', 404, `Webpay no conoce este ${name}`)
  if (form['choice'] === undefined) return renderPayPage(describePage(transbank, page))
  return play(transbank, page, form)
}

function play(
  transbank: Transbank,
  page: WebpayTransaction | Inscription,
  form: Record<string, string>,
): Reply {
  const { choice, card, installments, reason } = form
  let result: PayResult
  try {
    result = payTransbank(transbank, { id: page.token, choice, card, installments, reason })
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const notice = error.issues.map(({ message }) => message).join(' · ')
    return renderPayPage({ ...describePage(transbank, page), notice })
  }
  if (result.next) return renderBrowserStep(result.next)
  const notice =
    'Aquí el cliente cerró la pestaña. El comercio no se entera; la página sigue abierta hasta que venza.'
  return renderPayPage({ ...describePage(transbank, page), notice })
}

function describePage(transbank: Transbank, page: WebpayTransaction | Inscription): PayPage {
  const state = phaseOf(transbank, page)
  const described = 'sales' in page ? describePayment(page) : describeInscription(page)
  if (state === 'open') return { ...described, state, isOpen: true }
  if (state !== 'timed_out' || page.phase !== 'open') return { ...described, state, isOpen: false }
  const goBack: PayChoice = {
    name: 'time_out',
    label: 'Volver al comercio',
    hint: 'Webpay vuelve sin token.',
    tone: 'plain',
  }
  const notice = `Se acabó el tiempo: la página vale ${page.account.formMinutes} minutos.`
  return { ...described, state, isOpen: true, notice, fields: [], choices: [goBack] }
}

type Described = Omit<PayPage, 'state' | 'isOpen'>

function describePayment({ account, sales, isMall, order, token }: WebpayTransaction): Described {
  const amount = sales.reduce((sum, sale) => sum + sale.amount, 0)
  const cards = describeCards(account.isDeferred)
  return {
    provider: 'transbank',
    title: 'Total a pagar',
    merchant: account.merchant,
    amount,
    currency: account.currency,
    ...(account.isDeferred && { terms: 'Se retiene ahora y se cobra después' }),
    lines: isMall ? sales.map((sale) => ({ title: `Tienda ${sale.shop}`, amount: sale.amount })) : [],
    reference: order,
    fields: [cards, ...(account.isDeferred ? [] : [installments]), describeReasons(account)],
    choices: [
      payChoice(`Pagar ${writeMoney(amount, account.currency)}`),
      declineChoice('Vuelve con token_ws; el commit responde FAILED con este código.'),
      ...paymentChoices,
    ],
    hidden: { token_ws: token },
  }
}

const ENROLMENT_CLP = 50

function describeInscription({ account, username, token }: Inscription): Described {
  return {
    provider: 'transbank',
    title: 'Inscribir una tarjeta',
    merchant: account.merchant,
    amount: ENROLMENT_CLP,
    currency: 'CLP',
    terms: 'Se retienen para comprobar la tarjeta y no se cobran',
    lines: [],
    reference: username,
    fields: [describeCards(false)],
    choices: [
      payChoice('Inscribir tarjeta'),
      declineChoice('Vuelve con TBK_TOKEN; el finish responde -1.'),
      ...inscriptionChoices,
    ],
    hidden: { TBK_TOKEN: token },
  }
}

function describeCards(isCreditOnly: boolean): PayField {
  const shown = testCards.filter(({ kind }) => !isCreditOnly || kind === 'credit')
  return {
    kind: 'cards',
    name: 'card',
    label: 'Tarjeta de prueba',
    options: shown.map(({ number, brand, kind, isApproved }) => ({
      value: number,
      label: `${brand === 'AmericanExpress' ? 'Amex' : brand} ··${number.slice(-4)}`,
      hint: isApproved ? kindNames[kind] : `${kindNames[kind]}, rechaza`,
    })),
  }
}

const installments: PayField = {
  kind: 'select',
  name: 'installments',
  label: 'Cuotas',
  options: [0, 2, 3, 6, 12].map((count) => ({
    value: String(count),
    label: count === 0 ? 'Sin cuotas' : `${count} cuotas`,
  })),
}

function describeReasons({ responseLevel }: TransbankAccount): PayField {
  return {
    kind: 'select',
    name: 'reason',
    label: `response_code, nivel ${responseLevel}`,
    choice: 'decline',
    options: Object.entries(declineReasons[responseLevel])
      .toSorted(([a], [b]) => Number(b) - Number(a))
      .map(([value, text]) => ({ value, label: `${value} · ${text}` })),
  }
}

function payChoice(label: string): PayChoice {
  return { name: 'approve', label, hint: 'La tarjeta decide: las que rechazan, rechazan.', tone: 'good' }
}

function declineChoice(hint: string): PayChoice {
  return { name: 'decline', label: 'El banco rechaza', hint, tone: 'bad' }
}

const closeTab: PayChoice = {
  name: 'close_tab',
  label: 'Cerrar la pestaña',
  hint: 'El comercio no se entera de nada.',
  tone: 'plain',
}

const paymentChoices: PayChoice[] = [
  {
    name: 'abort',
    label: 'Anular compra y volver',
    hint: 'Vuelve por POST con TBK_TOKEN, TBK_ORDEN_COMPRA y TBK_ID_SESION.',
    tone: 'bad',
  },
  {
    name: 'abort_bank',
    label: 'Cancelar en la página del banco',
    hint: 'Vuelve con token_ws, pero el commit responde 422 (status 19).',
    tone: 'bad',
  },
  {
    name: 'time_out',
    label: 'Dejar que se acabe el tiempo',
    hint: 'Vuelve sin token: solo TBK_ORDEN_COMPRA y TBK_ID_SESION.',
    tone: 'plain',
  },
  {
    name: 'broken_form',
    label: 'El formulario falla',
    hint: 'Vuelve con token_ws y TBK_TOKEN a la vez.',
    tone: 'plain',
  },
  closeTab,
]

const inscriptionChoices: PayChoice[] = [
  {
    name: 'abort',
    label: 'Anular y volver',
    hint: 'Vuelve por POST con TBK_TOKEN, TBK_ORDEN_COMPRA y TBK_ID_SESION.',
    tone: 'bad',
  },
  {
    name: 'time_out',
    label: 'Dejar que se acabe el tiempo',
    hint: 'Vuelve con TBK_TOKEN, como si hubiera terminado.',
    tone: 'plain',
  },
  closeTab,
]

/** Newest first; pages whose time is over are forgotten on the way. */
export function listTransbankPages(transbank: Transbank, limit: number): OpenPayPage[] {
  const pages: OpenPayPage[] = []
  for (const token of [...transbank.openTokens].toReversed()) {
    if (pages.length === limit) break
    const page = transbank.transactions.get(token) ?? transbank.inscriptions.get(token)
    if (!page || phaseOf(transbank, page) !== 'open') {
      transbank.openTokens.delete(token)
      continue
    }
    const { title, reference, amount, currency, merchant } = describePage(transbank, page)
    const isPayment = 'sales' in page
    const path = isPayment ? 'initTransaction?token_ws' : 'bp_inscription.cgi?TBK_TOKEN'
    pages.push({
      provider: 'transbank',
      id: token,
      path: `/transbank/webpayserver/${path}=${token}`,
      title: isPayment ? merchant : title,
      reference,
      amount,
      currency,
      at: new Date(page.createdAtMs).toISOString(),
    })
  }
  return pages
}
