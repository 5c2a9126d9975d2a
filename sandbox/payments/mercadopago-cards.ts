import { randomBytes } from 'node:crypto'
import { isObject, replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import type { Mercadopago, MercadopagoAccount } from './mercadopago-account.ts'
import { isReply, refuse, refuseCause } from './mercadopago-replies.ts'
import { findMethod, writeTime } from './mercadopago-sites.ts'
import type { PaymentMethod } from './mercadopago-sites.ts'
import { approved, findVerdict, readWords } from './mercadopago-verdicts.ts'
import type { Verdict } from './mercadopago-verdicts.ts'
import type { Turn } from './mercadopago-webhooks.ts'

export type Card = {
  /** Once it is a customer's. */
  id: string | null
  customerId: string | null
  method: PaymentMethod
  firstSix: string
  lastFour: string
  month: number
  year: number
  holder: string
  document: { type: string | null; number: string | null }
  /** One word per charge; the last stays. */
  words: string[]
  uses: number
  createdAt: Date
}

export type CardToken = {
  id: string
  account: MercadopagoAccount
  card: Card
  hasSecurityCode: boolean
  createdAt: Date
  isUsed: boolean
}

/** Real test cards that ask for 3-D Secure when the payment does. */
const challengeNumbers = ['5483928164574623', '5361956806117557']
const debitNumbers: Record<string, string> = {
  '4002768694395619': 'debvisa',
  '5287338310253304': 'debmaster',
}
const KEPT_TOKENS = 100_000

/** What the next charge of this card gets. */
export function chargeCard(card: Card): Verdict {
  const word = card.words[Math.min(card.uses, card.words.length - 1)] ?? 'APRO'
  card.uses += 1
  return findVerdict(word) ?? approved
}

/** From now on its charges get these words. */
export function changeCardWords(card: Card, holder: string): void {
  card.words = readWords(holder)
  card.uses = 0
}

/** A card that nobody entered: of a ready-made token or of a page. */
export function createTestCard(method: PaymentMethod, holder: string, at: Date): Card {
  const numbers: Record<string, [string, string]> = {
    master: ['541675', '2580'],
    amex: ['375778', '1804'],
    debvisa: ['400276', '5619'],
    debmaster: ['528733', '3304'],
  }
  const [firstSix, lastFour] = numbers[method.id] ?? ['416881', '7115']
  return createCard({ method, firstSix, lastFour, month: 11, year: 2030, holder, at })
}

type CardFacts = Pick<Card, 'method' | 'firstSix' | 'lastFour' | 'month' | 'year' | 'holder'> & { at: Date }

function createCard({ at, ...facts }: CardFacts): Card {
  return {
    ...facts,
    id: null,
    customerId: null,
    document: { type: null, number: null },
    words: readWords(facts.holder),
    uses: 0,
    createdAt: at,
  }
}

export type FoundToken = { card: Card; hasSecurityCode: boolean; token: CardToken | null }

/**
 * The card behind a token of this account, or why there is none. `tok_apro`, `tok_fund`, `tok_apro_fund` and
 * `tok_<status_detail>` need no call before and may be used again; they take the brand they are told.
 */
export function findToken(
  { mercadopago, account }: Turn,
  id: string,
  brand?: string,
): FoundToken | 'invalid' | 'unknown' | 'used' {
  const ready = readReadyToken(id)
  if (ready) {
    const named = brand === undefined ? undefined : findMethod(account.siteId, brand)
    const method = named?.type.endsWith('_card') ? named : findMethod(account.siteId, 'visa')!
    return {
      card: createTestCard(method, ready, mercadopago.world.now()),
      hasSecurityCode: true,
      token: null,
    }
  }
  if (!/^[0-9a-f]{32}$/.test(id)) return 'invalid'
  const token = mercadopago.cardTokens.get(id)
  if (!token || token.account !== account) return 'unknown'
  if (token.isUsed) return 'used'
  return { card: token.card, hasSecurityCode: token.hasSecurityCode, token }
}

export function useToken({ token }: FoundToken): void {
  if (token) token.isUsed = true
}

function readReadyToken(id: string): string | null {
  const [, rest] = /^tok_([a-z0-9_]+)$/.exec(id) ?? []
  if (rest === undefined) return null
  if (findVerdict(rest)) return rest
  const parts = rest.split('_')
  return parts.every((part) => findVerdict(part)) ? parts.join(' ').toUpperCase() : null
}

/** POST /v1/card_tokens: a card's data, or a saved card. */
export function createCardToken(turn: Turn, body: Record<string, unknown>): Reply {
  const { mercadopago, account } = turn
  const code = textOf(body['security_code'])
  if (code !== '' && !/^\d{3,4}$/.test(code)) return refuseCause('E302', 'invalid parameter security_code')
  const cardId = textOf(body['card_id'])
  const card = cardId === '' ? readCard(turn, body) : findSavedCard(turn, cardId)
  if (!card) return refuseCause(2010, 'Card not found', 404)
  if (isReply(card)) return card
  const token = {
    id: randomBytes(16).toString('hex'),
    account,
    card,
    hasSecurityCode: code !== '',
    createdAt: mercadopago.world.now(),
    isUsed: false,
  }
  mercadopago.cardTokens.set(token.id, token)
  if (mercadopago.cardTokens.size > KEPT_TOKENS)
    mercadopago.cardTokens.delete(mercadopago.cardTokens.keys().next().value!)
  return replyJson(201, viewToken(token))
}

function findSavedCard({ mercadopago, account }: Turn, id: string): Card | undefined {
  const saved = mercadopago.cards.get(id)
  return saved?.customer.account === account ? saved.card : undefined
}

export function readCardToken(mercadopago: Mercadopago, account: MercadopagoAccount, id: string): Reply {
  const token = mercadopago.cardTokens.get(id)
  return token?.account === account
    ? replyJson(200, viewToken(token))
    : refuse(404, 'card_token not found', 'not_found')
}

function readCard({ mercadopago, account }: Turn, body: Record<string, unknown>): Card | Reply {
  const number = textOf(body['card_number']).replaceAll(/[ -]/g, '')
  const [month, year] = [Number(body['expiration_month']), readYear(body['expiration_year'])]
  const holder = isObject(body['cardholder']) ? body['cardholder'] : {}
  const now = mercadopago.world.now()
  if (number === '') return refuseCause(205, 'parameter cardNumber can not be null/empty')
  if (!/^\d{13,19}$/.test(number)) return refuseCause('E301', 'invalid parameter card_number')
  if (!(month >= 1 && month <= 12)) return refuseCause(325, 'invalid parameter cardExpirationMonth')
  if (!(new Date(Date.UTC(year, month)) > now))
    return refuseCause(326, 'invalid parameter cardExpirationYear')
  const name = textOf(holder['name'])
  if (name === '') return refuseCause(221, 'parameter cardholderName can not be null/empty')
  const document = isObject(holder['identification']) ? holder['identification'] : {}
  const card = createCard({
    method: findMethod(account.siteId, brandOf(number))!,
    firstSix: number.slice(0, 6),
    lastFour: number.slice(-4),
    month,
    year,
    holder: name,
    at: now,
  })
  card.document = { type: textOf(document['type']) || null, number: textOf(document['number']) || null }
  if (challengeNumbers.includes(number)) card.words = ['CHAL']
  return card
}

function readYear(value: unknown): number {
  const year = Number(value)
  return year < 100 ? 2000 + year : year
}

function brandOf(number: string): string {
  const debit = debitNumbers[number]
  if (debit) return debit
  if (/^3[47]/.test(number)) return 'amex'
  return number.startsWith('4') ? 'visa' : 'master'
}

const TOKEN_LIVES_MS = 7 * 24 * 60 * 60 * 1_000

function viewToken(token: CardToken): Record<string, unknown> {
  const { card, createdAt } = token
  return {
    id: token.id,
    card_id: card.id,
    status: token.isUsed ? 'used' : 'active',
    first_six_digits: card.firstSix,
    last_four_digits: card.lastFour,
    expiration_month: card.month,
    expiration_year: card.year,
    cardholder: viewHolder(card),
    date_created: writeTime(createdAt),
    date_last_updated: writeTime(createdAt),
    date_due: writeTime(new Date(createdAt.getTime() + TOKEN_LIVES_MS)),
    luhn_validation: true,
    live_mode: isLive(token.account),
    require_esc: false,
    card_number_length: 16,
    security_code_length: token.hasSecurityCode ? 3 : 0,
  }
}

export function viewHolder(card: Card): Record<string, unknown> {
  return { name: card.holder, identification: card.document }
}

/** Test users have live tokens as well. */
export function isLive(account: MercadopagoAccount): boolean {
  return account.token.startsWith('APP_USR-')
}
