import { randomBytes } from 'node:crypto'
import { isObject, replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { nextId } from './mercadopago-account.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import { findToken, isLive, useToken, viewHolder } from './mercadopago-cards.ts'
import type { Card } from './mercadopago-cards.ts'
import { refuseCause } from './mercadopago-replies.ts'
import { indexed, replyFound } from './mercadopago-search.ts'
import { writeTime } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

export type SavedCard = { customer: Customer; card: Card }

export type Customer = {
  id: string
  account: MercadopagoAccount
  email: string
  /** Names, phone, document … as given. */
  body: Body
  cards: Card[]
  createdAt: Date
  updatedAt: Date
}

const settable = [
  'first_name',
  'last_name',
  'phone',
  'identification',
  'address',
  'default_address',
  'description',
  'metadata',
  'default_card',
]

/** POST /v1/customers: one per e-mail. */
export function answerCreateCustomer(turn: Turn, body: Body): Reply {
  const { mercadopago, account } = turn
  const email = textOf(body['email']).toLowerCase()
  if (!/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email)) return refuseCause('100', 'invalid email')
  if (account.customersByEmail.has(email)) return refuseCause('101', 'the customer already exist')
  const now = mercadopago.world.now()
  const customer: Customer = {
    id: `${account.userId}-${randomBytes(10).toString('base64url').replaceAll(/[-_]/g, 'x')}`,
    account,
    email,
    body: pickSettable(body),
    cards: [],
    createdAt: now,
    updatedAt: now,
  }
  mercadopago.customers.set(customer.id, customer)
  account.customersByEmail.set(email, customer)
  return replyJson(201, viewCustomer(customer))
}

export function answerReadCustomer(customer: Customer): Reply {
  return replyJson(200, viewCustomer(customer))
}

/** PUT /v1/customers/{id} */
export function answerUpdateCustomer({ mercadopago }: Turn, customer: Customer, body: Body): Reply {
  Object.assign(customer.body, pickSettable(body))
  customer.updatedAt = mercadopago.world.now()
  return replyJson(200, viewCustomer(customer))
}

/** DELETE /v1/customers/{id} */
export function answerRemoveCustomer({ mercadopago, account }: Turn, customer: Customer): Reply {
  mercadopago.customers.delete(customer.id)
  account.customersByEmail.delete(customer.email)
  for (const card of customer.cards) mercadopago.cards.delete(card.id!)
  return replyJson(200, viewCustomer(customer))
}

/** GET /v1/customers/search */
export function searchCustomers(turn: Turn, query: URLSearchParams): Reply {
  const email = query.get('email')?.toLowerCase()
  const { customersByEmail } = turn.account
  const named = email === undefined ? undefined : customersByEmail.get(email)
  const all = email === undefined ? [...customersByEmail.values()] : named ? [named] : []
  return replyFound(query, indexed(turn, all), viewCustomer)
}

/** POST /v1/customers/{id}/cards: a token becomes a saved card. */
export function answerSaveCard(turn: Turn, customer: Customer, body: Body): Reply {
  const { mercadopago } = turn
  const found = findToken(turn, textOf(body['token']), textOf(body['payment_method_id']) || undefined)
  if (found === 'invalid') return refuseCause(3003, 'Invalid card_token_id')
  if (found === 'unknown') return refuseCause(2006, 'Card Token not found', 404)
  if (found === 'used') return refuseCause(2062, 'Invalid card token')
  useToken(found)
  const card = { ...found.card, id: String(nextId(mercadopago)), customerId: customer.id }
  customer.cards.push(card)
  customer.updatedAt = mercadopago.world.now()
  mercadopago.cards.set(card.id, { customer, card })
  return replyJson(201, viewSavedCard(customer, card))
}

export function listCards(customer: Customer): Reply {
  return replyJson(
    200,
    customer.cards.map((card) => viewSavedCard(customer, card)),
  )
}

/** GET, PUT and DELETE /v1/customers/{id}/cards/{card} */
export function answerCard(
  { mercadopago }: Turn,
  customer: Customer,
  id: string,
  method: string,
  body: Body,
): Reply {
  const card = customer.cards.find((one) => one.id === id)
  if (!card) return refuseCause('200', 'card not found', 404)
  if (method === 'DELETE') {
    customer.cards = customer.cards.filter((one) => one !== card)
    mercadopago.cards.delete(id)
  }
  if (method === 'PUT') changeCard(card, body)
  return replyJson(200, viewSavedCard(customer, card))
}

function changeCard(card: Card, body: Body): void {
  card.month = Number(body['expiration_month'] ?? card.month)
  card.year = Number(body['expiration_year'] ?? card.year)
  const holder = isObject(body['cardholder']) ? body['cardholder'] : {}
  card.holder = textOf(holder['name'], card.holder)
}

function pickSettable(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([name]) => settable.includes(name)))
}

function viewCustomer(customer: Customer): Body {
  return {
    first_name: null,
    last_name: null,
    phone: { area_code: null, number: null },
    identification: { type: null, number: null },
    description: null,
    default_card: customer.cards[0]?.id ?? null,
    metadata: {},
    ...customer.body,
    id: customer.id,
    email: customer.email,
    addresses: [],
    cards: customer.cards.map((card) => viewSavedCard(customer, card)),
    live_mode: isLive(customer.account),
    date_registered: writeTime(customer.createdAt),
    date_created: writeTime(customer.createdAt),
    date_last_updated: writeTime(customer.updatedAt),
  }
}

function viewSavedCard(customer: Customer, card: Card): Body {
  const { method } = card
  return {
    id: card.id,
    customer_id: customer.id,
    first_six_digits: card.firstSix,
    last_four_digits: card.lastFour,
    expiration_month: card.month,
    expiration_year: card.year,
    payment_method: { id: method.id, name: method.name, payment_type_id: method.type },
    security_code: { length: method.id === 'amex' ? 4 : 3, card_location: 'back' },
    issuer: { id: 166, name: method.name },
    cardholder: viewHolder(card),
    user_id: String(customer.account.userId),
    live_mode: isLive(customer.account),
    date_created: writeTime(card.createdAt),
    date_last_updated: writeTime(card.createdAt),
  }
}
