import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import { findKeyAccount } from '../providers/key-accounts.ts'
import type { Mercadopago } from './mercadopago-account.ts'
import { passDate } from './mercadopago-calendar.ts'
import { changeCardWords } from './mercadopago-cards.ts'
import { disputePayment, disputeStatuses, viewChargeback } from './mercadopago-chargebacks.ts'
import { cancelPayment, isWaiting, settlePayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { viewPayment } from './mercadopago-payment-view.ts'
import { tellPreapproval, touch, viewPreapproval } from './mercadopago-preapproval.ts'
import type { Preapproval } from './mercadopago-preapproval.ts'
import { refundPayment, refuseRefund, settleRefund, viewRefund } from './mercadopago-refunds.ts'
import { approved, findVerdict } from './mercadopago-verdicts.ts'
import { endTurn, notify, startTurn } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Result = Record<string, unknown>
type Act = (mercadopago: Mercadopago, input: unknown) => Promise<Result>

const idSchema = z.union([z.string(), z.number()]).transform(String)

/** What people do at MercadoPago without the API: the seller in the panel, the customer, the bank. */
const acts: Record<string, Act> = {
  refund: act(
    z.strictObject({
      payment: idSchema,
      amount: z.int().positive().optional(),
      by: z.enum(['collector', 'admin']).default('collector'),
      webhook: z.boolean().optional(),
    }),
    async (mercadopago, { payment: id, amount, by, webhook }) => {
      const payment = findPayment(mercadopago, id)
      return tell(mercadopago, payment, webhook !== false, (turn) => {
        const left = payment.amount - payment.refunded
        if (refuseRefund(turn, payment, amount ?? left, amount !== undefined))
          throw inputError('amount', `${left} is left of a payment that is ${payment.status}`)
        return viewRefund(payment, refundPayment(turn, payment, amount ?? left, by))
      })
    },
  ),
  dispute: act(
    z.strictObject({ payment: idSchema, status: z.enum(disputeStatuses), webhook: z.boolean().optional() }),
    async (mercadopago, { payment: id, status, webhook }) => {
      const payment = findPayment(mercadopago, id)
      if (!payment.isCaptured) throw inputError('payment', `is ${payment.status}: nothing to dispute`)
      return tell(mercadopago, payment, webhook !== false, (turn) => {
        const chargeback = disputePayment(turn, payment, status)
        return chargeback ? viewChargeback(chargeback) : viewPayment(payment, mercadopago.world.url)
      })
    },
  ),
  /** What waited is decided: a payment by a test word or status_detail, a refund by its status. */
  settle: act(
    z.strictObject({
      payment: idSchema,
      status: z.enum(['approved', 'rejected', 'cancelled']),
      reason: z.string().optional(),
      refund: idSchema.optional(),
      webhook: z.boolean().optional(),
    }),
    async (mercadopago, { payment: id, refund: refundId, status, reason, webhook }) => {
      const payment = findPayment(mercadopago, id)
      return tell(mercadopago, payment, webhook !== false, (turn) => {
        if (refundId !== undefined) return endRefund(turn, payment, refundId, status)
        endPayment(turn, payment, status, reason ?? 'OTHE')
        return viewPayment(payment, mercadopago.world.url)
      })
    },
  ),
  /** From now on the bank answers for this card as these words say: `FUND`, `FUND APRO`. */
  change_card: act(
    z
      .strictObject({ subscription: z.string().optional(), card: z.string().optional(), holder: z.string() })
      .refine(({ subscription, card }) => (subscription === undefined) !== (card === undefined), {
        message: 'give subscription or card',
      }),
    async (mercadopago, { subscription, card: id, holder }) => {
      const card =
        subscription === undefined
          ? mercadopago.cards.get(id!)?.card
          : findPreapproval(mercadopago, subscription).card
      if (!card) throw inputError('card', 'there is no such card')
      changeCardWords(card, holder)
      return { words: card.words }
    },
  ),
  /** The next date comes now. */
  renew: act(z.strictObject({ subscription: z.string() }), async (mercadopago, { subscription: id }) => {
    const preapproval = findPreapproval(mercadopago, id)
    if (preapproval.status !== 'authorized') throw inputError('subscription', `is ${preapproval.status}`)
    const turn = startTurn(mercadopago, preapproval.account)
    passDate(turn, preapproval, mercadopago.world.now())
    await endTurn(turn, null)
    const last = preapproval.invoices.at(-1)
    return { ...viewPreapproval(preapproval, mercadopago.world.url), invoice: last?.id ?? null }
  }),
  /** The customer ends, pauses or resumes it in MercadoPago's own app. */
  change_subscription: act(
    z.strictObject({ subscription: z.string(), status: z.enum(['authorized', 'paused', 'cancelled']) }),
    async (mercadopago, { subscription: id, status }) => {
      const preapproval = findPreapproval(mercadopago, id)
      if (preapproval.status === 'cancelled') throw inputError('subscription', 'is cancelled for good')
      const turn = startTurn(mercadopago, preapproval.account)
      preapproval.status = status
      touch(turn, preapproval)
      tellPreapproval(turn, preapproval, 'updated')
      await endTurn(turn, null)
      return viewPreapproval(preapproval, mercadopago.world.url)
    },
  ),
  /** The seller takes an application's access away. */
  unlink: act(z.strictObject({ account: z.string() }), async (mercadopago, { account: name }) => {
    const account = findKeyAccount(mercadopago.accounts, name)
    if (!account) throw inputError('account', 'there is no such account')
    const turn = startTurn(mercadopago, account)
    const id = String(account.applicationId)
    notify(turn, { topic: 'mp-connect', action: 'application.deauthorized', id, url: null, lane: id })
    account.isRevoked = true
    await endTurn(turn, null)
    return { account: account.name, revoked: true }
  }),
}

export async function playAct(mercadopago: Mercadopago, action: string, input: unknown): Promise<Result> {
  const known = Object.hasOwn(acts, action) ? acts[action] : undefined
  if (!known) throw inputError('action', `must be one of ${Object.keys(acts).join(', ')}`)
  return known(mercadopago, input)
}

function act<Input>(
  schema: z.ZodType<Input>,
  run: (mercadopago: Mercadopago, input: Input) => Promise<Result>,
): Act {
  return (mercadopago, input) => run(mercadopago, schema.parse(input))
}

/** Plays it in a turn of the payment's account; a webhook that is not wanted is lost. */
async function tell(
  mercadopago: Mercadopago,
  payment: Payment,
  isTold: boolean,
  play: (turn: Turn) => Result,
): Promise<Result> {
  const turn = startTurn(mercadopago, payment.account)
  const result = play(turn)
  if (isTold) await endTurn(turn, null)
  return result
}

function endPayment(
  turn: Turn,
  payment: Payment,
  status: 'approved' | 'rejected' | 'cancelled',
  reason: string,
): void {
  if (!isWaiting(payment)) throw inputError('payment', `is ${payment.status}: it does not wait`)
  if (status === 'cancelled') return cancelPayment(turn, payment, 'expired')
  const verdict = status === 'approved' ? approved : findVerdict(reason)
  if (!verdict || verdict.status !== status)
    throw inputError('reason', 'must be a word such as FUND or a status_detail')
  settlePayment(turn, payment, verdict)
}

function endRefund(
  turn: Turn,
  payment: Payment,
  id: string,
  status: 'approved' | 'rejected' | 'cancelled',
): Result {
  const refund = payment.refunds.find((one) => String(one.id) === id)
  if (refund?.status !== 'in_process') throw inputError('refund', 'there is no such refund that waits')
  settleRefund(turn, payment, refund, status)
  return viewRefund(payment, refund)
}

function findPayment(mercadopago: Mercadopago, id: string): Payment {
  const payment = mercadopago.payments.get(Number(id))
  if (!payment) throw inputError('payment', 'there is no such payment')
  return payment
}

function findPreapproval(mercadopago: Mercadopago, id: string): Preapproval {
  const preapproval = mercadopago.preapprovals.get(id.toLowerCase())
  if (!preapproval) throw inputError('subscription', 'there is no such subscription')
  return preapproval
}
