import { z } from 'zod'
import { anything, idText, lookAgain, mapDone, type Outcome, refuse, refuseUnlessDone } from '#connections'
import { mapped, thenDone } from '#connections'
import { toWireNumber } from '../money.ts'
import { allowMissing, callMercadopago, type Context, type Credentials } from './mercadopago-call.ts'
import { changeAnswer, findMercadopago, refuseMoney, searchMercadopago } from './mercadopago-call.ts'
import { wholeResults } from './mercadopago-call.ts'
import { cardAnswer, type Period, periodAnswer, type Preapproval } from './mercadopago-mapping.ts'
import { preapprovalAnswer, readCard, readSubscription, wire, writePerson } from './mercadopago-mapping.ts'
import { writeTime } from './mercadopago-mapping.ts'
import { findAmongNewest } from './newest-search.ts'
import type { Customer, MethodChoice, NativeSubscriptions, PaymentProvider } from './provider.ts'
import type { SubscriptionRef, SubscriptionSnapshot } from './provider.ts'
import { filled } from './snapshot.ts'

type Methods = Required<Pick<PaymentProvider<Credentials>, 'saveMethod' | 'removeMethod'>>

export const methods: Methods = {
  async saveMethod({ token, customer: person, key }, context) {
    if (!token) return refuse('content', 'MercadoPago saves a card by a token of its browser library only.')
    if (!person.email) return refuse('content', 'MercadoPago wants the customer’s e-mail address.')
    return thenDone(ensureCustomer(person, key, context), ({ id: customer }) => {
      const path = ['v1', 'customers', customer, 'cards']
      const answer = mapped(cardAnswer, (card) => ({ snapshot: readCard(card, customer) }))
      return callMercadopago(context, { path, key: `${key}-card`, body: { token }, answer })
    })
  },

  async removeMethod({ customer = '', card = '' }, { methodId }, context) {
    const path = ['v1', 'customers', customer, 'cards', card]
    const call = { method: 'DELETE', path, key: `${methodId}-remove`, answer: anything } as const
    return allowMissing(await callMercadopago(context, call))
  },
}

const customerAnswer = z.looseObject({ id: idText }).transform(({ id }) => ({ id }))

/** An e-mail address is one customer's at MercadoPago: making a second is refused. */
async function ensureCustomer(
  person: Customer,
  key: string,
  context: Context,
): Promise<Outcome<{ id: string }>> {
  const path = ['v1', 'customers']
  const query = { email: person.email ?? '' }
  const search = { path: [...path, 'search'], query, answer: wholeResults(customerAnswer) }
  const found = await callMercadopago(context, search)
  return thenDone(refuseUnlessDone(found), ({ items: [known] }) => {
    if (known) return { outcome: 'done', ...known }
    const body = writePerson(person, 'first_name', 'last_name')
    return callMercadopago(context, { path, key: `${key}-customer`, body, answer: customerAnswer })
  })
}

const cardTokenAnswer = z.looseObject({ id: z.string().min(1) }).transform(({ id }) => ({ cardToken: id }))

/** What a charge is made with: a saved card gives a token for each charge. */
export async function makeCardToken(
  choice: MethodChoice,
  key: string,
  context: Context,
): Promise<Outcome<{ cardToken: string }>> {
  if (choice.kind === 'token') return { outcome: 'done', cardToken: choice.token }
  const { customer, card } = choice.token
  if (!customer || !card) return refuse('content', 'That is no card saved at MercadoPago.')
  const outcome = await callMercadopago(context, {
    path: ['v1', 'card_tokens'],
    key: `${key}-token`,
    body: { card_id: card, customer_id: customer },
    answer: cardTokenAnswer,
  })
  return refuseUnlessDone(explainSavedCard(outcome, choice))
}

/** Some accounts may charge a saved card only with its security code, which the customer alone can enter. */
export function explainSavedCard<Done>(outcome: Outcome<Done>, choice?: MethodChoice): Outcome<Done> {
  if (choice?.kind !== 'saved' || outcome.outcome !== 'refused') return outcome
  const { error } = outcome
  if (!/cvv|security|token/i.test(error.message)) return outcome
  const message = `${error.message}. It may want the security code of the saved card: let the customer enter it and pay with the new token.`
  return { outcome: 'refused', error: { ...error, message } }
}

export const subscriptions: NativeSubscriptions<Credentials> = {
  /** Not repeatable: MercadoPago takes the key here and makes a second subscription all the same. */
  async create(command, context) {
    const { amount, currency, customer, method, interval, trialEnd, key } = command
    if (!customer.email) return refuse('content', 'MercadoPago wants the e-mail address of who subscribes.')
    const refused = refuseMoney(amount, currency)
    if (refused) return refused
    const token = method && (await makeCardToken(method, key, context))
    if (token && token.outcome !== 'done') return token
    const [times, frequency_type] = frequencies[interval]
    const outcome = await callMercadopago(context, {
      path: ['preapproval'],
      trailingSlash: true,
      key,
      repeatable: false,
      body: {
        payer_email: customer.email,
        reason: command.description,
        external_reference: command.subscriptionId,
        back_url: command.returnUrl,
        auto_recurring: {
          frequency: times * command.intervalCount,
          frequency_type,
          start_date: trialEnd && writeTime(trialEnd),
          ...writeMoney(amount, currency),
        },
        ...(token ? { card_token_id: token.cardToken, status: 'authorized' } : { status: 'pending' }),
      },
      answer: mapped(preapprovalAnswer, (made) => {
        return { snapshot: readSubscription(made, [], currency, context.now()) }
      }),
    })
    return explainSavedCard(outcome, method)
  },

  async read(ref, context) {
    const ours = await findSubscription(ref, context)
    if (ours.outcome !== 'done') return ours
    const { found } = ours
    if (!found) return { outcome: 'done', snapshot: undefined }
    return mapDone(await readPeriods(found.id, context), ({ items }) => {
      return { snapshot: readSubscription(found, items, ref.currency, context.now()) }
    })
  },

  async update(ref, { amount, method, paused, cancelAtPeriodEnd, key }, context) {
    if (cancelAtPeriodEnd) return refuse('content', atOnceOnly)
    const refused = amount === undefined ? undefined : refuseMoney(amount, ref.currency)
    if (refused) return refused
    const token = method && (await makeCardToken(method, key, context))
    if (token && token.outcome !== 'done') return token
    const body = filled({
      auto_recurring: amount === undefined ? undefined : writeMoney(amount, ref.currency),
      card_token_id: token?.cardToken,
      status: paused === undefined ? undefined : paused ? 'paused' : 'authorized',
    })
    return changeSubscription(ref, body, key, context)
  },

  cancel: (ref, key, context) => changeSubscription(ref, { status: 'cancelled' }, key, context),
}

const atOnceOnly = 'MercadoPago cancels a subscription at once only: cancel it when its period ends.'

function writeMoney(minor: number, currency: string) {
  return { transaction_amount: toWireNumber(minor, currency, wire), currency_id: currency }
}

/** MercadoPago counts in days and months. */
const frequencies = {
  day: [1, 'days'],
  week: [7, 'days'],
  month: [1, 'months'],
  year: [12, 'months'],
} as const

const pageSize = 50

async function findSubscription(
  { subscriptionId, providerSubscriptionId: known, createdAt }: SubscriptionRef,
  context: Context,
): Promise<Outcome<{ found?: Preapproval }>> {
  const findById = (id: string) => findMercadopago(context, preapprovalAnswer, 'preapproval', id)
  if (known !== undefined) return findById(known)
  const search = {
    readPage: (page: number) =>
      searchMercadopago(context, preapprovalAnswer, ['preapproval'], {
        sort: 'date_created:desc',
        limit: String(pageSize),
        offset: String((page - 1) * pageSize),
      }),
    mostPages: 5,
    isOurs: ({ external_reference: reference }: Preapproval) => reference === subscriptionId,
    timeOf: ({ date_created: made }: Preapproval) => made,
    // Longer than for payments: made twice for want of patience, a subscription charges twice.
    lagMs: 10 * 60_000,
    message: 'MercadoPago’s search shows no subscription yet; it may be behind by some minutes.',
    tooMany: 'MercadoPago has too many newer subscriptions to say that it has not this one.',
  }
  const ours = findAmongNewest(search, createdAt, context.now())
  return thenDone(ours, ({ found }) => (found ? findById(found.id) : { outcome: 'done' }))
}

/** The first page and the last: whichever way they are sorted, the beginning and the latest are there. */
async function readPeriods(id: string, context: Context): Promise<Outcome<{ items: Period[] }>> {
  const readPage = (query: Record<string, string>) =>
    searchMercadopago(context, periodAnswer, ['authorized_payments'], { preapproval_id: id, ...query })
  return thenDone(readPage({}), async ({ items, count, total = 0, hasMore }) => {
    if (!hasMore || total <= count) return { outcome: 'done', items }
    const last = await readPage({ offset: String(Math.max(count, total - count)) })
    return mapDone(last, (page) => ({ items: [...items, ...page.items] }))
  })
}

/** Answers what is read afterwards: only the charges tell whether it is paid for. */
async function changeSubscription(
  ref: SubscriptionRef,
  body: object | undefined,
  key: string,
  context: Context,
): Promise<Outcome<{ snapshot: SubscriptionSnapshot }>> {
  const { providerSubscriptionId: id } = ref
  if (id === undefined) return refuse('state', 'MercadoPago has no such subscription yet.')
  const call = { method: 'PUT', path: ['preapproval', id], key, answer: changeAnswer } as const
  const changed = body && (await callMercadopago(context, { ...call, body }))
  if (changed && changed.outcome !== 'done') return changed
  const seen = await subscriptions.read(ref, context)
  if (seen.outcome === 'done' && seen.snapshot) return { outcome: 'done', snapshot: seen.snapshot }
  return lookAgain('The subscription was changed and could not be read afterwards.', 1_000)
}
