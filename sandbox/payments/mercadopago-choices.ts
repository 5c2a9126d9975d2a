import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import { playDue } from './agenda.ts'
import type { Mercadopago } from './mercadopago-account.ts'
import { authorize } from './mercadopago-calendar.ts'
import { chargeCard, createTestCard } from './mercadopago-cards.ts'
import { payPreference } from './mercadopago-checkout.ts'
import { cancelPayment, changePayment, isWaiting, settlePayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { tellPreapproval, touch } from './mercadopago-preapproval.ts'
import type { Preapproval } from './mercadopago-preapproval.ts'
import { findMethod } from './mercadopago-sites.ts'
import { approved, findVerdict } from './mercadopago-verdicts.ts'
import { playTurn } from './mercadopago-webhooks.ts'
import type { PayResult } from './simulator.ts'

const word = z.string().refine((text) => text.split(' ').every((part) => findVerdict(part) !== undefined), {
  message: 'must be a test word such as FUND, or a status_detail',
})

const choiceSchema = z.strictObject({
  /** Of a preference, a preapproval, or a payment that waits. */
  id: z.coerce.string(),
  choice: z.enum(['approve', 'decline', 'pending', 'review', 'abort', 'time_out', 'close_tab']),
  /** Why a decline: `FUND`, or a `status_detail`. */
  reason: word.optional(),
  /** Cardholder: `APRO FUND` is a card that is good once. */
  holder: word.optional(),
  method: z.string().default('visa'),
  installments: z.coerce.number().int().min(1).max(48).default(1),
  /** Pays a preference that was paid already, as MercadoPago lets a customer do. */
  again: z.boolean().default(false),
})

/** What a customer does on one of MercadoPago's pages; what the page has no use for is ignored. */
export type Choice = z.infer<typeof choiceSchema>

export function payMercadopago(mercadopago: Mercadopago, input: unknown): PayResult {
  const choice = choiceSchema.parse(input)
  playDue(mercadopago.agenda)
  const preference = mercadopago.preferences.get(choice.id)
  if (preference) return payPreference(mercadopago, preference, choice)
  const preapproval = mercadopago.preapprovals.get(choice.id.toLowerCase())
  if (preapproval) return subscribe(mercadopago, preapproval, choice)
  const payment = mercadopago.payments.get(Number(choice.id))
  if (payment) return payWaiting(mercadopago, payment, choice)
  throw inputError('id', 'must be of a preference, a preapproval or a payment')
}

/** The customer of a subscription without a card. A card that is no good can be followed by another. */
function subscribe(mercadopago: Mercadopago, preapproval: Preapproval, choice: Choice): PayResult {
  const { account, status, backUrl, id } = preapproval
  const back: PayResult['next'] =
    backUrl === '' ? null : { method: 'GET', url: backUrl, fields: { preapproval_id: id } }
  if (choice.choice === 'abort') return { state: status, next: back }
  if (choice.choice !== 'approve') return { state: status, next: null }
  if (status !== 'pending') return { state: status, next: back }
  const method = findMethod(account.siteId, choice.method)
  if (!method?.type.endsWith('_card')) throw inputError('method', 'must be a card')
  const card = createTestCard(method, choice.holder ?? 'APRO', mercadopago.world.now())
  if (chargeCard(card).status !== 'approved') return { state: status, next: null }
  playTurn(mercadopago, account, (turn) => {
    authorize(turn, preapproval, card)
    touch(turn, preapproval)
    tellPreapproval(turn, preapproval, 'updated')
  })
  return { state: preapproval.status, next: back }
}

/** The customer of a payment that waits for them: a challenge of the bank, a voucher, a transfer. */
function payWaiting(mercadopago: Mercadopago, payment: Payment, choice: Choice): PayResult {
  const back: PayResult['next'] =
    payment.callbackUrl === null ? null : { method: 'GET', url: payment.callbackUrl, fields: {} }
  const stays = choice.choice === 'close_tab' || !isWaiting(payment)
  if (!stays)
    playTurn(mercadopago, payment.account, (turn) => {
      if (choice.choice === 'approve') settlePayment(turn, payment, approved)
      else if (payment.detail === 'pending_challenge')
        changePayment(turn, payment, { status: 'rejected', detail: 'cc_rejected_3ds_challenge' })
      else if (choice.choice === 'time_out') cancelPayment(turn, payment, 'expired')
      else if (choice.choice === 'decline' && payment.method.type === 'bank_transfer')
        changePayment(turn, payment, { status: 'rejected', detail: 'bank_rejected' })
    })
  return { state: payment.status, next: choice.choice === 'close_tab' ? null : back }
}
