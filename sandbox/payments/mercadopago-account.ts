import { z } from 'zod'
import type { Reply } from '../http.ts'
import {
  addKeyAccount,
  changeToken,
  clearKeyAccounts,
  createKeyAccounts,
  findKeyAccount,
  nameByToken,
} from '../providers/key-accounts.ts'
import type { KeyAccounts } from '../providers/key-accounts.ts'
import { seedFrom } from '../signatures.ts'
import type { World } from '../world.ts'
import { clearAgenda, createAgenda } from './agenda.ts'
import type { Agenda } from './agenda.ts'
import type { CardToken } from './mercadopago-cards.ts'
import type { Chargeback } from './mercadopago-chargebacks.ts'
import type { Customer, SavedCard } from './mercadopago-customers.ts'
import type { Grant } from './mercadopago-oauth.ts'
import type { MerchantOrder } from './mercadopago-orders.ts'
import type { Payment } from './mercadopago-payment.ts'
import type { Plan, Preapproval } from './mercadopago-preapproval.ts'
import type { Preference } from './mercadopago-preferences.ts'
import type { Invoice } from './mercadopago-renewals.ts'
import { siteIds } from './mercadopago-sites.ts'
import type { SiteId } from './mercadopago-sites.ts'
import type { PaymentAccountView } from './simulator.ts'

const topics = [
  'payment',
  'subscription_preapproval',
  'subscription_authorized_payment',
  'topic_chargebacks_wh',
  'mp-connect',
  'subscription_preapproval_plan',
  'topic_merchant_order_wh',
] as const
export type Topic = (typeof topics)[number]

/** What differs between sellers, or between what is said of MercadoPago and what it does. */
const optionsSchema = z.strictObject({
  site_id: z.enum(siteIds),
  /** Its tokens are live and its money is not. */
  test_user: z.boolean(),
  /** Its seller took the access away. */
  revoked: z.boolean(),
  webhook_url: z.url().nullable(),
  webhook_secret: z.string().min(1),
  /** What the application is told of. */
  topics: z.array(z.enum(topics)),
  ts_unit: z.enum(['ms', 's']),
  /** `lowered`: the query has the id in upper case, the signature covers it in lower case. */
  id_case: z.enum(['same', 'lowered']),
  /** Whether a preapproval's own notification_url counts. */
  subscription_webhooks: z.enum(['account', 'request']),
  capture_days: z.number().min(0),
  refund_days: z.number().min(0),
  /** How new refunds are. */
  refund_status: z.enum(['approved', 'in_process', 'rejected']),
  /** What the repetition of a refund under its key gets: the answer again, or 200 without a body. */
  refund_replay: z.enum(['same', 'empty']),
  /** What a key gets that was used with another body. */
  conflict_status: z.union([z.literal(400), z.literal(409)]),
  /** How old something must be for searches to find it. */
  search_lag_ms: z.number().min(0),
})
type Options = z.infer<typeof optionsSchema>

const changeSchema = optionsSchema.partial().extend({
  token: z
    .string()
    .regex(/^(TEST|APP_USR)-./)
    .optional(),
})

/** The first answer under an idempotency key. */
type Remembered = { request: string; reply: Reply }

export type MercadopagoAccount = {
  name: string
  token: string
  publicKey: string
  userId: number
  applicationId: number
  siteId: SiteId
  isTestUser: boolean
  isRevoked: boolean
  webhookUrl: string | null
  webhookSecret: string
  options: Omit<Options, 'site_id' | 'test_user' | 'revoked' | 'webhook_url' | 'webhook_secret'>
  answers: Map<string, Remembered>
  /** In the order they were made, as are the lists below. */
  payments: Payment[]
  paymentsByReference: Map<string, Payment[]>
  preferences: Preference[]
  orders: MerchantOrder[]
  preapprovals: Preapproval[]
  plans: Plan[]
  chargebacks: Chargeback[]
  customersByEmail: Map<string, Customer>
}

export type Mercadopago = {
  world: World
  agenda: Agenda
  accounts: KeyAccounts<MercadopagoAccount>
  payments: Map<number, Payment>
  preferences: Map<string, Preference>
  orders: Map<number, MerchantOrder>
  preapprovals: Map<string, Preapproval>
  plans: Map<string, Plan>
  invoices: Map<string, Invoice>
  chargebacks: Map<string, Chargeback>
  customers: Map<string, Customer>
  cards: Map<string, SavedCard>
  cardTokens: Map<string, CardToken>
  /** OAuth: what may be exchanged for an access token, by code or refresh token. */
  grants: Map<string, Grant>
  /** What has a page on which a customer may still act; pruned when it is listed. */
  openPages: Set<Preference | Preapproval | Payment>
  lastId: number
}

export function createMercadopagoState(world: World): Mercadopago {
  return {
    world,
    agenda: createAgenda(world),
    accounts: createKeyAccounts(),
    payments: new Map(),
    preferences: new Map(),
    orders: new Map(),
    preapprovals: new Map(),
    plans: new Map(),
    invoices: new Map(),
    chargebacks: new Map(),
    customers: new Map(),
    cards: new Map(),
    cardTokens: new Map(),
    grants: new Map(),
    openPages: new Set(),
    lastId: 0,
  }
}

const IDS_SINCE = Date.UTC(2020, 0, 1)

/** Ids grow with real time, so that those of a sandbox started again never meet older ones. */
export function nextId(mercadopago: Mercadopago): number {
  mercadopago.lastId = Math.max(mercadopago.lastId + 1, Date.now() - IDS_SINCE)
  return mercadopago.lastId
}

/** The account of a token; the first call with a well-formed one makes it. */
export function openAccount(mercadopago: Mercadopago, token: string): MercadopagoAccount {
  return findKeyAccount(mercadopago.accounts, token) ?? createAccount(mercadopago, token)
}

export function createAccount(
  mercadopago: Mercadopago,
  token: string,
  name = nameByToken(token),
): MercadopagoAccount {
  const [, application, user] = /^(?:TEST|APP_USR)-(\d{1,16})-\d+-\w+-(\d{1,12})$/.exec(token) ?? []
  const seed = seedFrom('mercadopago', token)
  return addKeyAccount(mercadopago.accounts, {
    name,
    token,
    publicKey: `${token.startsWith('TEST-') ? 'TEST' : 'APP_USR'}-${writeUuid(seed)}`,
    userId: Number(user ?? 100_000_000 + (seed.readUInt32BE(16) % 900_000_000)),
    applicationId: Number(application ?? 1_000_000_000_000_000 + seed.readUIntBE(20, 6)),
    siteId: siteIds.find((site) => token.toUpperCase().includes(site)) ?? 'MLC',
    isTestUser: false,
    isRevoked: false,
    webhookUrl: null,
    webhookSecret: seed.toString('hex'),
    options: {
      topics: topics.slice(0, 5),
      ts_unit: 'ms',
      id_case: 'same',
      subscription_webhooks: 'account',
      capture_days: 5,
      refund_days: 180,
      refund_status: 'approved',
      refund_replay: 'same',
      conflict_status: 409,
      search_lag_ms: 0,
    },
    ...createLists(),
  })
}

function createLists() {
  return {
    answers: new Map(),
    payments: [],
    paymentsByReference: new Map(),
    preferences: [],
    orders: [],
    preapprovals: [],
    plans: [],
    chargebacks: [],
    customersByEmail: new Map(),
  }
}

function writeUuid(seed: Buffer): string {
  return seed.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

export function putAccount(mercadopago: Mercadopago, name: string, input: unknown): PaymentAccountView {
  const { token, ...change } = changeSchema.parse(input)
  const isToken = /^(TEST|APP_USR)-./.test(name)
  const account =
    findKeyAccount(mercadopago.accounts, name) ??
    createAccount(
      mercadopago,
      token ?? (isToken ? name : `TEST-${seedFrom('mercadopago', name).toString('hex', 0, 16)}`),
      isToken ? undefined : name,
    )
  if (token && token !== account.token) changeToken(mercadopago.accounts, account, token)
  changeAccount(account, change)
  return viewAccount(account)
}

function changeAccount(account: MercadopagoAccount, change: Partial<Options>): void {
  const { site_id, test_user, revoked, webhook_url, webhook_secret, ...options } = change
  account.siteId = site_id ?? account.siteId
  account.isTestUser = test_user ?? account.isTestUser
  account.isRevoked = revoked ?? account.isRevoked
  account.webhookUrl = webhook_url === undefined ? account.webhookUrl : webhook_url
  account.webhookSecret = webhook_secret ?? account.webhookSecret
  Object.assign(account.options, options)
}

export function emailOf({ userId }: MercadopagoAccount): string {
  return `seller+${userId}@example.com`
}

export function viewAccount(account: MercadopagoAccount): PaymentAccountView {
  return {
    provider: 'mercadopago',
    account: account.name,
    token: account.token,
    public_key: account.publicKey,
    user_id: account.userId,
    site_id: account.siteId,
    test_user: account.isTestUser,
    revoked: account.isRevoked,
    webhook_url: account.webhookUrl,
    webhook_secret: account.webhookSecret,
    ...account.options,
  }
}

/** Forgets what is not an account. */
export function clearMercadopago(mercadopago: Mercadopago): void {
  clearAgenda(mercadopago.agenda)
  for (const kept of Object.values(mercadopago)) {
    const isCollection = kept instanceof Map || kept instanceof Set
    if (isCollection && kept !== mercadopago.grants) kept.clear()
  }
  for (const account of mercadopago.accounts.byName.values()) Object.assign(account, createLists())
}

export function clearMercadopagoAccounts(mercadopago: Mercadopago): void {
  clearKeyAccounts(mercadopago.accounts)
  mercadopago.grants.clear()
}
