import { z } from 'zod'
import { callProvider, describeError, isUncertain, optional, optionalText, readJson } from '#connections'
import { refusedOutcome, secretField, unknownOutcome } from '#connections'
import type { ErrorKind, NotDone, Outcome, ProviderAnswer, ProviderContext, Told } from '#connections'
import type { FieldError } from '#core/errors.ts'
import { scrubText } from '#core/scrub.ts'
import { toWireNumber, wireProblem } from '../money.ts'
import type { CheckoutCommand, PaymentCommand } from './provider.ts'

export const title = 'Transbank'
export const wire = { CLP: 0, USD: 2 }

const hosts = {
  production: 'https://webpay3g.transbank.cl',
  integration: 'https://webpay3gint.transbank.cl',
}

export const credentials = z
  .strictObject({
    commerceCode: codeField('Commerce code of Webpay Plus, or of Webpay Plus Mall.'),
    apiKey: keyField('API key (Tbk-Api-Key-Secret) of the commerce code.'),
    environment: z
      .enum(['integration', 'production'])
      .default('integration')
      .meta({ description: 'integration takes test cards only, production real ones.' }),
    currency: z
      .enum(['CLP', 'USD'])
      .default('CLP')
      .meta({ description: 'What the commerce code charges in: Transbank fixes it per code.' }),
    deferred: z.boolean().default(false).meta({
      description: 'The commerce code is one of deferred capture: payments are held, then captured.',
    }),
    mallChildCommerceCode: codeField('Shop that is paid, where commerceCode is a Mall.').optional(),
    oneclickCommerceCode: codeField('Commerce code of Oneclick Mall, for saved cards.').optional(),
    oneclickChildCommerceCode: codeField('Shop of the Oneclick Mall that is paid.').optional(),
    oneclickApiKey: keyField('API key of oneclickCommerceCode, where it has its own.').optional(),
    oneclickDeferred: z
      .boolean()
      .default(false)
      .meta({ description: 'oneclickCommerceCode is one of deferred capture.' }),
    responseCodeLevel: z
      .union([z.literal(1), z.literal(2)])
      .default(1)
      .meta({ description: 'Detail of the reasons for declines: 2 where Transbank has switched it on.' }),
    refundWindowDays: countField('For how many days payments can be refunded.', 90, 365),
    captureWindowDays: countField('For how many days a held payment can be captured.', 7, 30),
    reversalWindowMinutes: countField(
      'For how many minutes a whole refund is a reversal, which no statement shows.',
      180,
      1440,
    ),
    formTimeoutMinutes: countField('For how many minutes customers can pay at a checkout.', 10, 60),
  })
  .refine((value) => (value.oneclickCommerceCode === undefined) === !value.oneclickChildCommerceCode, {
    path: ['oneclickChildCommerceCode'],
    error: 'oneclickCommerceCode and oneclickChildCommerceCode go together: give both or none.',
    when: isObject,
  })
  .refine((value) => value.oneclickCommerceCode !== undefined || !value.oneclickApiKey, {
    path: ['oneclickApiKey'],
    error: 'Give oneclickCommerceCode as well.',
    when: isObject,
  })

function codeField(description: string): z.ZodString {
  return z
    .string()
    .regex(/^5970\d{8}$/, 'Has 12 digits and begins with 5970.')
    .meta({ description })
}

function keyField(description: string): z.ZodString {
  return secretField(description).regex(/^[\da-f]{64}$/i, 'Has 64 digits and letters from a to f.')
}

function countField(description: string, usual: number, most: number) {
  return z.number().int().min(1).max(most).default(usual).meta({ description })
}

/** Lets a rule across fields speak although a single field is wrong, so that all faults come at once. */
function isObject({ value }: { value: unknown }): boolean {
  return typeof value === 'object' && value !== null
}

export type Credentials = z.output<typeof credentials>
export type Context = ProviderContext<Credentials>

export function baseUrlOf({ environment }: Pick<Credentials, 'environment'>): string {
  return hosts[environment]
}

const prefixes = {
  webpay: '/rswebpaytransaction/api/webpay/v1.2',
  oneclick: '/rswebpaytransaction/api/oneclick/v1.2',
  /** Where the papers have the captures of Oneclick; the SDK calls them at the usual place. */
  oneclickMall: '/rswebpaytransaction/api/oneclick/mall/v1.2',
}

export type Product = keyof typeof prefixes

export interface TransbankCall<Answer> {
  product: Product
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below the product's prefix, made of checked parts only: it is called with the tenant's keys. */
  path: string
  body?: object
  read(answer: ProviderAnswer): Answer | undefined
  /** A refund or capture: their refusals have numbers. */
  isAfterSale?: boolean
  /** What no message may repeat. */
  hidden?: readonly string[]
}

export async function callTransbank<Answer>(
  context: Context,
  { product, body, isAfterSale = false, hidden, ...call }: TransbankCall<Answer>,
): Promise<Outcome<{ answer: Answer }>> {
  const keys = readKeys(product, context.credentials)
  if (keys === undefined) return refuse('config', missingOneclick)
  const headers = {
    'tbk-api-key-id': keys.code,
    'tbk-api-key-secret': keys.secret,
    'content-type': 'application/json',
  }
  const path = prefixes[product] + call.path
  return callProvider(
    context,
    { ...call, title, path, headers, ...(body && { body: JSON.stringify(body) }) },
    (answer) => classify(answer, isAfterSale, hidden),
  )
}

function readKeys(product: Product, account: Credentials): { code: string; secret: string } | undefined {
  if (product === 'webpay') return { code: account.commerceCode, secret: account.apiKey }
  const { oneclickCommerceCode: code } = account
  return code === undefined ? undefined : { code, secret: account.oneclickApiKey ?? account.apiKey }
}

export const missingOneclick =
  'Cards can be saved and charged once oneclickCommerceCode and oneclickChildCommerceCode are in this connection.'

/** What can be told to be impossible without asking Transbank; fields as in the request. */
export function listFaults(command: PaymentCommand | CheckoutCommand, account: Credentials): FieldError[] {
  const { amount, currency, capture } = command
  const isDirect = 'method' in command
  const isDeferred = isDirect ? account.oneclickDeferred : account.deferred
  const problem = wireProblem(amount, currency, { title, wire })
  const isSplit = isDirect && capture === 'manual' && command.installments > 1
  const faults: Array<[applies: boolean, field: string, message: string | undefined]> = [
    [isDirect && account.oneclickChildCommerceCode === undefined, 'method_id', missingOneclick],
    [currency !== account.currency, 'currency', `This commerce code charges in ${account.currency} only.`],
    [problem !== undefined, 'amount', problem],
    [!(amount > 0), 'amount', 'It has to be more than 0.'],
    [capture === 'manual' && !isDeferred, 'capture', captureFaults.manual],
    [capture === 'automatic' && isDeferred, 'capture', captureFaults.automatic],
    [isSplit, 'installments', 'What is captured later can not be paid in installments.'],
  ]
  return faults.flatMap(([applies, field, message]) => (applies && message ? [{ field, message }] : []))
}

const captureFaults = {
  manual: 'This commerce code captures at once: only one of deferred capture can hold payments.',
  automatic: 'This commerce code is one of deferred capture: ask for capture manual, and capture later.',
}

/** As Transbank takes it, or why it can't be sent. */
export function writeWireAmount(minor: number, currency: string): number | NotDone {
  const problem = wireProblem(minor, currency, { title, wire })
  return problem === undefined ? toWireNumber(minor, currency, wire) : refuse('content', problem)
}

export function refuse(kind: ErrorKind, message: string, code?: string): NotDone {
  return { outcome: 'refused', error: describeError([kind, 'never', false], { code, message }) }
}

/** A 2xx that refuses all the same, by its `response_code`. */
export function refuseByNumber(responseCode: number): NotDone {
  const code = String(responseCode)
  const [kind, words] = refusals.get(code) ?? ['unknown', 'it was refused']
  const refused = refuse(kind, `${title}: ${words}`, code)
  return uncertain.has(code) ? { ...refused, outcome: 'unknown' } : refused
}

const errorAnswer = z.looseObject({
  error_message: optionalText,
  response_code: optional(z.union([z.number(), z.string()])),
})

function classify(answer: ProviderAnswer, isAfterSale: boolean, hidden: readonly string[] = []): NotDone {
  const { error_message: text, response_code: number } = readJson(errorAnswer)(answer) ?? {}
  const isUnknownId = answer.status === 404 && Boolean(text) && !isAfterSale
  const code = readCode(text ?? '', number, isAfterSale) ?? (isUnknownId ? 'not_found' : undefined)
  const [kind, words] = refusals.get(code ?? '') ?? []
  const told: Told = { code, message: text ? scrubText(text, hidden) : words }
  if (isUncertain(answer.status) || uncertain.has(code ?? '')) return unknownOutcome(answer, told)
  return refusedOutcome(answer, kind && [kind, 'never', false], told)
}

/** Our word for what a text says, or the number of a refused refund or capture. */
function readCode(
  text: string,
  number: number | string | null | undefined,
  isAfterSale: boolean,
): string | undefined {
  const status = `status_${/invalid status '(\d+)'/i.exec(text)?.[1]}`
  if (refusals.has(status)) return status
  const worded = wordings.find(([words]) => words.test(text))?.[1]
  if (worded !== undefined || !isAfterSale) return worded
  if (number !== null && number !== undefined) return String(number)
  const numbers = text.match(/(?<!\d)\d{3}(?!\d)|(?<=^|code|error|\()\W{0,2}\d\d(?!\d)/gi) ?? []
  return numbers.map((found) => found.replaceAll(/\D/g, '')).find((found) => refusals.has(found))
}

const wordings: ReadonlyArray<readonly [RegExp, code: string]> = [
  [/already locked/i, 'locked'],
  [/invalid status/i, 'status'],
  [/invalid finished state/i, 'finished'],
  [/is unfinished/i, 'unfinished'],
  [/already exists|duplicat/i, 'duplicate'],
  [/(transaction|inscription) not found/i, 'not_found'],
  [/detail not found/i, '316'],
  [/bigger than/i, '311'],
]

/** Which words or numbers stand where is not certain, so both are read. */
const refusals: ReadonlyMap<string, readonly [ErrorKind, words: string]> = new Map([
  ['locked', ['state', 'another call is confirming it']],
  ['status_0', ['state', 'the customer has not paid yet']],
  ['status_10', ['state', 'the customer gave up']],
  ['status_19', ['state', 'the bank did not recognise the customer']],
  ['status', ['state', 'its state does not allow this']],
  ['finished', ['state', 'it ended before it was confirmed']],
  ['unfinished', ['state', 'it is not confirmed yet']],
  ['duplicate', ['state', 'it was sent before']],
  ['not_found', ['config', 'there is no such transaction for this commerce code']],
  ['274', ['config', 'there is no such transaction for this commerce code']],
  ['245', ['config', 'there is no such commerce code']],
  ['316', ['config', 'the shop does not belong to this commerce code']],
  ['22', ['account', 'the commerce code is not active']],
  ['308', ['account', 'the commerce code may not do this']],
  ['304', ['content', 'a field is missing']],
  ['16', ['content', 'it can not be refunded, or is not one of deferred capture']],
  ['53', ['content', 'what is paid in installments is only given back as a whole']],
  ['284', ['content', 'the time to do this is over']],
  ['292', ['state', 'it is not authorized']],
  ['309', ['state', 'it was captured before']],
  ['310', ['state', 'it was refunded or reversed before']],
  ['311', ['state', 'the amount is more than what is left']],
  ['312', ['transient', 'something failed; it may have been done']],
  ['315', ['transient', 'the authorizer failed; it may have been done']],
])

const uncertain: ReadonlySet<string> = new Set(['312', '315'])
