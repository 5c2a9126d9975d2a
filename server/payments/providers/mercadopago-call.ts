import { z } from 'zod'
import { callProvider, choiceField, countField, createErrorTable, fieldsOf, idText } from '#connections'
import {
  isUncertain,
  mapDone,
  mapped,
  optional,
  optionalId,
  optionalNumber,
  optionalObject,
} from '#connections'
import { optionalText, readEach, readJson, refuse, refusedOutcome, refuseUnlessDone } from '#connections'
import { secretField, unknownOutcome } from '#connections'
import type { AnswerSchema, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import { isShortOfRefunds, type PaymentAnswer, paymentAnswer } from './mercadopago-mapping.ts'
import { siteCurrencies, title, wire } from './mercadopago-mapping.ts'
import { refuseAmount } from './wire-amount.ts'

export const credentials = z.strictObject({
  accessToken: secretField(
    'Access token of the seller’s application: APP_USR-…, or TEST-… for test credentials.',
  ).regex(/^(APP_USR|TEST)-[\x21-\x7e]+$/, 'Begins with APP_USR- or TEST- and has no spaces or line breaks.'),
  webhookSecret: secretField(
    'Secret signature of the application’s webhooks. Needed to accept webhooks.',
  ).optional(),
  previousWebhookSecret: secretField(
    'Former secret signature: webhooks signed with it still pass.',
  ).optional(),
  webhookMode: choiceField(
    'strict refuses webhooks without a good signature. hint takes them too, for nothing but to ask MercadoPago what is true.',
    ['strict', 'hint'],
  ),
  webhookToleranceHours: countField(
    'How old a signed webhook may be: repetitions come hours later.',
    720,
    72,
  ),
  currency: z.enum(Object.keys(wire)).optional().meta({
    description:
      'Currency of the account, such as CLP. Without it every direct payment asks MercadoPago for it first.',
  }),
  threeDSecure: z.enum(['optional', 'mandatory']).optional().meta({
    description: 'Whether the bank may, or must, identify the customer of a direct payment. Absent: never.',
  }),
  refundWindowDays: countField('For how many days payments can be refunded.', 3650, 180),
  captureWindowDays: countField('For how many days an authorized payment can be captured.', 30, 5),
  statementDescriptor: z
    .string()
    .regex(/^[\p{L}\p{N} .*&-]{1,22}$/u, 'Up to 22 letters, digits, spaces and . * & -')
    .optional()
    .describe('What the card statement shows.'),
})
export type Credentials = z.output<typeof credentials>
export type Context = ProviderContext<Credentials>

interface Call<Answer> {
  /** GET without a body, POST with one, unless it is said. */
  method?: 'PUT' | 'DELETE'
  /** Ids among its parts come from outside and are checked. */
  path: readonly string[]
  /** Some paths end with a slash. */
  trailingSlash?: boolean
  query?: Record<string, string>
  body?: object
  /** Goes with every call that acts. */
  key?: string
  /** False where MercadoPago takes the key and acts twice all the same. */
  repeatable?: boolean
  /** Reads the answer into fields of our own: they stand beside the outcome. */
  answer: AnswerSchema<Answer>
}

export async function callMercadopago<Answer extends object>(
  context: Context,
  { path, trailingSlash, query, body, key, repeatable = true, answer, ...call }: Call<Answer>,
): Promise<Outcome<Answer>> {
  if (!path.every((part) => /^[\w-]{1,64}$/.test(part)))
    return refuse('content', 'That is no id of MercadoPago.')
  const search = query ? `?${new URLSearchParams(query).toString()}` : ''
  const request = {
    title,
    method: call.method ?? (body ? ('POST' as const) : ('GET' as const)),
    path: `/${path.join('/')}${trailingSlash ? '/' : ''}${search}`,
    headers: {
      authorization: `Bearer ${context.credentials.accessToken}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'x-idempotency-key': key }),
    },
    ...(body && { body: JSON.stringify(body) }),
    read: readJson(answer),
    repeatable,
  }
  const outcome = await callProvider(context, request, (given) => classify(given, repeatable))
  return mapDone(outcome, ({ answer: read }) => read)
}

const errorAnswer = z.looseObject({
  ...fieldsOf(optionalText, 'message', 'error'),
  cause: optional(z.array(z.looseObject({ code: optionalId, description: optionalText }))),
})

/** After 402, 409 and 424 the call, or an earlier one under its key, may have been carried out. */
function classify(answer: ProviderAnswer, repeatable: boolean): NotDone {
  const { message, error, cause } = readJson(errorAnswer)(answer) ?? {}
  const codes = (cause ?? []).flatMap(({ code }) => code ?? [])
  const words = [message ?? error, ...(cause ?? []).map(({ description }) => description)].filter(Boolean)
  const told = { code: codes[0], message: [...new Set(words)].join(': ') }
  const isKeyConflict = /idempoten/i.test(told.message) && !codes.includes('4292')
  if (isUncertain(answer.status) || [402, 409, 424].includes(answer.status) || isKeyConflict) {
    return unknownOutcome(answer, told, repeatable ? 'backoff' : 'never')
  }
  const known = [...codes, `http ${answer.status}`].find((code) => errors.has(code)) ?? ''
  return refusedOutcome(answer, errors.get(known), told)
}

/** By cause code; what is not here goes by the HTTP status. */
const errors = createErrorTable([
  ['auth', 'never', false, [4, 3002]],
  ['config', 'never', false, [3, 2034]],
  ['account', 'never', true, [2077]],
  ['content', 'never', false, [2000, 2002, 2006, 2010, 2024, 2032, 3008, 15016]],
  ['state', 'never', false, [2017, 2063, 3005, 4296]],
  ['state', 'backoff', false, ['http 423']],
])

/** Nothing found: there certainly is no such thing at MercadoPago. */
export async function findMercadopago<Found>(
  context: Context,
  answer: z.ZodType<Found>,
  ...path: readonly string[]
): Promise<Outcome<{ found?: Found }>> {
  const call = { path, answer: mapped(answer, (found) => ({ found })) }
  return allowMissing(await callMercadopago(context, call))
}

export function allowMissing<Done extends object>(outcome: Outcome<Done>): Outcome<Partial<Done>> {
  return outcome.outcome === 'refused' && outcome.error.httpStatus === 404 ? { outcome: 'done' } : outcome
}

/** What was changed is read afterwards. */
export const changeAnswer = z.looseObject({}).transform(() => ({}))

/** All that a search holds: where one that can't be read might be ours. */
export function wholeResults<Item>(item: z.ZodType<Item>) {
  return mapped(z.looseObject({ results: z.array(item) }), ({ results: items }) => ({ items }))
}

const pageAnswer = z.looseObject({
  paging: optionalObject({ total: optionalNumber }),
  results: z.array(z.unknown()),
})

/** One page of a search. `count`: how much it held, also of what can't be read; `total`: as far as it tells. */
export function searchMercadopago<Item>(
  context: Context,
  item: z.ZodType<Item>,
  path: readonly string[],
  query: Record<string, string>,
) {
  const answer = mapped(pageAnswer, ({ results, paging }) => {
    const count = results.length
    const total = paging?.total ?? undefined
    const hasMore = count > 0 && Number(query.offset ?? 0) + count < (total ?? Infinity)
    return { items: readEach(item, results), count, total, hasMore }
  })
  return callMercadopago(context, { path: [...path, 'search'], query, answer })
}

/** With all its refunds. */
export async function findPaymentById(
  id: string,
  context: Context,
): Promise<Outcome<{ found?: PaymentAnswer }>> {
  const path = ['v1', 'payments', id]
  const read = await findMercadopago(context, paymentAnswer, ...path)
  if (read.outcome !== 'done' || !read.found || !isShortOfRefunds(read.found)) return read
  const { found } = read
  const answer = mapped(z.array(z.unknown()), (refunds) => ({ found: { ...found, refunds } }))
  return callMercadopago(context, { path: [...path, 'refunds'], trailingSlash: true, answer })
}

/** Refuses what can't be sent: not in this currency, or with too many decimals. */
export function refuseMoney(minor: number, currency: string): NotDone | undefined {
  return refuseAmount(minor, currency, { title, wire })
}

const accountAnswer = z
  .looseObject({
    id: idText,
    ...fieldsOf(optionalText, 'nickname', 'site_id'),
    tags: optional(z.array(z.string())),
  })
  .transform(({ id, nickname, site_id: site, tags }) => ({
    name: nickname ?? id,
    country: site || 'unknown country',
    own: siteCurrencies[site ?? ''],
    isTestUser: tags?.includes('test_user') ?? false,
  }))

export function readAccount(context: Context) {
  return callMercadopago(context, { path: ['users', 'me'], answer: accountAnswer })
}

/**
 * A direct payment is charged in the account's own currency and the call has no field to say another: USD 50 would
 * be taken as 50 pesos.
 */
export async function refuseOtherCurrency(currency: string, context: Context): Promise<NotDone | undefined> {
  let own = context.credentials.currency
  if (own === undefined) {
    const account = refuseUnlessDone(await readAccount(context))
    if (account.outcome !== 'done') return account
    own = account.own
  }
  if (own === undefined || own === currency) return undefined
  return refuse(
    'config',
    `This MercadoPago account charges in ${own}; it can't take a payment in ${currency}.`,
  )
}
