import { z } from 'zod'
import { equalText, optionalText, readJson } from '#connections'
import type { NotDone, Outcome } from '#connections'
import type { MethodCommand, MethodRef, MethodSnapshot, MethodSummary } from './provider.ts'
import type { PaymentCommand, PaymentRef, PaymentSnapshot } from './provider.ts'
import { callTransbank, listFaults, missingOneclick, refuse, writeWireAmount } from './transbank-account.ts'
import type { Context } from './transbank-account.ts'
import { describeDecline, figure, orderOf, readLast4, shopOrderOf } from './transbank-mapping.ts'
import { transactionAnswer } from './transbank-mapping.ts'
import { judgeTransaction, tokenField } from './transbank-sale.ts'

/** What a saved card is at Transbank: neither half charges without the other and the commerce's key. */
const savedCard = z.object({ tbk_user: z.string().min(1).max(40), username: z.string().min(1).max(40) })

const startAnswer = z.looseObject({ token: tokenField, url_webpay: z.url({ protocol: /^https?$/ }) })
const finishAnswer = z
  .looseObject({
    response_code: figure,
    tbk_user: optionalText,
    card_type: optionalText,
    card_number: optionalText,
  })
  .refine((answer) => answer.response_code !== 0 || Boolean(answer.tbk_user))

/** Charges a saved card. The order is the payment's own, so that an unanswered charge can be found again. */
export async function createPayment(
  command: PaymentCommand,
  context: Context,
): Promise<Outcome<{ snapshot: PaymentSnapshot }>> {
  const request = writeCharge(command, context)
  if ('outcome' in request) return request
  const outcome = await callTransbank(context, {
    product: 'oneclick',
    method: 'POST',
    path: '/transactions',
    body: request,
    hidden: [request.tbk_user],
    read: readJson(transactionAnswer),
  })
  if (outcome.outcome !== 'done') return outcome
  return judgeTransaction(outcome.answer, refOf(command, context), context)
}

function writeCharge(command: PaymentCommand, { credentials: account }: Context) {
  const { paymentId, method, installments } = command
  const [fault] = listFaults(command, account)
  if (fault) return refuse('content', `${fault.field}: ${fault.message}`)
  const card = savedCard.safeParse(method.kind === 'saved' ? method.token : undefined).data
  const order = orderOf(paymentId)
  const amount = writeWireAmount(command.amount, command.currency)
  if (!card || order === undefined) return refuse('content', 'This is no card of Oneclick, or no payment.')
  if (typeof amount === 'object') return amount
  const shop = { commerce_code: account.oneclickChildCommerceCode, buy_order: shopOrderOf(order) }
  const { username, tbk_user } = card
  const details = [{ amount, ...shop, installments_number: installments }]
  return { username, tbk_user, buy_order: order, details }
}

function refOf(command: PaymentCommand, { now }: Context): PaymentRef {
  const { paymentId, amount, currency, capture } = command
  const nothing = { captured: 0, refunded: 0, details: {} }
  return { paymentId, flow: 'direct', amount, currency, capture, createdAt: now(), ...nothing }
}

/** The customer enters the card on Transbank's page: one card per username, so each method has its own. */
export async function saveMethod(
  command: MethodCommand,
  context: Context,
): Promise<Outcome<{ snapshot: MethodSnapshot }>> {
  const { methodId, customer, returnUrl } = command
  if (context.credentials.oneclickCommerceCode === undefined) return refuse('config', missingOneclick)
  if (!/^[\w-]{1,40}$/.test(methodId)) return refuse('content', `${methodId} can't be a user of Oneclick.`)
  const email = customer.email ?? ''
  if (email === '' || email.length > 100) {
    return refuse('content', 'Oneclick needs the e-mail address of the customer, of at most 100 characters.')
  }
  const outcome = await callTransbank(context, {
    product: 'oneclick',
    method: 'POST',
    path: '/inscriptions',
    body: { username: methodId, email, response_url: returnUrl },
    read: readJson(startAnswer),
  })
  if (outcome.outcome !== 'done') return outcome
  const { token, url_webpay: url } = outcome.answer
  const action = { kind: 'redirect', method: 'POST', url, fields: { TBK_TOKEN: token } } as const
  return { outcome: 'done', snapshot: { status: 'pending', providerInscriptionId: token, action } }
}

/** Has to be called within 60 seconds of the return: Transbank drops the inscription then. */
export async function finishMethod(
  ref: MethodRef,
  parameters: URLSearchParams,
  context: Context,
): Promise<Outcome<{ snapshot: MethodSnapshot }>> {
  const token = ref.providerInscriptionId ?? ''
  const given = parameters.getAll('TBK_TOKEN')
  const isOurs = given.length > 0 && given.every((text) => equalText(text.toLowerCase(), token.toLowerCase()))
  if (!isOurs || !tokenField.safeParse(token).success) {
    return refuse('content', 'It names another inscription than the one this return is of.')
  }
  if (['TBK_ORDEN_COMPRA', 'TBK_ID_SESION', 'TBK_ID_SESSION'].some((name) => parameters.has(name))) {
    return endMethod(token, 'canceled', 'canceled_by_customer', 'TBK_ORDEN_COMPRA')
  }
  const outcome = await callTransbank(context, {
    product: 'oneclick',
    method: 'PUT',
    path: `/inscriptions/${token}`,
    body: {},
    read: readJson(finishAnswer),
  })
  if (outcome.outcome !== 'done') return judgeUnfinished(token, outcome)
  const { response_code: responseCode, tbk_user, card_type, card_number } = outcome.answer
  if (!tbk_user || responseCode !== 0) {
    const failure = describeDecline(responseCode, context.credentials)
    return { outcome: 'done', snapshot: { status: 'failed', providerInscriptionId: token, failure } }
  }
  const saved = { tbk_user, username: ref.methodId }
  const summary = readSummary(card_type, card_number)
  return {
    outcome: 'done',
    snapshot: { status: 'active', providerInscriptionId: token, token: saved, summary },
  }
}

/** An inscription can't be read: what was not finished in time, or is finished already, is lost. */
function judgeUnfinished(token: string, notDone: NotDone): Outcome<{ snapshot: MethodSnapshot }> {
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
): Outcome<{ snapshot: MethodSnapshot }> {
  const failure = { code, providerCode, retry: 'same' } as const
  return { outcome: 'done', snapshot: { status, providerInscriptionId: token, failure } }
}

function readSummary(
  cardType: string | null | undefined,
  cardNumber: string | null | undefined,
): MethodSummary {
  const brand = cardType?.toLowerCase()
  const last4 = readLast4(cardNumber)
  const type = /redcompra|debit/.test(brand ?? '') ? 'debit' : /prepa/.test(brand ?? '') ? 'prepaid' : 'card'
  return { type, ...(brand && { brand }), ...(last4 && { last4 }) }
}

/** A card that Transbank no longer knows is removed as well. */
export async function removeMethod(
  token: Readonly<Record<string, string>>,
  _ref: MethodRef,
  context: Context,
): Promise<Outcome<object>> {
  const card = savedCard.safeParse(token).data
  if (!card) return refuse('content', 'This is no card saved with Oneclick.')
  const { tbk_user, username } = card
  const outcome = await callTransbank(context, {
    product: 'oneclick',
    method: 'DELETE',
    path: '/inscriptions',
    body: { tbk_user, username },
    hidden: [tbk_user],
    read: () => true,
  })
  const isGone = outcome.outcome === 'refused' && outcome.error.code === 'not_found'
  return outcome.outcome === 'done' || isGone ? { outcome: 'done' } : outcome
}
