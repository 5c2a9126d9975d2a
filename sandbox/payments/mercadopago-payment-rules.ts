import { isObject, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { emailOf } from './mercadopago-account.ts'
import { findToken, useToken } from './mercadopago-cards.ts'
import type { FoundToken } from './mercadopago-cards.ts'
import type { Payer, PaymentDraft } from './mercadopago-payment.ts'
import { isReply, refuseCause } from './mercadopago-replies.ts'
import { findMethod, readAmount, readTime, sites } from './mercadopago-sites.ts'
import type { PaymentMethod } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

const parameters = new Set(
  `additional_info application_fee binary_mode brand_id callback_url campaign_id capture coupon_amount coupon_code
  counter_currency date_of_expiration description differential_pricing_id external_reference forward_data
  installments issuer_id merchant_account_id merchant_services metadata net_amount notification_url order payer
  payment_method payment_method_id payment_method_option_id point_of_interaction processing_mode sponsor_id
  statement_descriptor taxes three_d_secure_mode token transaction_amount transaction_details`.split(/\s+/),
)

/** The payment that a body asks for, or MercadoPago's refusal. Uses the card token up. */
export function readPaymentDraft(turn: Turn, given: Body): PaymentDraft | Reply {
  const { mercadopago, account } = turn
  const body = withoutNulls(given)
  const { currency } = sites[account.siteId]
  const amount = readAmount(body['transaction_amount'], currency)
  const refused =
    refuseNames(body) ?? refuseAmount(amount) ?? refuseTexts(body) ?? refusePayer(turn, body['payer'])
  if (refused) return refused
  const token = body['token'] === undefined ? null : findCard(turn, body)
  if (isReply(token)) return token
  const method = token ? token.card.method : findOffline(turn, body)
  if (isReply(method)) return method
  const other = refuseForMethod(body, method)
  if (other) return other
  if (token) useToken(token)
  const expiration = body['date_of_expiration']
  return {
    amount: Number(amount),
    currency,
    method,
    card: token?.card ?? null,
    capture: body['capture'] !== false,
    isBinary: body['binary_mode'] === true,
    installments: Number(body['installments'] ?? 1),
    payer: readPayer(body['payer']),
    externalReference: textOf(body['external_reference']) || null,
    description: textOf(body['description']) || null,
    statementDescriptor: textOf(body['statement_descriptor']) || null,
    metadata: readMetadata(body['metadata']),
    notificationUrl: textOf(body['notification_url']) || null,
    callbackUrl: textOf(body['callback_url']) || null,
    secureMode: readSecureMode(body['three_d_secure_mode']),
    expiresAt: typeof expiration === 'string' ? readTime(expiration, mercadopago.world.now()) : null,
    applicationFee: Number(body['application_fee'] ?? 0),
    operationType: 'regular_payment',
    orderId: null,
    preapprovalId: null,
    onChange: null,
  }
}

/** MercadoPago takes null for absent. */
function withoutNulls(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
}

function refuseNames(body: Body): Reply | null {
  const unknown = Object.keys(body).filter((name) => !parameters.has(name))
  if (unknown.length === 0) return null
  return refuseCause(8, `The name of the following parameters is wrong : [${unknown.join(', ')}]`)
}

function refuseAmount(amount: number | string): Reply | null {
  return typeof amount === 'string' ? refuseCause(2072, `Invalid transaction_amount: ${amount}`) : null
}

function refuseTexts(body: Body): Reply | null {
  for (const name of ['notification_url', 'callback_url']) {
    if (body[name] !== undefined && !isWebAddress(body[name]))
      return refuseCause(4020, `${name} attribute must be url valid`)
  }
  if (textOf(body['external_reference']).length > 256)
    return refuseCause(4001, 'external_reference must have at most 256 characters')
  const expiration = body['date_of_expiration']
  if (expiration !== undefined && readTime(textOf(expiration), new Date(0)) === null)
    return refuseCause(4001, 'date_of_expiration attribute is invalid')
  return null
}

export function isWebAddress(value: unknown): boolean {
  return typeof value === 'string' && /^https?:\/\//.test(value) && URL.canParse(value)
}

function refusePayer({ mercadopago, account }: Turn, payer: unknown): Reply | null {
  if (!isObject(payer)) return refuseCause(4002, "payer can't be null")
  const [email, id] = [textOf(payer['email']), textOf(payer['id'])]
  if (payer['type'] === 'customer' && id !== '')
    return mercadopago.customers.get(id)?.account === account ? null : refuseCause(2002, 'Customer not found')
  if (!/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email)) return refuseCause(4050, 'payer.email must be a valid email')
  if (email === emailOf(account)) return refuseCause(2060, "The customer can't be equal to the collector.")
  const isLive = account.token.startsWith('APP_USR-') && !account.isTestUser
  if (isLive && email.endsWith('@testuser.com')) return refuseCause(2034, 'Invalid users involved')
  const document = payer['identification']
  if (document !== undefined && !(isObject(document) && textOf(document['number']) !== ''))
    return refuseCause(2067, 'Invalid user identification number')
  return null
}

function findCard(turn: Turn, body: Body): FoundToken | Reply {
  const brand = textOf(body['payment_method_id']) || undefined
  const found = findToken(turn, textOf(body['token']), brand)
  if (found === 'invalid') return refuseCause(3003, 'Invalid card_token_id')
  if (found === 'unknown') return refuseCause(2006, 'Card Token not found')
  if (found === 'used') return refuseCause(2062, 'Invalid card token')
  const payer = isObject(body['payer']) ? body['payer'] : {}
  const { customerId } = found.card
  if (customerId !== null && textOf(payer['id']) !== customerId)
    return refuseCause(2002, 'Customer not found')
  return brand !== undefined && brand !== found.card.method.id
    ? refuseCause(3028, 'Invalid payment_method_id')
    : found
}

function findOffline({ account }: Turn, body: Body): PaymentMethod | Reply {
  const id = textOf(body['payment_method_id'])
  if (id === '') return refuseCause(2131, 'Cannot infer Payment Method')
  const method = findMethod(account.siteId, id)
  if (!method) return refuseCause(3028, 'Invalid payment_method_id')
  return method.type.endsWith('_card') ? refuseCause(3003, 'Invalid card_token_id') : method
}

function refuseForMethod(body: Body, method: PaymentMethod): Reply | null {
  const installments = Number(body['installments'] ?? 1)
  if (!Number.isInteger(installments) || installments < 1 || installments > 48)
    return refuseCause(4004, 'Invalid installments')
  if (body['capture'] === false && method.type !== 'credit_card')
    return refuseCause(2077, 'Deferred capture is not supported for this payment method')
  return null
}

export function readPayer(payer: unknown): Payer {
  const given = isObject(payer) ? payer : {}
  const document = isObject(given['identification']) ? given['identification'] : {}
  return {
    type: given['type'] === 'customer' ? 'customer' : 'guest',
    id: textOf(given['id']) || null,
    email: textOf(given['email']) || null,
    identification: {
      type: textOf(document['type']) || null,
      number: textOf(document['number']) || null,
    },
  }
}

/** MercadoPago writes every key in snake case, whatever it was given. */
export function readMetadata(metadata: unknown): Body {
  if (!isObject(metadata)) return {}
  const names = Object.entries(metadata).map(([name, value]) => [toSnakeCase(name), value])
  return Object.fromEntries(names)
}

function toSnakeCase(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()
}

function readSecureMode(mode: unknown): PaymentDraft['secureMode'] {
  return mode === 'optional' || mode === 'mandatory' ? mode : 'not_supported'
}
