import { writeLedger } from './ledger.ts'
import type { LedgerEntry } from './ledger.ts'
import { schedule } from './agenda.ts'
import { nextId } from './mercadopago-account.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import { chargeCard } from './mercadopago-cards.ts'
import type { Card } from './mercadopago-cards.ts'
import type { Refund } from './mercadopago-refunds.ts'
import type { PaymentMethod } from './mercadopago-sites.ts'
import { approved } from './mercadopago-verdicts.ts'
import type { Verdict } from './mercadopago-verdicts.ts'
import { notify, playTurn } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

export type PaymentStatus =
  | 'pending'
  | 'in_process'
  | 'authorized'
  | 'approved'
  | 'in_mediation'
  | 'rejected'
  | 'cancelled'
  | 'refunded'
  | 'charged_back'

export type Payer = {
  type: 'guest' | 'customer' | 'registered'
  id: string | null
  email: string | null
  identification: { type: string | null; number: string | null }
}

export type PaymentDraft = {
  /** Minor units. */
  amount: number
  currency: string
  method: PaymentMethod
  card: Card | null
  capture: boolean
  isBinary: boolean
  installments: number
  payer: Payer
  externalReference: string | null
  description: string | null
  statementDescriptor: string | null
  metadata: Record<string, unknown>
  notificationUrl: string | null
  callbackUrl: string | null
  secureMode: 'not_supported' | 'optional' | 'mandatory'
  /** Of a ticket or transfer. */
  expiresAt: Date | null
  /** Major units: what the marketplace keeps. */
  applicationFee: number
  operationType: 'regular_payment' | 'recurring_payment'
  orderId: number | null
  preapprovalId: string | null
  /** Lets what it belongs to follow: a merchant order, an instalment. */
  onChange: ((turn: Turn, payment: Payment) => void) | null
}

export type Payment = PaymentDraft & {
  id: number
  account: MercadopagoAccount
  status: PaymentStatus
  detail: string
  isCaptured: boolean
  refunded: number
  refunds: Refund[]
  createdAt: Date
  updatedAt: Date
  approvedAt: Date | null
}

const DAY_MS = 24 * 60 * 60 * 1_000
const CHALLENGE_LIVES_MS = 5 * 60 * 1_000
const TICKET_LIVES_MS = 30 * DAY_MS

/** Makes a payment and plays what the card says to it. A rejected one is a payment as well. */
export function createPayment(turn: Turn, draft: PaymentDraft): Payment {
  const { mercadopago, account } = turn
  const now = mercadopago.world.now()
  const { status, detail } = decide(draft)
  const payment: Payment = {
    ...draft,
    id: nextId(mercadopago),
    account,
    status,
    detail,
    isCaptured: status === 'approved',
    refunded: 0,
    refunds: [],
    createdAt: now,
    updatedAt: now,
    approvedAt: status === 'approved' || status === 'authorized' ? now : null,
    expiresAt: status === 'pending' && !draft.card ? (draft.expiresAt ?? after(now, TICKET_LIVES_MS)) : null,
  }
  remember(turn, payment)
  if (status === 'approved') bookMoney(turn, payment, 'charge', payment.amount)
  if (status === 'authorized') bookMoney(turn, payment, 'authorization', payment.amount)
  limitLife(turn, payment)
  tellPayment(turn, payment, 'payment.created')
  payment.onChange?.(turn, payment)
  return payment
}

type Outcome = { status: PaymentStatus; detail: string }

function decide(draft: PaymentDraft): Outcome {
  const { card, method } = draft
  if (!card && method.type === 'ticket') return { status: 'pending', detail: 'pending_waiting_payment' }
  if (!card && method.type === 'bank_transfer')
    return { status: 'pending', detail: 'pending_waiting_transfer' }
  const verdict = card ? chargeCard(card) : approved
  const isSecure = draft.secureMode !== 'not_supported' && method.type === 'credit_card'
  if (verdict.detail === 'pending_challenge')
    return isSecure ? verdict : { status: 'rejected', detail: 'cc_rejected_3ds_mandatory' }
  if (verdict.status === 'approved' && draft.secureMode === 'mandatory' && isSecure && !draft.isBinary)
    return { status: 'pending', detail: 'pending_challenge' }
  return settleVerdict(draft, verdict)
}

function settleVerdict(
  { capture, isBinary }: Pick<Payment, 'capture' | 'isBinary'>,
  verdict: Verdict,
): Outcome {
  if (verdict.status === 'approved')
    return capture ? verdict : { status: 'authorized', detail: 'pending_capture' }
  if (verdict.status !== 'rejected' && isBinary)
    return { status: 'rejected', detail: 'cc_rejected_other_reason' }
  return verdict
}

/** A payment that waited gets its verdict: a challenge was met, cash was paid, a review ended. */
export function settlePayment(turn: Turn, payment: Payment, verdict: Verdict): void {
  const outcome = settleVerdict(payment, verdict)
  if (outcome.status === 'approved') {
    payment.isCaptured = true
    bookMoney(turn, payment, 'charge', payment.amount)
  }
  if (outcome.status === 'authorized') bookMoney(turn, payment, 'authorization', payment.amount)
  changePayment(turn, payment, outcome)
}

/** Takes what was authorized, or less of it: the rest is free again. */
export function capturePayment(turn: Turn, payment: Payment, amount: number): void {
  payment.amount = amount
  payment.isCaptured = true
  bookMoney(turn, payment, 'charge', amount)
  changePayment(turn, payment, approved)
}

export function cancelPayment(turn: Turn, payment: Payment, detail: string): void {
  if (payment.status === 'authorized') bookMoney(turn, payment, 'void', payment.amount)
  changePayment(turn, payment, { status: 'cancelled', detail })
}

/** Every change of a payment goes through here: it is dated, told, and followed by what the payment belongs to. */
export function changePayment(turn: Turn, payment: Payment, { status, detail }: Outcome): void {
  const now = turn.mercadopago.world.now()
  payment.status = status
  payment.detail = detail
  payment.updatedAt = now
  if (status === 'approved' || status === 'authorized') payment.approvedAt ??= now
  if (status === 'authorized') limitLife(turn, payment)
  tellPayment(turn, payment, 'payment.updated')
  payment.onChange?.(turn, payment)
}

/** Whether it waits for somebody or something. */
export function isWaiting({ status }: Payment): boolean {
  return status === 'pending' || status === 'in_process'
}

export function bookMoney(turn: Turn, payment: Payment, kind: LedgerEntry['kind'], amount: number): void {
  writeLedger(turn.mercadopago.world, {
    provider: 'mercadopago',
    account: turn.account.name,
    kind,
    payment: String(payment.id),
    reference: payment.externalReference,
    amount,
    currency: payment.currency,
  })
}

function tellPayment(turn: Turn, payment: Payment, action: string): void {
  const id = String(payment.id)
  notify(turn, { topic: 'payment', action, id, url: payment.notificationUrl, lane: id })
}

function remember({ mercadopago, account }: Turn, payment: Payment): void {
  if (isWaiting(payment)) mercadopago.openPages.add(payment)
  mercadopago.payments.set(payment.id, payment)
  account.payments.push(payment)
  const reference = payment.externalReference
  if (reference === null) return
  const known = account.paymentsByReference.get(reference)
  if (known) known.push(payment)
  else account.paymentsByReference.set(reference, [payment])
}

/** What waits too long ends by itself. */
function limitLife({ mercadopago, account }: Turn, payment: Payment): void {
  const end = endOfLife(payment)
  if (end === null) return
  const { status, detail } = payment
  schedule(mercadopago.agenda, end, () => {
    if (payment.status !== status || payment.detail !== detail) return
    playTurn(mercadopago, account, (turn) => {
      if (detail === 'pending_challenge')
        changePayment(turn, payment, { status: 'rejected', detail: 'cc_rejected_3ds_challenge' })
      else cancelPayment(turn, payment, 'expired')
    })
  })
}

function endOfLife({ status, detail, expiresAt, updatedAt, account }: Payment): Date | null {
  if (status === 'authorized') return after(updatedAt, account.options.capture_days * DAY_MS)
  if (detail === 'pending_challenge') return after(updatedAt, CHALLENGE_LIVES_MS)
  return expiresAt
}

function after(start: Date, ms: number): Date {
  return new Date(start.getTime() + ms)
}
