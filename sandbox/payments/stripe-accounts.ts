import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Call } from '../http.ts'
import { nameByToken } from '../providers/key-accounts.ts'
import { seedFrom } from '../signatures.ts'
import type { PaymentAccountView } from './simulator.ts'
import { addEndpoint, firstSecret, usualEvents } from './stripe-endpoints.ts'
import { invalidKey, noAccess, noKey, noPermission } from './stripe-errors.ts'
import type { WebhookEndpoint } from './stripe-objects.ts'
import { createId, findObject, startWork } from './stripe-state.ts'
import type { Stripe, StripeAccount } from './stripe-state.ts'

const keyPattern = /^(sk|rk)_(test|live)_\w+$/
const accountPattern = /^acct_\w+$/

/** Whose call it is: the account of the key, or the connected account that `Stripe-Account` names. */
export function authenticate(stripe: Stripe, call: Call): { account: StripeAccount; key: string } {
  const key = readKey(call.headers['authorization'] ?? '')
  if (key === '') throw noKey()
  if (!keyPattern.test(key) || /invalid/i.test(key)) throw invalidKey(key)
  const owner = stripe.accounts.byKey.get(key) ?? addAccount(stripe, { name: nameByToken(key), keys: [key] })
  const connectedId = call.headers['stripe-account']
  const account = connectedId === undefined ? owner : connect(stripe, owner, connectedId, key)
  if (key.startsWith('rk_') && key.includes('readonly') && call.method !== 'GET')
    throw noPermission(key, account.id)
  return { account, key }
}

function readKey(authorization: string): string {
  const [, scheme = '', credentials = ''] = /^(Bearer|Basic) (.+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() !== 'basic') return credentials
  return Buffer.from(credentials, 'base64').toString().split(':', 1)[0]!
}

function connect(stripe: Stripe, owner: StripeAccount, id: string, key: string): StripeAccount {
  if (id === owner.id) return owner
  if (!accountPattern.test(id) || /invalid/i.test(id)) throw noAccess(key, id)
  const { livemode } = owner
  const account =
    stripe.accounts.byId.get(idInMode(id, livemode)) ??
    addAccount(stripe, { name: livemode ? `${id} live` : id, keys: [], id, livemode })
  account.platform ??= owner
  return account
}

type NewAccount = { name: string; keys: string[]; id?: string; livemode?: boolean }

function addAccount(stripe: Stripe, { name, keys, id, livemode }: NewAccount): StripeAccount {
  const [key = ''] = keys
  const account: StripeAccount = {
    name,
    id: id ?? `acct_1${seedFrom('stripe account', key).toString('hex').slice(0, 15)}`,
    keys,
    livemode: livemode ?? key.includes('_live_'),
    platform: null,
    title: 'Comercio de prueba',
    endpoints: [],
    options: { afterRetries: 'cancel', searchLagMs: 20_000 },
    idempotency: new Map(),
    objects: new Map(),
    lists: new Map(),
    byMetadata: new Map(),
    cards: new Map(),
    events: [],
    balance: new Map(),
    followers: new Map(),
    checkouts: new Map(),
  }
  stripe.accounts.byName.set(name, account)
  stripe.accounts.byId.set(idInMode(account.id, account.livemode), account)
  for (const one of keys) stripe.accounts.byKey.set(one, account)
  return account
}

const accountSchema = z.strictObject({
  secret_key: z.string().regex(keyPattern).optional(),
  title: z.string().min(1).optional(),
  webhook_url: z.url().optional(),
  webhook_secret: z.string().startsWith('whsec_').optional(),
  /** Sign with a new secret and the one before it, as during a rotation. */
  rotate_secret: z.boolean().optional(),
  enabled_events: z.array(z.string()).optional(),
  after_retries: z.enum(['cancel', 'unpaid', 'past_due']).optional(),
  search_lag_ms: z.number().min(0).optional(),
})

/** By name, by a key or by `acct_…`; further secret keys of the same account are added. */
export function putAccount(stripe: Stripe, name: string, input: unknown): PaymentAccountView {
  const change = accountSchema.parse(input)
  const account = findAccount(stripe, name) ?? createNamed(stripe, name, change.secret_key)
  const { secret_key: key } = change
  if (key !== undefined && !account.keys.includes(key)) {
    account.keys.push(key)
    stripe.accounts.byKey.set(key, account)
  }
  account.title = change.title ?? account.title
  account.options.afterRetries = change.after_retries ?? account.options.afterRetries
  account.options.searchLagMs = change.search_lag_ms ?? account.options.searchLagMs
  changeEndpoint(stripe, account, change)
  return viewAccount(account)
}

function createNamed(stripe: Stripe, name: string, key: string | undefined): StripeAccount {
  if (accountPattern.test(name)) return addAccount(stripe, { name, keys: key ? [key] : [], id: name })
  if (keyPattern.test(name)) return addAccount(stripe, { name: nameByToken(name), keys: [name] })
  return addAccount(stripe, { name, keys: [key ?? `sk_test_${randomBytes(18).toString('hex')}`] })
}

function changeEndpoint(stripe: Stripe, account: StripeAccount, change: z.infer<typeof accountSchema>): void {
  if (account.endpoints.length === 0 && change.webhook_url !== undefined) {
    addEndpoint(startWork(stripe, account), {
      url: change.webhook_url,
      enabled_events: usualEvents,
      connect: 'both',
      secret: firstSecret(account),
    })
  }
  const [first] = account.endpoints
  const endpoint = first && findObject<WebhookEndpoint>(account, 'webhook_endpoint', first.id)
  if (!first || !endpoint) return
  endpoint.url = change.webhook_url ?? endpoint.url
  endpoint.enabled_events = change.enabled_events ?? endpoint.enabled_events
  if (change.webhook_secret !== undefined) first.secrets = [change.webhook_secret]
  if (change.rotate_secret) first.secrets = [createId('whsec', 24), first.secrets[0]!]
}

function findAccount(stripe: Stripe, name: string): StripeAccount | undefined {
  const { byName, byKey, byId } = stripe.accounts
  return byName.get(name) ?? byKey.get(name) ?? byId.get(idInMode(name, false))
}

export function clearAccounts({ accounts }: Stripe): void {
  accounts.byName.clear()
  accounts.byKey.clear()
  accounts.byId.clear()
}

/** Test and live data of one account never meet. */
function idInMode(id: string, livemode: boolean): string {
  return `${id} ${livemode ? 'live' : 'test'}`
}

export function viewAccount(account: StripeAccount): PaymentAccountView {
  return {
    provider: 'stripe',
    account: account.name,
    account_id: account.id,
    secret_key: account.keys[0] ?? null,
    secret_keys: account.keys,
    livemode: account.livemode,
    platform: account.platform?.name ?? null,
    title: account.title,
    webhook_secret: account.endpoints[0]?.secrets[0] ?? null,
    webhooks: account.endpoints.map(({ id, secrets, connect }) => {
      const endpoint = findObject<WebhookEndpoint>(account, 'webhook_endpoint', id)
      return { id, url: endpoint?.url, events: endpoint?.enabled_events, connect, secrets }
    }),
    after_retries: account.options.afterRetries,
    search_lag_ms: account.options.searchLagMs,
  }
}
