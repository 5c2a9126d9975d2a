import { randomBytes, randomInt } from 'node:crypto'
import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import { seedFrom } from '../signatures.ts'
import type { World } from '../world.ts'
import type { PaymentAccountView } from './simulator.ts'
import type { Enrolment, Inscription } from './transbank-inscriptions.ts'
import type { OneclickPayment } from './transbank-oneclick.ts'
import type { Sale } from './transbank-sales.ts'
import type { WebpayTransaction } from './transbank-webpay.ts'

/** A commerce code. Transbank fixes its product, its currency and whether it captures later. */
export type TransbankAccount = {
  code: string
  apiKey: string
  merchant: string
  /** Null takes calls of every product. */
  product: 'webpay' | 'webpay_mall' | 'oneclick_mall' | null
  /** Shops of a Mall; null takes any. */
  shops: string[] | null
  isDeferred: boolean
  currency: 'CLP' | 'USD'
  responseLevel: 1 | 2
  /** Refusals of refunds and captures: HTTP 422 with a text, or 200 with the number as `response_code`. */
  refusals: 'text' | 'response_code'
  /** Whether Oneclick refuses a `buy_order` it has seen. */
  hasUniqueOrders: boolean
  formMinutes: number
}

export type Transbank = {
  world: World
  accounts: Map<string, TransbankAccount>
  transactions: Map<string, WebpayTransaction>
  inscriptions: Map<string, Inscription>
  /** Tokens of pages that may still be open, oldest first. */
  openTokens: Set<string>
  /** By `tbk_user`. */
  enrolments: Map<string, Enrolment>
  /** `tbk_user` by `<commerce code> <username>`: one card per user. */
  enrolmentsByUser: Map<string, string>
  /** By `<commerce code> <buy_order>`. */
  payments: Map<string, OneclickPayment>
  /** By ledger id; the latest by each of its orders, also as `<commerce code> <buy_order>`. */
  sales: Map<string, Sale>
}

export function createTransbankState(world: World): Transbank {
  return {
    world,
    accounts: new Map(),
    transactions: new Map(),
    inscriptions: new Map(),
    openTokens: new Set(),
    enrolments: new Map(),
    enrolmentsByUser: new Map(),
    payments: new Map(),
    sales: new Map(),
  }
}

/** Published by Transbank: the same for all its codes of integration. */
const INTEGRATION_KEY = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'

const integrationCodes: Record<string, Partial<TransbankAccount>> = {
  '597055555532': { product: 'webpay' },
  '597055555540': { product: 'webpay', isDeferred: true },
  '597055555535': { product: 'webpay_mall', shops: ['597055555536', '597055555537'] },
  '597055555581': { product: 'webpay_mall', shops: ['597055555582', '597055555583'], isDeferred: true },
  '597055555541': { product: 'oneclick_mall', shops: ['597055555542', '597055555543'] },
  '597055555547': { product: 'oneclick_mall', shops: ['597055555548', '597055555549'], isDeferred: true },
}

/** The account of these credentials, made by the first call that shows well-formed ones; null when they are wrong. */
export function findTransbankAccount(
  transbank: Transbank,
  code: string,
  apiKey: string,
): TransbankAccount | null {
  const isWellFormed = /^\d{12}$/.test(code) && apiKey.length > 0 && !/invalid/i.test(apiKey)
  if (!isWellFormed) return null
  const account =
    transbank.accounts.get(code) ??
    createAccount(transbank, code, integrationCodes[code] ? undefined : apiKey)
  return account.apiKey === apiKey ? account : null
}

function createAccount(transbank: Transbank, code: string, apiKey?: string): TransbankAccount {
  const account: TransbankAccount = {
    code,
    apiKey:
      apiKey ?? (integrationCodes[code] ? INTEGRATION_KEY : seedFrom('transbank', code).toString('hex')),
    merchant: `Comercio ${code}`,
    product: null,
    shops: null,
    isDeferred: false,
    currency: 'CLP',
    responseLevel: 1,
    refusals: 'text',
    hasUniqueOrders: false,
    formMinutes: 10,
    ...integrationCodes[code],
  }
  transbank.accounts.set(code, account)
  return account
}

const accountSchema = z.strictObject({
  api_key: z.string().min(1).optional(),
  merchant: z.string().min(1).optional(),
  product: z.enum(['webpay', 'webpay_mall', 'oneclick_mall']).nullable().optional(),
  shops: z
    .array(z.string().regex(/^\d{12}$/))
    .nullable()
    .optional(),
  deferred: z.boolean().optional(),
  currency: z.enum(['CLP', 'USD']).optional(),
  response_level: z.union([z.literal(1), z.literal(2)]).optional(),
  refusals: z.enum(['text', 'response_code']).optional(),
  unique_orders: z.boolean().optional(),
  form_minutes: z.number().positive().optional(),
})

export function putTransbankAccount(transbank: Transbank, code: string, input: unknown): PaymentAccountView {
  if (!/^\d{12}$/.test(code)) throw inputError('account', 'must be a commerce code of 12 digits')
  const change = accountSchema.parse(input)
  const account = transbank.accounts.get(code) ?? createAccount(transbank, code)
  account.apiKey = change.api_key ?? account.apiKey
  account.merchant = change.merchant ?? account.merchant
  if (change.product !== undefined) account.product = change.product
  if (change.shops !== undefined) account.shops = change.shops
  account.isDeferred = change.deferred ?? account.isDeferred
  account.currency = change.currency ?? account.currency
  account.responseLevel = change.response_level ?? account.responseLevel
  account.refusals = change.refusals ?? account.refusals
  account.hasUniqueOrders = change.unique_orders ?? account.hasUniqueOrders
  account.formMinutes = change.form_minutes ?? account.formMinutes
  return viewTransbankAccount(account)
}

export function viewTransbankAccount(account: TransbankAccount): PaymentAccountView {
  return {
    provider: 'transbank',
    account: account.code,
    commerce_code: account.code,
    api_key: account.apiKey,
    merchant: account.merchant,
    product: account.product,
    shops: account.shops,
    deferred: account.isDeferred,
    currency: account.currency,
    response_level: account.responseLevel,
    refusals: account.refusals,
    unique_orders: account.hasUniqueOrders,
    form_minutes: account.formMinutes,
  }
}

export function createToken(): string {
  return `01ab${randomBytes(30).toString('hex')}`
}

/** Six digits, as issuers give them. */
export function createAuthorizationCode(): string {
  return String(randomInt(1_000_000)).padStart(6, '0')
}
