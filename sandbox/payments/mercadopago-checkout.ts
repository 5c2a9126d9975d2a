import { isObject, textOf } from '../http.ts'
import { inputError } from '../providers/simulator.ts'
import type { Mercadopago } from './mercadopago-account.ts'
import { createTestCard } from './mercadopago-cards.ts'
import type { Choice } from './mercadopago-choices.ts'
import { createOrder, followPayment } from './mercadopago-orders.ts'
import { createPayment } from './mercadopago-payment.ts'
import type { Payment } from './mercadopago-payment.ts'
import { readMetadata, readPayer } from './mercadopago-payment-rules.ts'
import { backUrlOf, isOpenPreference } from './mercadopago-preferences.ts'
import type { Preference } from './mercadopago-preferences.ts'
import { cashMethodOf, findMethod, readTime } from './mercadopago-sites.ts'
import type { PaymentMethod } from './mercadopago-sites.ts'
import { playTurn } from './mercadopago-webhooks.ts'
import type { PayResult } from './simulator.ts'

/** What the customer does on the page of a preference. A refused card can be tried again. */
export function payPreference(mercadopago: Mercadopago, preference: Preference, choice: Choice): PayResult {
  if (choice.choice === 'close_tab') return { state: stateOf(mercadopago, preference), next: null }
  const paid = paidWith(preference)
  if (paid && !choice.again) return { state: paid.status, next: goBack(preference, paid) }
  if (!isOpenPreference(preference, mercadopago.world.now())) return { state: 'expired', next: null }
  if (choice.choice === 'abort')
    return { state: stateOf(mercadopago, preference), next: goBack(preference, null) }
  if (choice.choice === 'time_out') {
    preference.closesAt = mercadopago.world.now()
    return { state: 'expired', next: null }
  }
  const payment = pay(mercadopago, preference, choice)
  return { state: payment.status, next: goBack(preference, payment) }
}

export function stateOf(mercadopago: Mercadopago, preference: Preference): string {
  const last = paidWith(preference) ?? preference.order?.payments.at(-1)
  if (last) return last.status
  return isOpenPreference(preference, mercadopago.world.now()) ? 'open' : 'expired'
}

function paidWith({ order }: Preference): Payment | undefined {
  return order?.payments.find(({ isCaptured }) => isCaptured)
}

/** Cash waits, and binary payments never do. */
export function takesCash({ body, account }: Preference): boolean {
  const methods = isObject(body['payment_methods']) ? body['payment_methods'] : {}
  const excluded = [methods['excluded_payment_types'], methods['excluded_payment_methods']].flat()
  const names = new Set(excluded.map((one) => (isObject(one) ? one['id'] : null)))
  const cash = cashMethodOf(account.siteId)
  return body['binary_mode'] !== true && cash.type === 'ticket' && !names.has('ticket') && !names.has(cash.id)
}

const holders: Partial<Record<Choice['choice'], string>> = {
  approve: 'APRO',
  decline: 'OTHE',
  review: 'CONT',
}

function pay(mercadopago: Mercadopago, preference: Preference, choice: Choice): Payment {
  const { account, body, currency } = preference
  const now = mercadopago.world.now()
  if (choice.choice === 'pending' && !takesCash(preference)) throw inputError('choice', 'it takes no cash')
  const method = readMethod(preference, choice)
  const words = choice.choice === 'decline' ? choice.reason : choice.holder
  const holder = words ?? holders[choice.choice] ?? 'APRO'
  const expiration = body['date_of_expiration']
  let payment: Payment | undefined
  playTurn(mercadopago, account, (turn) => {
    const order = (preference.order ??= createOrder(turn, preference))
    payment = createPayment(turn, {
      amount: preference.amount,
      currency,
      method,
      card: method.type.endsWith('_card') ? createTestCard(method, holder, now) : null,
      capture: true,
      isBinary: body['binary_mode'] === true,
      installments: choice.installments,
      payer: { ...readPayer(body['payer']), type: 'registered', email: emailOf(preference) },
      externalReference: preference.externalReference,
      description: preference.items.map(({ title }) => title).join(', '),
      statementDescriptor: textOf(body['statement_descriptor']) || null,
      metadata: readMetadata(body['metadata']),
      notificationUrl: preference.notificationUrl,
      callbackUrl: null,
      secureMode: 'not_supported',
      expiresAt: typeof expiration === 'string' ? readTime(expiration, now) : null,
      applicationFee: Number(body['marketplace_fee'] ?? 0),
      operationType: 'regular_payment',
      orderId: order.id,
      preapprovalId: null,
      onChange: (later, changed) => followPayment(later, order, changed),
    })
  })
  return payment!
}

function readMethod({ account }: Preference, { choice, method: id }: Choice): PaymentMethod {
  if (choice === 'pending') return cashMethodOf(account.siteId)
  const method = findMethod(account.siteId, id)
  if (!method || ['ticket', 'bank_transfer'].includes(method.type))
    throw inputError('method', 'must be a card or account_money')
  return method
}

function emailOf({ body }: Preference): string {
  return readPayer(body['payer']).email ?? 'comprador@testuser.com'
}

const ends: Partial<Record<Payment['status'], 'success' | 'pending'>> = {
  approved: 'success',
  pending: 'pending',
  in_process: 'pending',
}

/** Back to the shop with what MercadoPago tells of the payment: unsigned, and `null` where there is none. */
function goBack(preference: Preference, payment: Payment | null): PayResult['next'] {
  const url = backUrlOf(preference, payment ? (ends[payment.status] ?? 'failure') : 'failure')
  if (url === null) return null
  const [id, status] = [String(payment?.id ?? null), payment?.status ?? 'null']
  const fields = {
    collection_id: id,
    collection_status: status,
    payment_id: id,
    status,
    external_reference: preference.externalReference ?? 'null',
    payment_type: payment?.method.type ?? 'null',
    merchant_order_id: String(preference.order?.id ?? null),
    preference_id: preference.id,
    site_id: preference.account.siteId,
    processing_mode: 'aggregator',
    merchant_account_id: 'null',
  }
  return { method: 'GET', url, fields }
}
