import { toMajor } from './amounts.ts'
import { isLive, viewHolder } from './mercadopago-cards.ts'
import type { Card } from './mercadopago-cards.ts'
import type { Payment } from './mercadopago-payment.ts'
import { viewRefund } from './mercadopago-refunds.ts'
import { writeTime } from './mercadopago-sites.ts'

const FEE_SHARE = 0.0319
const RELEASE_MS = 14 * 24 * 60 * 60 * 1_000

/** A payment as the API shows it. `origin` is where the sandbox's own pages are. */
export function viewPayment(payment: Payment, origin: string): Record<string, unknown> {
  const { account, card, method, currency } = payment
  const major = (minor: number) => toMajor(minor, currency)
  const write = (date: Date | null) => (date === null ? null : writeTime(date))
  const fee = payment.isCaptured ? Math.round(payment.amount * FEE_SHARE) : 0
  const pageUrl = pageUrlOf(payment, origin)
  const isChallenge = payment.detail === 'pending_challenge'
  return {
    id: payment.id,
    date_created: writeTime(payment.createdAt),
    date_approved: write(payment.approvedAt),
    date_last_updated: writeTime(payment.updatedAt),
    date_of_expiration: write(payment.expiresAt),
    money_release_date: payment.approvedAt && writeTime(new Date(payment.approvedAt.getTime() + RELEASE_MS)),
    operation_type: payment.operationType,
    issuer_id: card ? '166' : null,
    payment_method_id: method.id,
    payment_type_id: method.type,
    payment_method: { id: method.id, type: method.type, issuer_id: card ? '166' : null },
    status: payment.status,
    status_detail: payment.detail,
    currency_id: currency,
    description: payment.description,
    live_mode: isLive(account),
    authorization_code: card && payment.approvedAt ? String(payment.id).slice(-6) : null,
    collector_id: account.userId,
    payer: payment.payer,
    metadata: payment.metadata,
    order: payment.orderId === null ? {} : { type: 'mercadopago', id: String(payment.orderId) },
    external_reference: payment.externalReference,
    transaction_amount: major(payment.amount),
    transaction_amount_refunded: major(payment.refunded),
    transaction_details: {
      net_received_amount: payment.isCaptured ? major(payment.amount - fee) : 0,
      total_paid_amount: major(payment.amount),
      installment_amount: card ? major(Math.round(payment.amount / payment.installments)) : 0,
      external_resource_url: isChallenge ? null : pageUrl,
    },
    fee_details: viewFees(payment, major(fee)),
    captured: payment.isCaptured,
    binary_mode: payment.isBinary,
    installments: payment.installments,
    card: card ? viewCard(card) : {},
    statement_descriptor: payment.statementDescriptor,
    notification_url: payment.notificationUrl,
    callback_url: payment.callbackUrl,
    refunds: payment.refunds.map((refund) => viewRefund(payment, refund)),
    ...(isChallenge
      ? { three_ds_info: { external_resource_url: pageUrl, creq: writeChallengeRequest(payment) } }
      : {}),
    point_of_interaction: viewInteraction(payment, pageUrl),
  }
}

/** The page on which the customer has something to do for this payment; null when there is none. */
export function pageUrlOf(payment: Payment, origin: string): string | null {
  if (payment.detail === 'pending_challenge')
    return `${origin}/mercadopago/3ds/challenge?payment_id=${payment.id}`
  if (payment.card || payment.method.type === 'account_money') return null
  return `${origin}/mercadopago/payments/${payment.id}/ticket`
}

/** Opaque to whoever passes it on. */
function writeChallengeRequest({ id }: Payment): string {
  const request = { threeDSServerTransID: String(id), messageType: 'CReq', messageVersion: '2.1.0' }
  return Buffer.from(JSON.stringify(request)).toString('base64url')
}

function viewCard(card: Card): Record<string, unknown> {
  return {
    id: card.id,
    first_six_digits: card.firstSix,
    last_four_digits: card.lastFour,
    expiration_month: card.month,
    expiration_year: card.year,
    date_created: writeTime(card.createdAt),
    date_last_updated: writeTime(card.createdAt),
    cardholder: viewHolder(card),
  }
}

function viewFees({ applicationFee }: Payment, fee: number): Array<Record<string, unknown>> {
  const fees = { mercadopago_fee: fee, application_fee: applicationFee }
  return Object.entries(fees)
    .filter(([, amount]) => amount > 0)
    .map(([type, amount]) => ({ type, amount, fee_payer: 'collector' }))
}

function viewInteraction(payment: Payment, pageUrl: string | null): Record<string, unknown> {
  if (payment.preapprovalId !== null)
    return { type: 'SUBSCRIPTIONS', transaction_data: { subscription_id: payment.preapprovalId } }
  if (payment.method.id === 'pix') return { type: 'PIX', transaction_data: { ticket_url: pageUrl } }
  return { type: payment.orderId === null ? 'UNSPECIFIED' : 'CHECKOUT' }
}
