import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { schedule } from './agenda.ts'
import { toMajor } from './amounts.ts'
import { nextId } from './mercadopago-account.ts'
import { createPayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { endPreapproval, touch } from './mercadopago-preapproval.ts'
import type { Preapproval } from './mercadopago-preapproval.ts'
import { refuseSubscription } from './mercadopago-replies.ts'
import { indexed, replyFound } from './mercadopago-search.ts'
import { writeTime } from './mercadopago-sites.ts'
import { notify, playTurn } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

/** One instalment of a subscription: what MercadoPago calls an authorized payment. */
export type Invoice = {
  id: string
  preapproval: Preapproval
  status: 'scheduled' | 'processed' | 'recycling' | 'cancelled'
  amount: number
  debitAt: Date
  attempts: number
  payment: Payment | null
  createdAt: Date
  updatedAt: Date
}

const DAY_MS = 24 * 60 * 60 * 1_000
/** Days after the first attempt: four more within ten days. */
const RETRY_DAYS = [1, 3, 6, 10]
const UNPAID_UNTIL_CANCELLED = 3

/** Charges what is due on a date. */
export function chargePeriod(turn: Turn, preapproval: Preapproval, at: Date): void {
  const now = turn.mercadopago.world.now()
  const invoice: Invoice = {
    id: String(nextId(turn.mercadopago)),
    preapproval,
    status: 'scheduled',
    amount: preapproval.terms.amount,
    debitAt: at,
    attempts: 0,
    payment: null,
    createdAt: now,
    updatedAt: now,
  }
  turn.mercadopago.invoices.set(invoice.id, invoice)
  preapproval.invoices.push(invoice)
  attempt(turn, invoice)
}

function attempt(turn: Turn, invoice: Invoice): void {
  const { preapproval } = invoice
  invoice.attempts += 1
  createPayment(turn, {
    amount: invoice.amount,
    currency: preapproval.terms.currency,
    method: preapproval.card!.method,
    card: preapproval.card,
    capture: true,
    isBinary: false,
    installments: 1,
    payer: {
      type: 'guest',
      id: String(preapproval.payerId),
      email: preapproval.payerEmail,
      identification: preapproval.card!.document,
    },
    externalReference: preapproval.externalReference,
    description: preapproval.reason,
    statementDescriptor: null,
    metadata: {},
    notificationUrl: notificationUrlOf(preapproval),
    callbackUrl: null,
    secureMode: 'not_supported',
    expiresAt: null,
    applicationFee: 0,
    operationType: 'recurring_payment',
    orderId: null,
    preapprovalId: preapproval.id,
    onChange: (now, payment) => followCharge(now, invoice, payment),
  })
}

/** The payment of an instalment was made or changed; refunds and disputes don't touch the instalment. */
function followCharge(turn: Turn, invoice: Invoice, payment: Payment): void {
  const isNew = invoice.payment !== payment
  invoice.payment = payment
  if (invoice.status === 'processed') return
  if (payment.status === 'approved') settle(turn, invoice)
  if (payment.status === 'rejected' || payment.status === 'cancelled') retryOrGiveUp(turn, invoice)
  invoice.updatedAt = turn.mercadopago.world.now()
  touch(turn, invoice.preapproval)
  tellInvoice(turn, invoice, isNew && invoice.attempts === 1 ? 'created' : 'updated')
  if (invoice.preapproval.unpaidInARow >= UNPAID_UNTIL_CANCELLED) endPreapproval(turn, invoice.preapproval)
}

function settle(turn: Turn, invoice: Invoice): void {
  const { preapproval } = invoice
  invoice.status = 'processed'
  preapproval.charges += 1
  preapproval.charged += invoice.amount
  preapproval.lastChargeAt = turn.mercadopago.world.now()
  preapproval.unpaidInARow = 0
}

function retryOrGiveUp({ mercadopago, account }: Turn, invoice: Invoice): void {
  const days = RETRY_DAYS[invoice.attempts - 1]
  if (days === undefined) {
    invoice.status = 'processed'
    invoice.preapproval.unpaidInARow += 1
    return
  }
  invoice.status = 'recycling'
  schedule(mercadopago.agenda, new Date(invoice.debitAt.getTime() + days * DAY_MS), () => {
    const { status } = invoice.preapproval
    if (invoice.status === 'recycling' && status === 'authorized')
      playTurn(mercadopago, account, (turn) => attempt(turn, invoice))
    else if (status === 'cancelled') invoice.status = 'cancelled'
  })
}

function tellInvoice(turn: Turn, invoice: Invoice, action: 'created' | 'updated'): void {
  const { account } = invoice.preapproval
  notify(turn, {
    topic: 'subscription_authorized_payment',
    action,
    id: invoice.id,
    url: notificationUrlOf(invoice.preapproval),
    lane: invoice.id,
    extra: { application_id: account.applicationId, entity: 'authorized_payment' },
  })
}

function notificationUrlOf({ account, notificationUrl }: Preapproval): string | null {
  return account.options.subscription_webhooks === 'request' ? notificationUrl : null
}

/** GET /authorized_payments/search */
export function searchInvoices(turn: Turn, query: URLSearchParams): Reply {
  const [preapprovalId, paymentId] = [query.get('preapproval_id'), query.get('payment_id')]
  if (preapprovalId === null && paymentId === null)
    return refuseSubscription('At least one filter is required: preapproval_id or payment_id')
  const payment = turn.mercadopago.payments.get(Number(paymentId))
  const id = preapprovalId ?? payment?.preapprovalId ?? ''
  const preapproval = turn.mercadopago.preapprovals.get(id.toLowerCase())
  const invoices = preapproval?.account === turn.account ? preapproval.invoices : []
  const found =
    paymentId === null ? invoices : invoices.filter((one) => String(one.payment?.id) === paymentId)
  return replyFound(query, indexed(turn, found), viewInvoice)
}

export function answerReadInvoice(invoice: Invoice): Reply {
  return replyJson(200, viewInvoice(invoice))
}

function viewInvoice(invoice: Invoice): Record<string, unknown> {
  const { preapproval, payment } = invoice
  return {
    id: invoice.id,
    type: 'scheduled',
    preapproval_id: preapproval.id,
    status: invoice.status,
    reason: preapproval.reason,
    external_reference: preapproval.externalReference,
    currency_id: preapproval.terms.currency,
    transaction_amount: toMajor(invoice.amount, preapproval.terms.currency),
    debit_date: writeTime(invoice.debitAt),
    retry_attempt: Math.max(0, invoice.attempts - 1),
    payment_method_id: preapproval.card?.method.id ?? null,
    payer_id: preapproval.payerId,
    payment: payment && {
      id: String(payment.id),
      status: payment.status,
      status_detail: payment.detail,
    },
    date_created: writeTime(invoice.createdAt),
    last_modified: writeTime(invoice.updatedAt),
  }
}
