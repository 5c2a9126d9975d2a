import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { toMajor } from './amounts.ts'
import { nextId } from './mercadopago-account.ts'
import { isLive } from './mercadopago-cards.ts'
import { changePayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { indexed, replyFound } from './mercadopago-search.ts'
import { writeTime } from './mercadopago-sites.ts'
import { notify } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

/** A customer's bank takes the money back; documents decide who keeps it. */
export type Chargeback = {
  id: string
  payment: Payment
  status: DisputeStatus
  createdAt: Date
  updatedAt: Date
}

export const disputeStatuses = ['mediation', 'open', 'won', 'lost'] as const
export type DisputeStatus = (typeof disputeStatuses)[number]

const outcomes = {
  mediation: { status: 'in_mediation', detail: 'pending' },
  open: { status: 'charged_back', detail: 'in_process' },
  won: { status: 'charged_back', detail: 'reimbursed' },
  lost: { status: 'charged_back', detail: 'settled' },
} as const

/** Opens a dispute about a payment or moves the one there is; a mediation is not yet a chargeback. */
export function disputePayment(turn: Turn, payment: Payment, status: DisputeStatus): Chargeback | null {
  const known = turn.account.chargebacks.find((one) => one.payment === payment)
  const chargeback = status === 'mediation' ? null : (known ?? openChargeback(turn, payment))
  if (chargeback) {
    chargeback.status = status
    chargeback.updatedAt = turn.mercadopago.world.now()
  }
  changePayment(turn, payment, outcomes[status])
  if (chargeback) {
    notify(turn, {
      topic: 'topic_chargebacks_wh',
      action: known ? 'updated' : 'created',
      id: chargeback.id,
      url: payment.notificationUrl,
      lane: String(payment.id),
    })
  }
  return chargeback
}

function openChargeback({ mercadopago, account }: Turn, payment: Payment): Chargeback {
  const now = mercadopago.world.now()
  const id = `${nextId(mercadopago)}000`
  const chargeback: Chargeback = { id, payment, status: 'open', createdAt: now, updatedAt: now }
  mercadopago.chargebacks.set(id, chargeback)
  account.chargebacks.push(chargeback)
  return chargeback
}

/** GET /v1/chargebacks/search */
export function searchChargebacks(turn: Turn, query: URLSearchParams): Reply {
  const paymentId = query.get('payment_id')
  const found = indexed(turn, turn.account.chargebacks).filter(
    ({ payment }) => paymentId === null || String(payment.id) === paymentId,
  )
  return replyFound(query, found, viewChargeback)
}

export function answerReadChargeback(chargeback: Chargeback): Reply {
  return replyJson(200, viewChargeback(chargeback))
}

const DOCUMENTS_TIME_MS = 10 * 24 * 60 * 60 * 1_000

export function viewChargeback(chargeback: Chargeback): Record<string, unknown> {
  const { payment, status, createdAt } = chargeback
  const documents = { mediation: 'pending', open: 'pending', won: 'valid', lost: 'not_supplied' }[status]
  return {
    id: chargeback.id,
    payments: [payment.id],
    currency: payment.currency,
    amount: toMajor(payment.amount, payment.currency),
    reason: 'general',
    coverage_applied: status === 'won' ? true : status === 'lost' ? false : null,
    coverage_elegible: true,
    documentation_required: status === 'open',
    documentation_status: documents,
    documentation: [],
    date_documentation_deadline: writeTime(new Date(createdAt.getTime() + DOCUMENTS_TIME_MS)),
    date_created: writeTime(createdAt),
    date_last_updated: writeTime(chargeback.updatedAt),
    live_mode: isLive(payment.account),
  }
}
