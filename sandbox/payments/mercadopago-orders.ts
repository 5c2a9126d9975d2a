import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { toMajor } from './amounts.ts'
import { nextId } from './mercadopago-account.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import { isLive } from './mercadopago-cards.ts'
import type { Payment } from './mercadopago-payment.ts'
import { viewItems } from './mercadopago-preferences.ts'
import type { Preference } from './mercadopago-preferences.ts'
import { indexed, replyElements } from './mercadopago-search.ts'
import { writeTime } from './mercadopago-sites.ts'
import { notify } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

/** What a preference and all attempts to pay it come together in. */
export type MerchantOrder = {
  id: number
  account: MercadopagoAccount
  preference: Preference
  payments: Payment[]
  createdAt: Date
  updatedAt: Date
}

export function createOrder({ mercadopago, account }: Turn, preference: Preference): MerchantOrder {
  const now = mercadopago.world.now()
  const order = { id: nextId(mercadopago), account, preference, payments: [], createdAt: now, updatedAt: now }
  mercadopago.orders.set(order.id, order)
  account.orders.push(order)
  return order
}

/** A payment of it was made or changed. */
export function followPayment(turn: Turn, order: MerchantOrder, payment: Payment): void {
  if (!order.payments.includes(payment)) order.payments.push(payment)
  order.updatedAt = turn.mercadopago.world.now()
  notify(turn, {
    topic: 'topic_merchant_order_wh',
    action: order.payments.length === 1 ? 'create' : 'update',
    id: String(order.id),
    url: order.preference.notificationUrl,
    lane: String(order.id),
    extra: { status: paidOf(order) >= order.preference.amount ? 'closed' : 'opened' },
  })
}

/** GET /merchant_orders/search */
export function searchOrders(turn: Turn, query: URLSearchParams): Reply {
  const [preferenceId, reference] = [query.get('preference_id'), query.get('external_reference')]
  const found = indexed(turn, turn.account.orders).filter(
    ({ preference }) =>
      (preferenceId === null || preference.id === preferenceId) &&
      (reference === null || preference.externalReference === reference),
  )
  return replyElements(query, found, viewOrder)
}

export function answerReadOrder(order: MerchantOrder): Reply {
  return replyJson(200, viewOrder(order))
}

function viewOrder(order: MerchantOrder): Record<string, unknown> {
  const { account, preference } = order
  const major = (minor: number) => toMajor(minor, preference.currency)
  const paid = paidOf(order)
  const refunded = order.payments.reduce((sum, payment) => sum + payment.refunded, 0)
  return {
    id: order.id,
    status: paid >= preference.amount ? 'closed' : 'opened',
    order_status: orderStatusOf(order, paid, refunded),
    preference_id: preference.id,
    application_id: String(account.applicationId),
    site_id: account.siteId,
    external_reference: preference.externalReference ?? '',
    notification_url: preference.notificationUrl,
    collector: { id: account.userId, nickname: account.name },
    payer: { id: null },
    payments: order.payments.map((payment) => viewOrderPayment(payment)),
    items: viewItems(preference),
    paid_amount: major(paid),
    refunded_amount: major(refunded),
    total_amount: major(preference.amount),
    shipping_cost: 0,
    cancelled: false,
    is_test: !isLive(account) || account.isTestUser,
    date_created: writeTime(order.createdAt),
    last_updated: writeTime(order.updatedAt),
  }
}

function viewOrderPayment(payment: Payment): Record<string, unknown> {
  return {
    id: payment.id,
    transaction_amount: toMajor(payment.amount, payment.currency),
    total_paid_amount: toMajor(payment.amount, payment.currency),
    currency_id: payment.currency,
    status: payment.status,
    status_detail: payment.detail,
    operation_type: payment.operationType,
    date_approved: payment.approvedAt && writeTime(payment.approvedAt),
    date_created: writeTime(payment.createdAt),
    last_modified: writeTime(payment.updatedAt),
    amount_refunded: toMajor(payment.refunded, payment.currency),
  }
}

function paidOf(order: MerchantOrder): number {
  return order.payments
    .filter(({ isCaptured, status }) => isCaptured && status !== 'charged_back')
    .reduce((sum, { amount }) => sum + amount, 0)
}

function orderStatusOf({ preference, payments }: MerchantOrder, paid: number, refunded: number): string {
  if (paid > 0 && refunded >= paid) return 'reverted'
  if (paid >= preference.amount) return refunded > 0 ? 'partially_reverted' : 'paid'
  const isWaiting = payments.some(({ status }) => status === 'pending' || status === 'in_process')
  return isWaiting ? 'payment_in_process' : 'payment_required'
}
