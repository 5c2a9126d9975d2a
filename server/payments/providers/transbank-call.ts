import { z } from 'zod'
import { callProvider, isUncertain, thenDone, optional, optionalText, readJson } from '#connections'
import { refuse, refusedOutcome, unknownOutcome } from '#connections'
import type { ErrorKind, NotDone, Outcome, ProviderAnswer } from '#connections'
import { scrubText } from '#core/scrub.ts'
import { type Context, listCodes, missingOneclick, title } from './transbank-account.ts'

const prefixes = {
  webpay: '/rswebpaytransaction/api/webpay/v1.2',
  oneclick: '/rswebpaytransaction/api/oneclick/v1.2',
  /** Where the papers have the captures of Oneclick; the SDK calls them at the usual place. */
  oneclickMall: '/rswebpaytransaction/api/oneclick/mall/v1.2',
}

/** 64 hexadecimal digits: what else comes back in a browser has no place in a path. */
export const tokenField = z.string().regex(/^[\da-f]{64}$/i)

/** The path is made of checked parts only: it is called with the tenant's keys. */
export type TransbankCall = readonly [
  product: keyof typeof prefixes,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  body?: Readonly<Record<string, unknown>>,
]

export async function callTransbank<Answer>(
  context: Context,
  [product, method, path, body]: TransbankCall,
  answer: z.ZodType<Answer>,
  isAfterSale = false,
): Promise<Outcome<{ answer: Answer }>> {
  const [webpay, oneclick] = listCodes(context.credentials)
  const keys = product === 'webpay' ? webpay : oneclick
  if (keys === undefined) return refuse('config', missingOneclick)
  const headers = {
    'tbk-api-key-id': keys.code,
    'tbk-api-key-secret': keys.key,
    'content-type': 'application/json',
  }
  const json = body && { body: JSON.stringify(body) }
  const call = { title, method, path: prefixes[product] + path, headers, ...json, read: readJson(answer) }
  // A saved card is what no message may repeat.
  const hidden = typeof body?.tbk_user === 'string' ? [body.tbk_user] : []
  return callProvider(context, call, (given) => classify(given, isAfterSale, hidden))
}

/** A refund or capture: their refusals have numbers, and some come as a 2xx. */
export async function callAfterSale<Answer extends { response_code?: number | null | undefined }>(
  context: Context,
  call: TransbankCall,
  answer: z.ZodType<Answer>,
): Promise<Outcome<{ answer: Answer }>> {
  const outcome = await callTransbank(context, call, answer, true)
  return thenDone(outcome, ({ answer: { response_code: code } }) => (code ? refuseByNumber(code) : outcome))
}

function refuseByNumber(responseCode: number): NotDone {
  const code = String(responseCode)
  const [, kind, words] = findRefusal(code) ?? [code, 'unknown' as const, 'it was refused']
  const refused = refuse(kind, `${title}: ${words}`, code)
  return kind === 'transient' ? { ...refused, outcome: 'unknown' } : refused
}

const errorAnswer = z.looseObject({
  error_message: optionalText,
  response_code: optional(z.union([z.number(), z.string()])),
})

function classify(answer: ProviderAnswer, isAfterSale: boolean, hidden: readonly string[]): NotDone {
  const { error_message: text, response_code: number } = readJson(errorAnswer)(answer) ?? {}
  const isUnknownId = answer.status === 404 && Boolean(text) && !isAfterSale
  const told = refusals.find(([, , , pattern]) => text && pattern?.test(text))?.[0]
  const numbered = isAfterSale ? (number ?? findNumber(text ?? '')) : undefined
  const code = told ?? numbered?.toString() ?? (isUnknownId ? 'not_found' : undefined)
  const [, kind, words] = findRefusal(code) ?? []
  const said = { code, message: text ? scrubText(text, hidden) : words }
  if (isUncertain(answer.status) || kind === 'transient') return unknownOutcome(answer, said)
  return refusedOutcome(answer, kind && [kind, 'never', false], said)
}

function findNumber(text: string): string | undefined {
  const numbers = text.match(/(?<!\d)\d{3}(?!\d)|(?<=^|code|error|\()\W{0,2}\d\d(?!\d)/gi) ?? []
  return numbers.map((found) => found.replaceAll(/\D/g, '')).find((found) => findRefusal(found))
}

function findRefusal(code: string | undefined): Refusal | undefined {
  return refusals.find((row) => row[0] === code)
}

type Refusal = readonly [code: string, ErrorKind, words: string, told?: RegExp]

/** Which words or numbers stand where is not certain, so both are read. `transient`: it may have been done. */
const refusals: readonly Refusal[] = [
  ['status_0', 'state', 'the customer has not paid yet', /invalid status '0'/i],
  ['status_10', 'state', 'the customer gave up', /invalid status '10'/i],
  ['status_19', 'state', 'the bank did not recognise the customer', /invalid status '19'/i],
  ['locked', 'state', 'another call is confirming it', /already locked/i],
  ['status', 'state', 'its state does not allow this', /invalid status/i],
  ['finished', 'state', 'it ended before it was confirmed', /invalid finished state/i],
  ['unfinished', 'state', 'it is not confirmed yet', /is unfinished/i],
  ['duplicate', 'state', 'it was sent before', /already exists|duplicat/i],
  [
    'not_found',
    'config',
    'there is no such transaction for this commerce code',
    /(transaction|inscription) not found/i,
  ],
  ['274', 'config', 'there is no such transaction for this commerce code'],
  ['245', 'config', 'there is no such commerce code'],
  ['316', 'config', 'the shop does not belong to this commerce code', /detail not found/i],
  ['22', 'account', 'the commerce code is not active'],
  ['308', 'account', 'the commerce code may not do this'],
  ['304', 'content', 'a field is missing'],
  ['16', 'content', 'it can not be refunded, or is not one of deferred capture'],
  ['53', 'content', 'what is paid in installments is only given back as a whole'],
  ['284', 'content', 'the time to do this is over'],
  ['292', 'state', 'it is not authorized'],
  ['309', 'state', 'it was captured before'],
  ['310', 'state', 'it was refunded or reversed before'],
  ['311', 'state', 'the amount is more than what is left', /bigger than/i],
  ['312', 'transient', 'something failed; it may have been done'],
  ['315', 'transient', 'the authorizer failed; it may have been done'],
]
