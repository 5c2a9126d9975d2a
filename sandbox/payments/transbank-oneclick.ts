import { randomBytes } from 'node:crypto'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { toMajor } from './amounts.ts'
import type { TestCard } from './transbank-cards.ts'
import { findEnrolment, userRule } from './transbank-inscriptions.ts'
import type { Enrolment } from './transbank-inscriptions.ts'
import {
  amountIn,
  detailsOf,
  findDetailFault,
  findFieldFault,
  installmentsIn,
  orderRule,
  refuseTransbank,
  shopRule,
  textIn,
} from './transbank-rules.ts'
import type { Action, ApiCall, Body, FieldRules } from './transbank-rules.ts'
import {
  addSale,
  authorizeSale,
  balanceOf,
  captureSale,
  isHeld,
  refundSale,
  viewSale,
} from './transbank-sales.ts'
import type { Sale } from './transbank-sales.ts'

export type OneclickPayment = { order: string; card: TestCard | null; atMs: number; sales: Sale[] }

const STATUS_WINDOW_MS = 7 * 24 * 3_600_000

const authorizeRules: FieldRules = {
  username: userRule,
  tbk_user: userRule,
  buy_order: orderRule,
  details: { kind: 'list' },
}

/** Charges every shop’s part; each may be declined for itself. A repeated order is charged again. */
export function authorizePayment(call: ApiCall): Action | Reply {
  const { transbank, account, body } = call
  const fault = findFieldFault(body, authorizeRules, account) ?? findDetailFault(body, account)
  if (fault) return fault
  const order = textIn(body, 'buy_order')
  const key = `${account.code} ${order}`
  const run = () => {
    if (account.hasUniqueOrders && transbank.payments.has(key)) {
      return refuseTransbank('Transaction already exists')
    }
    const enrolment = findEnrolment(call, textIn(body, 'tbk_user'), textIn(body, 'username'))
    const sales = detailsOf(body).map((detail) => chargeShop(call, { order, detail, enrolment }))
    const payment = { order, card: enrolment?.card ?? null, atMs: transbank.world.now().getTime(), sales }
    transbank.payments.set(key, payment)
    return replyJson(200, viewPayment(payment, false))
  }
  return { operation: 'create', reference: order, run }
}

type ShopCharge = { order: string; detail: Body; enrolment: Enrolment | null }

const UNKNOWN_USER = -96

function chargeShop({ transbank, account }: ApiCall, { order, detail, enrolment }: ShopCharge): Sale {
  const sale = addSale(transbank, {
    id: randomBytes(16).toString('hex'),
    reference: order,
    account,
    shop: textIn(detail, 'commerce_code'),
    order: textIn(detail, 'buy_order'),
    amount: amountIn(detail, 'amount', account),
    installments: installmentsIn(detail),
  })
  if (enrolment) authorizeSale(transbank, sale, enrolment.card, takeResponseCode(enrolment, sale.shop))
  else Object.assign(sale, { status: 'FAILED', responseCode: UNKNOWN_USER })
  return sale
}

/** How the next charge of this card ends. */
function takeResponseCode(enrolment: Enrolment, shop: string): number {
  const { decline } = enrolment
  if (!decline || (decline.shop !== null && decline.shop !== shop)) return 0
  if (decline.timesLeft !== null) {
    decline.timesLeft -= 1
    if (decline.timesLeft === 0) enrolment.decline = null
  }
  return decline.responseCode
}

function viewPayment(
  { order, card, atMs, sales }: OneclickPayment,
  hasBalance: boolean,
): Record<string, unknown> {
  const at = new Date(atMs).toISOString()
  return {
    buy_order: order,
    ...(card && { card_detail: { card_number: card.number.slice(-4) } }),
    accounting_date: at.slice(5, 7) + at.slice(8, 10),
    transaction_date: at,
    details: sales.map((sale) => ({
      ...viewSale(sale),
      ...(hasBalance && { balance: toMajor(balanceOf(sale), sale.account.currency) }),
      commerce_code: sale.shop,
      buy_order: sale.order,
    })),
  }
}

function findPayment({ transbank, account, id }: ApiCall): OneclickPayment | null {
  return transbank.payments.get(`${account.code} ${id}`) ?? null
}

export function readPaymentStatus(call: ApiCall): Action | Reply {
  const run = () => {
    const payment = findPayment(call)
    if (!payment) return refuseTransbank('Transaction not found')
    const ageMs = call.transbank.world.now().getTime() - payment.atMs
    return ageMs > STATUS_WINDOW_MS
      ? refuseTransbank('The transactions date has passed max time (7 days) to recover the status')
      : replyJson(200, viewPayment(payment, true))
  }
  return { operation: 'read', reference: call.id, run }
}

export function refundPayment(call: ApiCall): Action | Reply {
  const { transbank, account, body, id } = call
  const rules = { commerce_code: shopRule, detail_buy_order: orderRule, amount: { kind: 'amount' } } as const
  const fault = findFieldFault(body, rules, account)
  if (fault) return fault
  const payment = findPayment(call)
  if (!payment) return refuseTransbank('Transaction not found')
  const [shop, order] = [textIn(body, 'commerce_code'), textIn(body, 'detail_buy_order')]
  const sale = payment.sales.find((one) => one.shop === shop && one.order === order)
  if (!sale) return refuseTransbank('Invalid value for parameter: Transaction Detail not found')
  const run = () => refundSale(transbank, sale, amountIn(body, 'amount', account))
  return { operation: isHeld(sale) ? 'cancel' : 'refund', reference: id, run }
}

const captureRules: FieldRules = {
  commerce_code: shopRule,
  buy_order: orderRule,
  capture_amount: { kind: 'amount' },
  authorization_code: { kind: 'text', longest: 6 },
}

/** Names the shop’s own order, not the payment’s. */
export function capturePayment({ transbank, account, body }: ApiCall): Action | Reply {
  const fault = findFieldFault(body, captureRules, account)
  if (fault) return fault
  const sale = transbank.sales.get(`${account.code} ${textIn(body, 'buy_order')}`)
  const isMeant =
    sale?.shop === textIn(body, 'commerce_code') &&
    sale.authorizationCode === textIn(body, 'authorization_code')
  if (!isMeant) return refuseTransbank('Transaction not found')
  const run = () => captureSale(transbank, sale, amountIn(body, 'capture_amount', account), {})
  return { operation: 'capture', reference: sale.reference, run }
}
