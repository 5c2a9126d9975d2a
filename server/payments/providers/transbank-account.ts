import { z } from 'zod'
import { choiceField, countField, ruleAcross, secretField, switchField } from '#connections'
import type { ProviderContext } from '#connections'
import type { FieldError } from '#core/errors.ts'
import { wireProblem } from '../money.ts'
import type { CheckoutCommand, PaymentCommand, Windows } from './provider.ts'
import { listApplying, listFieldFaults } from './rule-list.ts'

export const title = 'Transbank'
export const wire = { CLP: 0, USD: 2 }

export const hosts = {
  production: 'https://webpay3g.transbank.cl',
  integration: 'https://webpay3gint.transbank.cl',
}

const codeField = z.string().regex(/^5970\d{8}$/, 'Has 12 digits and begins with 5970.')

export const credentials = z
  .strictObject({
    commerceCode: codeField.describe('Commerce code of Webpay Plus, or of Webpay Plus Mall.'),
    apiKey: keyField('API key (Tbk-Api-Key-Secret) of the commerce code.'),
    environment: choiceField('integration takes test cards only, production real ones.', [
      'integration',
      'production',
    ]),
    currency: choiceField('What the commerce code charges in: Transbank fixes it per code.', ['CLP', 'USD']),
    deferred: switchField('The commerce code is one of deferred capture: payments are held, then captured.'),
    mallChildCommerceCode: codeField.describe('Shop that is paid, where commerceCode is a Mall.').optional(),
    oneclickCommerceCode: codeField.describe('Commerce code of Oneclick Mall, for saved cards.').optional(),
    oneclickChildCommerceCode: codeField.describe('Shop of the Oneclick Mall that is paid.').optional(),
    oneclickApiKey: keyField('API key of oneclickCommerceCode, where it has its own.').optional(),
    oneclickDeferred: switchField('oneclickCommerceCode is one of deferred capture.'),
    responseCodeLevel: choiceField(
      'Detail of the reasons for declines: 2 where Transbank has switched it on.',
      [1, 2],
    ),
    refundWindowDays: countField('For how many days payments can be refunded.', 365, 90),
    captureWindowDays: countField('For how many days a held payment can be captured.', 30, 7),
    reversalWindowMinutes: countField(
      'For how many minutes a whole refund is a reversal, which no statement shows.',
      1440,
      180,
    ),
    formTimeoutMinutes: countField('For how many minutes customers can pay at a checkout.', 60, 10),
  })
  .refine(
    (value) => (value.oneclickCommerceCode === undefined) === !value.oneclickChildCommerceCode,
    ruleAcross(
      'oneclickChildCommerceCode',
      'oneclickCommerceCode and oneclickChildCommerceCode go together: give both or none.',
    ),
  )
  .refine(
    (value) => value.oneclickCommerceCode !== undefined || !value.oneclickApiKey,
    ruleAcross('oneclickApiKey', 'Give oneclickCommerceCode as well.'),
  )

function keyField(description: string): z.ZodString {
  return secretField(description).regex(/^[\da-f]{64}$/i, 'Has 64 digits and letters from a to f.')
}

export type Credentials = z.output<typeof credentials>
export type Context = ProviderContext<Credentials>

export const missingOneclick =
  'Cards can be saved and charged once oneclickCommerceCode and oneclickChildCommerceCode are in this connection.'

/** A commerce code, and the key that opens it. */
export interface CommerceCode {
  product: 'webpay' | 'oneclick'
  code: string
  key: string
  isDeferred: boolean
}

export function listCodes(account: Credentials): CommerceCode[] {
  const { commerceCode, apiKey, oneclickCommerceCode, oneclickApiKey: key = apiKey } = account
  const { deferred, oneclickDeferred } = account
  const webpay = { product: 'webpay', code: commerceCode, key: apiKey, isDeferred: deferred } as const
  if (oneclickCommerceCode === undefined) return [webpay]
  return [webpay, { product: 'oneclick', code: oneclickCommerceCode, key, isDeferred: oneclickDeferred }]
}

export function windows(account: Credentials): Windows {
  const isDeferred = account.deferred || account.oneclickDeferred
  return {
    refundDays: account.refundWindowDays,
    ...(isDeferred && { captureDays: account.captureWindowDays }),
    reversalMs: account.reversalWindowMinutes * 60_000,
    fullRefundOnly: ['debit', 'prepaid'],
  }
}

/** What can be told to be impossible without asking Transbank; fields as in the request. */
export function listFaults(command: PaymentCommand | CheckoutCommand, account: Credentials): FieldError[] {
  const { amount, currency, capture } = command
  const isDirect = 'method' in command
  const isDeferred = isDirect ? account.oneclickDeferred : account.deferred
  const problem = wireProblem(amount, currency, { title, wire })
  const isHeld = capture === 'manual'
  const isSplit = isDirect && command.installments > 1
  return listFieldFaults([
    [isDirect && account.oneclickChildCommerceCode === undefined, 'method_id', missingOneclick],
    [currency !== account.currency, 'currency', `This commerce code charges in ${account.currency} only.`],
    [problem !== undefined, 'amount', problem ?? ''],
    [!(amount > 0), 'amount', 'It has to be more than 0.'],
    [isHeld && !isDeferred, 'capture', captureFaults.manual],
    [!isHeld && isDeferred, 'capture', captureFaults.automatic],
    [isHeld && isSplit, 'installments', 'What is captured later can not be paid in installments.'],
  ])
}

const captureFaults = {
  manual: 'This commerce code captures at once: only one of deferred capture can hold payments.',
  automatic: 'This commerce code is one of deferred capture: ask for capture manual, and capture later.',
}

/** What to look at when a key is refused. */
export function adviseOnKey(code: string, environment: Credentials['environment']): string {
  if (environment === 'production') return 'Is it the key of this very code, and of production?'
  return testCodes.test(code)
    ? "Test codes take the public test key of Transbank's papers: is this one of production?"
    : 'Codes of your own belong to production: set environment to production, or use the test codes.'
}

const testCodes = /^59705555/
const deferredTestCodes = ['597055555540', '597055555547', '597055555581']
const mallTestCodes = ['597055555535', '597055555581']
/** Printed in Transbank's papers: it opens every test code, and nothing else. */
const testKey = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'

/** What can't be right whatever Transbank answers. */
export function listContradictions(
  { product, code, key, isDeferred }: CommerceCode,
  account: Credentials,
): string[] {
  const isTest = testCodes.test(code)
  const isTestKey = key.toUpperCase() === testKey
  const isMall = account.mallChildCommerceCode !== undefined
  const holds = deferredTestCodes.includes(code)
  const setting = product === 'webpay' ? 'deferred' : 'oneclickDeferred'
  const isProduction = account.environment === 'production'
  return listApplying([
    [isProduction && isTest, `${code} is a public test code: it exists in integration only.`],
    [isProduction && isTestKey, 'The API key is the public one of integration: production has your own.'],
    [isTestKey && !isTest, `The API key is the public one of the test codes, and ${code} is none of them.`],
    [isTest && isDeferred !== holds, `Set ${setting} to ${holds}: so is the test code ${code}.`],
    [
      product === 'webpay' && isTest && isMall !== mallTestCodes.includes(code),
      `The test code ${code} is ${isMall ? 'no Mall: remove' : 'a Mall: add'} mallChildCommerceCode.`,
    ],
  ])
}
