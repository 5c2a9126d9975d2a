import { z } from 'zod'
import { anything, fieldsOf, figure, thenDone, mapDone, optionalText, refuse } from '#connections'
import type { NotDone } from '#connections'
import { toWireNumber } from '../money.ts'
import type { MethodSnapshot, PaymentCommand, PaymentProvider, PaymentRef } from './provider.ts'
import { agrees, hasAny, postForm, webUrl } from './redirect.ts'
import { refuseFaults } from './rule-list.ts'
import { noMoney } from './snapshot.ts'
import { type Credentials, listFaults, missingOneclick, wire } from './transbank-account.ts'
import { callTransbank, tokenField } from './transbank-call.ts'
import { describeCard, describeDecline, orderOf, readTransaction } from './transbank-mapping.ts'
import { shopOrderOf, transactionAnswer } from './transbank-mapping.ts'

/** What a saved card is at Transbank: neither half charges without the other and the commerce's key. */
const savedCard = z.object({ tbk_user: z.string().min(1).max(40), username: z.string().min(1).max(40) })

const startAnswer = z.looseObject({ token: tokenField, url_webpay: webUrl })
const finishAnswer = z
  .looseObject({
    response_code: figure,
    ...fieldsOf(optionalText, 'tbk_user', 'card_type', 'card_number'),
  })
  .refine((answer) => answer.response_code !== 0 || Boolean(answer.tbk_user))

type Verbs = 'createPayment' | 'saveMethod' | 'finishMethod' | 'removeMethod'

/** Saved cards: Transbank charges no others without the customer. */
export const oneclick = {
  /** The order is the payment's own, so that an unanswered charge can be found again. */
  async createPayment(command, context) {
    const body = writeCharge(command, context.credentials)
    if ('outcome' in body) return body
    const call = ['oneclick', 'POST', '/transactions', body] as const
    const outcome = await callTransbank(context, call, transactionAnswer)
    const ref = refOf(command, context.now())
    return thenDone(outcome, ({ answer }) => readTransaction(answer, ref, context))
  },

  /** The customer enters the card on Transbank's page: one card per username, so each method has its own. */
  async saveMethod({ methodId, customer, returnUrl }, context) {
    const { email = '' } = customer
    if (context.credentials.oneclickCommerceCode === undefined) return refuse('config', missingOneclick)
    if (!/^[\w-]{1,40}$/.test(methodId)) return refuse('content', `${methodId} can't be a user of Oneclick.`)
    if (email === '' || email.length > 100) {
      return refuse(
        'content',
        'Oneclick needs the e-mail address of the customer, of at most 100 characters.',
      )
    }
    const body = { username: methodId, email, response_url: returnUrl }
    const outcome = await callTransbank(context, ['oneclick', 'POST', '/inscriptions', body], startAnswer)
    return mapDone(outcome, ({ answer }) => {
      const { token, url_webpay: url } = answer
      const action = postForm(url, { TBK_TOKEN: token })
      return { snapshot: { status: 'pending', providerInscriptionId: token, action } }
    })
  },

  /** Has to be called within 60 seconds of the return: Transbank drops the inscription then. */
  async finishMethod({ methodId, providerInscriptionId: token = '' }, parameters, context) {
    const isOurs = parameters.has('TBK_TOKEN') && agrees(parameters, { TBK_TOKEN: token })
    if (!isOurs || !tokenField.safeParse(token).success) {
      return refuse('content', 'It names another inscription than the one this return is of.')
    }
    if (hasAny(parameters, 'TBK_ORDEN_COMPRA', 'TBK_ID_SESION', 'TBK_ID_SESSION')) {
      return endMethod(token, 'canceled', 'canceled_by_customer', 'TBK_ORDEN_COMPRA')
    }
    const call = ['oneclick', 'PUT', `/inscriptions/${token}`, {}] as const
    const outcome = await callTransbank(context, call, finishAnswer)
    if (outcome.outcome !== 'done') return judgeUnfinished(token, outcome)
    const snapshot = readFinished(outcome.answer, methodId, context.credentials)
    return { outcome: 'done', snapshot: { ...snapshot, providerInscriptionId: token } }
  },

  /** A card that Transbank no longer knows is removed as well. */
  async removeMethod(token, _ref, context) {
    const body = savedCard.safeParse(token).data
    if (!body) return refuse('content', 'This is no card saved with Oneclick.')
    const outcome = await callTransbank(context, ['oneclick', 'DELETE', '/inscriptions', body], anything)
    const isGone = outcome.outcome === 'refused' && outcome.error.code === 'not_found'
    return outcome.outcome === 'done' || isGone ? { outcome: 'done' } : outcome
  },
} satisfies Pick<PaymentProvider<Credentials>, Verbs>

function writeCharge(command: PaymentCommand, account: Credentials) {
  const { paymentId, amount, currency, method, installments } = command
  const refused = refuseFaults(listFaults(command, account))
  if (refused) return refused
  const card = savedCard.safeParse(method.kind === 'saved' ? method.token : undefined).data
  const order = orderOf(paymentId)
  if (!card || order === undefined) return refuse('content', 'This is no card of Oneclick, or no payment.')
  const shop = { commerce_code: account.oneclickChildCommerceCode, buy_order: shopOrderOf(order) }
  const price = toWireNumber(amount, currency, wire)
  return {
    ...card,
    buy_order: order,
    details: [{ amount: price, ...shop, installments_number: installments }],
  }
}

function refOf({ paymentId, amount, currency, capture }: PaymentCommand, createdAt: Date): PaymentRef {
  return { paymentId, flow: 'direct', amount, currency, capture, createdAt, ...noMoney, details: {} }
}

function readFinished(
  answer: z.output<typeof finishAnswer>,
  username: string,
  account: Credentials,
): MethodSnapshot {
  const { response_code: code, tbk_user, card_type, card_number } = answer
  if (!tbk_user || code !== 0) return { status: 'failed', failure: describeDecline(code, account) }
  const brand = card_type?.toLowerCase()
  const summary = { ...describeCard(card_type, card_number), ...(brand && { brand }) }
  return { status: 'active', token: { tbk_user, username }, summary }
}

/** An inscription can't be read: what was not finished in time, or is finished already, is lost. */
function judgeUnfinished(token: string, notDone: NotDone) {
  const { error } = notDone
  const isLost = error.httpStatus === 422 || error.code === 'not_found'
  if (notDone.outcome === 'unknown' || !isLost || error.code === 'locked') return notDone
  return endMethod(token, 'failed', 'timed_out', error.code ?? '422')
}

function endMethod(
  token: string,
  status: 'canceled' | 'failed',
  code: 'canceled_by_customer' | 'timed_out',
  providerCode: string,
) {
  const failure = { code, providerCode, retry: 'same' } as const
  return { outcome: 'done', snapshot: { status, providerInscriptionId: token, failure } } as const
}
