import { z } from 'zod'
import {
  callProvider,
  createErrorTable,
  describeError,
  isUncertain,
  optional,
  optionalText,
} from '#connections'
import { readJson, refusedOutcome, secretField, unknownOutcome } from '#connections'
import type { CheckResult, ErrorKind, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import type { ProviderError, Told } from '#connections'
import { type WireTable, wireProblem } from '../money.ts'

export const title = 'MercadoPago'

/** Whole units where a fraction makes the call fail; Colombian pesos have cents in ISO 4217 and none here. */
export const wire: WireTable = {
  ARS: 2,
  BOB: 2,
  BRL: 2,
  CLP: 0,
  COP: 0,
  CRC: 2,
  DOP: 2,
  GTQ: 2,
  HNL: 0,
  MXN: 2,
  NIO: 0,
  PAB: 2,
  PEN: 2,
  PYG: 0,
  USD: 2,
  UYU: 2,
  VES: 2,
}

const siteCurrencies: Readonly<Record<string, string>> = {
  MLA: 'ARS',
  MLB: 'BRL',
  MLC: 'CLP',
  MLM: 'MXN',
  MLU: 'UYU',
  MCO: 'COP',
  MEC: 'USD',
  MHN: 'HNL',
  MNI: 'NIO',
  MPE: 'PEN',
}

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
  webhookMode: z.enum(['strict', 'hint']).default('strict').meta({
    description:
      'strict refuses webhooks without a good signature. hint takes them too, for nothing but to ask MercadoPago what is true.',
  }),
  webhookToleranceHours: countField(
    'How old a signed webhook may be: repetitions come hours later.',
    720,
  ).default(72),
  currency: z.enum(Object.keys(wire)).optional().meta({
    description:
      'Currency of the account, such as CLP. Without it every direct payment asks MercadoPago for it first.',
  }),
  threeDSecure: z.enum(['optional', 'mandatory']).optional().meta({
    description: 'Whether the bank may, or must, identify the customer of a direct payment. Absent: never.',
  }),
  refundWindowDays: countField('For how many days payments can be refunded.', 3650).default(180),
  captureWindowDays: countField('For how many days an authorized payment can be captured.', 30).default(5),
  statementDescriptor: z
    .string()
    .regex(/^[\p{L}\p{N} .*&-]{1,22}$/u, 'Up to 22 letters, digits, spaces and . * & -')
    .optional()
    .meta({ description: 'What the card statement shows.' }),
})

function countField(description: string, most: number) {
  return z.number().int().min(1).max(most).meta({ description })
}

export type Credentials = z.output<typeof credentials>
export type Context = ProviderContext<Credentials>

/** An id: a number in some answers, a text in others. */
export const idText = z.union([z.string().min(1), z.number()]).transform(String)

interface Call<Answer> {
  method?: 'POST' | 'PUT' | 'DELETE'
  path: readonly string[]
  /** Some paths end with a slash. */
  trailingSlash?: boolean
  query?: Record<string, string>
  body?: object
  /** Goes with every call that acts. */
  key?: string
  /** False where MercadoPago takes the key and acts twice all the same. */
  repeatable?: boolean
  answer: z.ZodType<Answer>
}

export async function callMercadopago<Answer>(
  context: Context,
  { method, path, trailingSlash, query, body, key, repeatable = true, answer }: Call<Answer>,
): Promise<Outcome<{ answer: Answer }>> {
  if (!path.every((part) => /^[\w-]{1,64}$/.test(part)))
    return refuse('content', 'That is no id of MercadoPago.')
  const search = query ? `?${new URLSearchParams(query).toString()}` : ''
  const call = {
    title,
    method: method ?? ('GET' as const),
    path: `/${path.map(encodeURIComponent).join('/')}${trailingSlash ? '/' : ''}${search}`,
    headers: {
      authorization: `Bearer ${context.credentials.accessToken}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'x-idempotency-key': key }),
    },
    ...(body && { body: JSON.stringify(body) }),
    read: readJson(answer),
    repeatable,
  }
  return callProvider(context, call, (given) => classify(given, repeatable ? 'backoff' : 'never'))
}

/** A call that moves no money went before the one that would have: whatever became of it, nothing happened. */
export function refuseUnpaid({ error }: NotDone): NotDone {
  return { outcome: 'refused', error: { ...error, retry: error.retry === 'never' ? 'never' : 'backoff' } }
}

export function refuse(kind: ErrorKind, message: string): NotDone {
  return { outcome: 'refused', error: describeError([kind, 'never', false], { message }) }
}

export function waitForMore(message: string, afterMs: number): NotDone {
  return { outcome: 'unknown', error: describeError(['transient', { afterMs }, false], { message }) }
}

export function refuseAmounts(amounts: readonly number[], currency: string): NotDone | undefined {
  const problem = amounts.map((amount) => wireProblem(amount, currency, { title, wire })).find(Boolean)
  return problem === undefined ? undefined : refuse('content', problem)
}

export function isMissing(outcome: Outcome<unknown>): boolean {
  return outcome.outcome === 'refused' && outcome.error.httpStatus === 404
}

const accountAnswer = z.looseObject({
  id: idText,
  nickname: optionalText,
  site_id: optionalText,
  tags: optional(z.array(z.string())),
})

function readAccount(context: Context) {
  return callMercadopago(context, { path: ['users', 'me'], answer: accountAnswer })
}

/**
 * A direct payment is charged in the account's own currency and the call has no field to say another: USD 50 would
 * be taken as 50 pesos.
 */
export async function refuseOtherCurrency(currency: string, context: Context): Promise<NotDone | undefined> {
  let own = context.credentials.currency
  if (own === undefined) {
    const account = await readAccount(context)
    if (account.outcome !== 'done') return refuseUnpaid(account)
    own = siteCurrencies[account.answer.site_id ?? '']
  }
  if (own === undefined || own === currency) return undefined
  return refuse(
    'config',
    `This MercadoPago account charges in ${own}; it can't take a payment in ${currency}.`,
  )
}

export async function check(context: Context): Promise<CheckResult> {
  const { accessToken, webhookSecret, webhookMode, currency } = context.credentials
  const account = await readAccount(context)
  if (account.outcome !== 'done') return { ok: false, notes: [account.error.message] }
  const { id, nickname, site_id: site = '', tags } = account.answer
  const own = siteCurrencies[site ?? '']
  const notes = [
    `MercadoPago accepts the access token: account ${JSON.stringify(nickname ?? id)}, ${site || 'unknown country'}.`,
    describeMode(accessToken.startsWith('TEST-'), tags?.includes('test_user') ?? false),
  ]
  const isOther = own !== undefined && currency !== undefined && own !== currency
  if (isOther) notes.push(`The account charges in ${own}, not in ${currency}: set currency to ${own}.`)
  if (own !== undefined && currency === undefined) {
    notes.push(`The account charges in ${own}: set currency to ${own} to spare a call per direct payment.`)
  }
  if (webhookMode === 'hint') notes.push(hintsTaken)
  else if (webhookSecret === undefined) notes.push(missingSecret)
  notes.push(
    `Subscriptions and chargebacks are reported only to the address in MercadoPago’s panel (Your integrations, Webhooks): enter ${context.webhookUrl} there.`,
  )
  return { ok: !isOther, notes }
}

function describeMode(isTest: boolean, isTestUser: boolean): string {
  if (isTest)
    return 'These are test credentials: no payment moves money. For real ones enter the APP_USR- token.'
  if (isTestUser)
    return 'The account is a test user: only other test users can pay, and no payment moves money.'
  return 'These are production credentials: payments move money, and test users can not pay.'
}

const hintsTaken =
  'Webhooks are taken without a good signature too, as hints that make PipeCore ask MercadoPago: set webhookMode to strict once real deliveries pass.'

export const missingSecret =
  'Webhooks are refused until webhookSecret is added to this connection (Your integrations, Webhooks, Secret signature).'

const errorAnswer = z.looseObject({
  message: optionalText,
  error: optionalText,
  cause: optional(
    z.array(z.looseObject({ code: optional(z.union([z.string(), z.number()])), description: optionalText })),
  ),
})

/** After 402, 409 and 424 the call, or an earlier one under its key, may have been carried out. */
function classify(answer: ProviderAnswer, retry: ProviderError['retry']): NotDone {
  const { codes, told } = readTold(answer)
  const isKeyConflict = /idempoten/i.test(told.message ?? '') && !codes.includes('4292')
  if (isUncertain(answer.status) || [402, 409, 424].includes(answer.status) || isKeyConflict) {
    return unknownOutcome(answer, told, retry)
  }
  const known = [...codes, `http ${answer.status}`].find((code) => errors.has(code))
  return refusedOutcome(answer, known === undefined ? undefined : errors.get(known), told)
}

function readTold(answer: ProviderAnswer): { codes: string[]; told: Told } {
  const { message, error, cause } = readJson(errorAnswer)(answer) ?? {}
  const causes = cause ?? []
  const codes = causes.flatMap(({ code }) => (code === undefined || code === null ? [] : [String(code)]))
  const words = [message ?? error, ...causes.map(({ description }) => description)].filter(Boolean)
  return { codes, told: { code: codes[0], message: [...new Set(words)].join(': ') } }
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
