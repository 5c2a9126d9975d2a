import { isObject, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { chargeCard, findToken, useToken } from './mercadopago-cards.ts'
import type { Card } from './mercadopago-cards.ts'
import { isWebAddress } from './mercadopago-payment-rules.ts'
import type { Frequency, Terms } from './mercadopago-preapproval.ts'
import { refuseSubscription } from './mercadopago-replies.ts'
import { readAmount, readTime, sites } from './mercadopago-sites.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

/** `auto_recurring` of a plan or of a subscription; only plans have repetitions and a billing day. */
export function readTerms(turn: Turn, given: unknown, owner: 'plan' | 'preapproval'): Terms | Reply {
  const { mercadopago, account } = turn
  const { currency } = sites[account.siteId]
  if (!isObject(given)) return refuseSubscription('auto_recurring is required')
  const every = readFrequency(given)
  if (!every) return refuseField('frequency')
  const amount = readAmount(given['transaction_amount'], currency)
  if (typeof amount === 'string') return refuseSubscription(`auto_recurring.transaction_amount ${amount}`)
  if (given['currency_id'] !== currency) return refuseField('currency_id')
  const [startAt, endAt] = [given['start_date'], given['end_date']].map((value) =>
    value === undefined || value === null ? undefined : readTime(textOf(value), mercadopago.world.now()),
  )
  if (startAt === null) return refuseField('start_date')
  if (endAt === null) return refuseField('end_date')
  const freeTrial = isObject(given['free_trial']) ? readFrequency(given['free_trial']) : undefined
  if (freeTrial === null) return refuseField('free_trial')
  const isPlan = owner === 'plan'
  return {
    amount,
    currency,
    every,
    freeTrial: freeTrial ?? null,
    startAt: startAt ?? null,
    endAt: endAt ?? null,
    repetitions: isPlan ? readCount(given['repetitions'], 1_000) : null,
    billingDay: isPlan ? readCount(given['billing_day'], 28) : null,
  }
}

function readFrequency(given: Body): Frequency | null {
  const [count, type] = [given['frequency'], given['frequency_type']]
  const isCount = typeof count === 'number' && Number.isInteger(count) && count > 0
  return isCount && (type === 'days' || type === 'months') ? { count, type } : null
}

function readCount(value: unknown, most: number): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, most) : null
}

function refuseField(name: string): Reply {
  return refuseSubscription(`Invalid field -> auto_recurring.${name}`)
}

/** What is wrong with who pays and where they come back to. */
export function refusePayerOf({ account }: Turn, body: Body): Reply | null {
  const email = textOf(body['payer_email'])
  if (!email.includes('@')) return refuseSubscription('payer_email is required')
  const isLive = account.token.startsWith('APP_USR-')
  if (isLive && email.endsWith('@testuser.com') !== account.isTestUser)
    return refuseSubscription('Both payer and collector must be real or test users')
  const url = body['back_url'] ?? null
  return url === null || isWebAddress(url)
    ? null
    : refuseSubscription('Invalid value for back_url, must be a valid URL')
}

/** The card behind a token, once it passed the small check charge. Uses the token up. */
export function readCardOf(turn: Turn, tokenId: unknown): Card | Reply {
  const found = findToken(turn, textOf(tokenId))
  if (found === 'used') return refuseSubscription('Card token was used, please generate new')
  if (typeof found === 'string') return refuseSubscription('Card token service not found', 404)
  useToken(found)
  if (!found.hasSecurityCode) return refuseSubscription('Card token was generated without cvv validation')
  return chargeCard(found.card).status === 'approved'
    ? found.card
    : refuseSubscription('CC_VAL_433 Credit card validation has failed')
}
