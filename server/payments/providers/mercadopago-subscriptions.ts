import { z } from 'zod'
import { optionalNumber, optionalObject, readEach } from '#connections'
import type { Outcome } from '#connections'
import { toWireNumber } from '../money.ts'
import { callMercadopago, type Context, type Credentials, isMissing } from './mercadopago-account.ts'
import { refuse, refuseAmounts, refuseUnpaid, waitForMore, wire } from './mercadopago-account.ts'
import { explainSavedCard, makeCardToken } from './mercadopago-cards.ts'
import { readTime, writeTime } from './mercadopago-mapping.ts'
import { describeCharges, describeSubscription, type Period, periodAnswer } from './mercadopago-periods.ts'
import { type Preapproval, preapprovalAnswer } from './mercadopago-periods.ts'
import type { Interval, NativeSubscriptions, SubscriptionChange, SubscriptionCommand } from './provider.ts'
import type { SubscriptionRef, SubscriptionSnapshot } from './provider.ts'

const pageAnswer = z.looseObject({
  paging: optionalObject({ total: optionalNumber }),
  results: z.array(z.unknown()),
})

type Subscribed = Outcome<{ snapshot: SubscriptionSnapshot }>

/** Not repeatable: MercadoPago takes the key here and makes a second subscription all the same. */
async function create(command: SubscriptionCommand, context: Context): Promise<Subscribed> {
  const { amount, currency, customer, method, key } = command
  if (!customer.email) return refuse('content', 'MercadoPago wants the e-mail address of who subscribes.')
  const refused = refuseAmounts([amount], currency)
  if (refused) return refused
  const token = method && (await makeCardToken(method, key, context))
  if (token && token.outcome !== 'done') return refuseUnpaid(token)
  const outcome = await callMercadopago(context, {
    method: 'POST',
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
        ...writeInterval(command.interval, command.intervalCount),
        ...(command.trialEnd && { start_date: writeTime(command.trialEnd) }),
        transaction_amount: toWireNumber(amount, currency, wire),
        currency_id: currency,
      },
      ...(token ? { card_token_id: token.cardToken, status: 'authorized' } : { status: 'pending' }),
    },
    answer: preapprovalAnswer,
  })
  if (outcome.outcome !== 'done') return method ? explainSavedCard(outcome, method) : outcome
  return { outcome: 'done', snapshot: describeSubscription(outcome.answer, [], currency, context.now()) }
}

/** MercadoPago counts in days and months. */
function writeInterval(interval: Interval, count: number): { frequency: number; frequency_type: string } {
  if (interval === 'day' || interval === 'week') {
    return { frequency: interval === 'week' ? 7 * count : count, frequency_type: 'days' }
  }
  return { frequency: interval === 'year' ? 12 * count : count, frequency_type: 'months' }
}

async function read(
  ref: SubscriptionRef,
  context: Context,
): Promise<Outcome<{ snapshot: SubscriptionSnapshot | undefined }>> {
  const id = ref.providerSubscriptionId
  const found = id === undefined ? await findByReference(ref, context) : { outcome: 'done' as const, id }
  if (found.outcome !== 'done') return found
  if (found.id === undefined) return { outcome: 'done', snapshot: undefined }
  const preapproval = await callMercadopago(context, {
    path: ['preapproval', found.id],
    answer: preapprovalAnswer,
  })
  if (isMissing(preapproval)) return { outcome: 'done', snapshot: undefined }
  if (preapproval.outcome !== 'done') return preapproval
  const periods = await readPeriods(found.id, context)
  if (periods.outcome !== 'done') return periods
  const snapshot = describeSubscription(
    preapproval.answer,
    describeCharges(periods.periods, ref.currency),
    ref.currency,
    context.now(),
  )
  return { outcome: 'done', snapshot }
}

/** Longer than for payments: made twice for want of patience, a subscription charges twice. */
const searchLagMs = 10 * 60_000
const pageSize = 50
const maxPages = 5

/** The search has no filter for our reference: the newest are looked through, back to when it can have been made. */
async function findByReference(
  ref: SubscriptionRef,
  context: Context,
): Promise<Outcome<{ id: string | undefined }>> {
  for (let page = 0; page < maxPages; page += 1) {
    const offset = page * pageSize
    const outcome = await callMercadopago(context, {
      path: ['preapproval', 'search'],
      query: { sort: 'date_created:desc', limit: String(pageSize), offset: String(offset) },
      answer: pageAnswer,
    })
    if (outcome.outcome !== 'done') return outcome
    const { results, paging } = outcome.answer
    const listed = readEach(preapprovalAnswer, results)
    const found = listed.find((one) => one.external_reference === ref.subscriptionId)
    if (found) return { outcome: 'done', id: found.id }
    const isEnd = results.length === 0 || offset + results.length >= (paging?.total ?? Infinity)
    if (isEnd || isBefore(ref.createdAt, listed)) return reportNothing(ref, context)
  }
  return waitForMore(
    'MercadoPago has too many newer subscriptions to say that it has not this one.',
    searchLagMs,
  )
}

/** Whether a page that has the newest first goes back further than a moment. */
function isBefore(moment: Date, page: readonly Preapproval[]): boolean {
  const [newest, oldest] = [page[0], page.at(-1)].map((one) => readTime(one?.date_created)?.getTime())
  return (
    newest !== undefined &&
    oldest !== undefined &&
    newest >= oldest &&
    oldest < moment.getTime() - searchLagMs
  )
}

function reportNothing(ref: SubscriptionRef, context: Context): Outcome<{ id: undefined }> {
  const restMs = ref.createdAt.getTime() + searchLagMs - context.now().getTime()
  if (restMs <= 0) return { outcome: 'done', id: undefined }
  return waitForMore(
    'MercadoPago’s search shows no subscription yet; it may be behind by some minutes.',
    restMs,
  )
}

/** The first page and the last: whichever way they are sorted, the beginning and the latest are there. */
async function readPeriods(id: string, context: Context): Promise<Outcome<{ periods: Period[] }>> {
  const first = await readPeriodPage(id, {}, context)
  if (first.outcome !== 'done') return first
  const { results, paging } = first.answer
  const total = results.length === 0 ? 0 : (paging?.total ?? 0)
  if (total <= results.length) return { outcome: 'done', periods: readEach(periodAnswer, results) }
  const offset = Math.max(results.length, total - results.length)
  const last = await readPeriodPage(id, { offset: String(offset) }, context)
  if (last.outcome !== 'done') return last
  return { outcome: 'done', periods: readEach(periodAnswer, [...results, ...last.answer.results]) }
}

function readPeriodPage(id: string, query: Record<string, string>, context: Context) {
  return callMercadopago(context, {
    path: ['authorized_payments', 'search'],
    query: { preapproval_id: id, ...query },
    answer: pageAnswer,
  })
}

async function update(
  ref: SubscriptionRef,
  change: SubscriptionChange,
  context: Context,
): Promise<Subscribed> {
  const { amount, method, paused, cancelAtPeriodEnd, key } = change
  if (cancelAtPeriodEnd) {
    return refuse(
      'content',
      'MercadoPago cancels a subscription at once only: cancel it when its period ends.',
    )
  }
  const refused = amount === undefined ? undefined : refuseAmounts([amount], ref.currency)
  if (refused) return refused
  const token = method && (await makeCardToken(method, key, context))
  if (token && token.outcome !== 'done') return refuseUnpaid(token)
  const recurring = amount !== undefined && {
    auto_recurring: {
      transaction_amount: toWireNumber(amount, ref.currency, wire),
      currency_id: ref.currency,
    },
  }
  const body = {
    ...recurring,
    ...(token && { card_token_id: token.cardToken }),
    ...(paused !== undefined && { status: paused ? 'paused' : 'authorized' }),
  }
  return changeSubscription(ref, body, key, context)
}

function cancel(ref: SubscriptionRef, key: string, context: Context): Promise<Subscribed> {
  return changeSubscription(ref, { status: 'cancelled' }, key, context)
}

/** Answers what is read afterwards: only the charges tell whether it is paid for. */
async function changeSubscription(
  ref: SubscriptionRef,
  body: object,
  key: string,
  context: Context,
): Promise<Subscribed> {
  const { providerSubscriptionId: id } = ref
  if (id === undefined) return refuse('state', 'MercadoPago has no such subscription yet.')
  if (Object.keys(body).length > 0) {
    const path = ['preapproval', id]
    const answer = z.looseObject({})
    const outcome = await callMercadopago(context, { method: 'PUT', path, key, body, answer })
    if (outcome.outcome !== 'done') return outcome
  }
  const seen = await read(ref, context)
  if (seen.outcome === 'done' && seen.snapshot) return { outcome: 'done', snapshot: seen.snapshot }
  return waitForMore('The subscription was changed and could not be read afterwards.', 1_000)
}

export const subscriptions: NativeSubscriptions<Credentials> = { create, read, update, cancel }
