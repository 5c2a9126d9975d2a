import assert from 'node:assert/strict'
import { setProvider, switches } from './mission-examples.ts'
import { assertNoSecrets, seedsOf } from './secrets.ts'
import {
  type Answer,
  type Backend,
  type Client,
  createClient,
  eventually,
  type PipeCore,
  type PipeCoreOptions,
  type Sandbox,
  startBackend,
  startPipeCore,
  startSandbox,
  type Test,
} from './harness.ts'

export const products = ['tableflow', 'genda', 'roe'] as const
export type Product = (typeof products)[number]
export const tenantOf = { tableflow: 'tableflow_123', genda: 'genda_456', roe: 'roe_789' } as const

/** What the products' backends are called with beside the signature, as with a Supabase anon key. */
export const bearerOf = (product: Product) =>
  `eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.fake_${product}_anon_key.fake_signature`

export interface World {
  sandbox: Sandbox
  pipecore: PipeCore
  backend: Backend
  admin: Client
  /** A caller with the key of each product. */
  products: Record<Product, Client>
  /** Everything that may stand nowhere, by name. */
  seeds: Record<string, string>
  endpointSecrets: Record<Product, string>
  endpointIds: Record<Product, string>
}

/** The three products of the mission with a tenant, a key and an endpoint each; no provider yet. */
export async function startWorld(
  test: Test,
  database: Pick<PipeCoreOptions, 'databaseUrl' | 'databaseHost'> = {},
): Promise<World> {
  const sandbox = await startSandbox(test)
  await sandbox.control('PATCH', '/settings', { callback_delay_ms: 5 })
  const backend = await startBackend(test)
  const pipecore = await startPipeCore(test, { sandbox, ...database })
  const admin = createClient(pipecore.url, pipecore.adminKey)
  const made = await Promise.all(products.map((product) => makeProduct(admin, backend, product)))
  const collect = <Value>(pick: (one: (typeof made)[number]) => Value) =>
    Object.fromEntries(products.map((product, index) => [product, pick(made[index]!)])) as Record<
      Product,
      Value
    >
  return {
    sandbox,
    pipecore,
    backend,
    admin,
    products: collect(({ key }) => admin.as(key)),
    seeds: {
      ...seedsOf(pipecore),
      ...Object.fromEntries(made.flatMap(({ seeds }) => Object.entries(seeds))),
    },
    endpointSecrets: collect(({ endpoint }) => endpoint.secret),
    endpointIds: collect(({ endpoint }) => endpoint.id),
  }
}

async function makeProduct(admin: Client, backend: Backend, product: Product) {
  await admin.ok('POST', '/products', { id: product, name: product })
  await admin.ok('POST', '/tenants', { id: tenantOf[product], product_id: product, name: `A ${product}` })
  const { key } = await admin.ok<{ key: string }>('POST', `/products/${product}/keys`, { name: 'backend' })
  const endpoint = await admin.as(key).ok<{ id: string; secret: string }>('POST', '/webhooks/endpoints', {
    url: `${backend.url}/functions/v1/webhooks/${product}`,
    product_id: product,
    events: ['*'],
    headers: { Authorization: `Bearer ${bearerOf(product)}` },
  })
  backend.trust(endpoint.secret)
  const seeds = {
    [`${product} key`]: key,
    [`${product} endpoint`]: endpoint.secret,
    [`${product} bearer`]: bearerOf(product),
  }
  return { key, endpoint, seeds }
}

interface ProviderConfig {
  tenantId: string
  channel: string
  provider: string
  credentials: Record<string, string>
  isActive: boolean
}

export interface Connection {
  id: string
  webhook_url: string
  isActive: boolean
  provider: string
  credentials: Record<string, unknown>
}

/**
 * What an operator does for each provider: saves the credentials, registers the webhook's URL at the provider,
 * and saves once more with the secret that the provider shows for it.
 */
export async function connect(world: World, config: ProviderConfig): Promise<Connection> {
  const { admin, sandbox, seeds } = world
  const saved = await admin.ok<Connection>('POST', '/messaging/config/provider', config)
  const shown = await registerWebhook(sandbox, config, saved.webhook_url)
  if (Object.keys(shown).length === 0) return saved
  const { appSecret, webhookSecret } = shown
  const secret = appSecret ?? webhookSecret
  if (secret !== undefined) seeds[`${config.tenantId} ${config.provider} webhooks`] = secret
  const credentials = { ...config.credentials, ...shown }
  return admin.ok<Connection>('POST', '/messaging/config/provider', { ...config, credentials })
}

async function registerWebhook(
  sandbox: Sandbox,
  { provider, channel, credentials }: ProviderConfig,
  url: string,
): Promise<Record<string, string>> {
  const put = (account: string, input: object) =>
    sandbox.control<Record<string, string>>('PUT', `/accounts/${provider}/${account}`, input)
  const { accountSid = '', authToken, phoneNumberId = '', accessToken, apiKey = '' } = credentials
  switch (provider) {
    case 'twilio':
      await put(accountSid, { token: authToken, [`${channel}_webhook_url`]: url })
      return {}
    case 'meta': {
      const secret = 'fake_genda_app_secret'
      const input = { token: accessToken, app_secret: secret, webhook_url: url }
      const { handshake } = await sandbox.control<{ handshake: { ok: boolean } }>(
        'PUT',
        `/accounts/meta/${phoneNumberId}`,
        { ...input, verify_token: credentials['verifyToken'] },
      )
      assert.ok(handshake.ok, 'Meta could not set its webhook up')
      return { appSecret: secret }
    }
    case 'sendgrid':
      return { webhookPublicKey: (await put(apiKey, { webhook_url: url }))['public_key'] ?? '' }
    default: {
      const input = { webhook_url: url, verified_domains: [credentials['fromEmail']?.split('@')[1]] }
      return { webhookSecret: (await put(apiKey, input))['signing_secret'] ?? '' }
    }
  }
}

/** All six providers of the mission's first step, with their webhooks. */
export async function connectAll(world: World): Promise<void> {
  for (const config of Object.values(setProvider)) await connect(world, config)
}

export interface Message {
  id: string
  status: string
  provider: string
  provider_message_id: string | null
}

export interface SandboxMessage {
  id: string
  provider: string
  account: string
  text: string | null
  html: string | null
  subject: string | null
  from: string
  to: string
  reference: string | null
  details: Record<string, unknown>
}

/** What the simulated providers got under one of our message ids, and how many effects that had. */
export async function findAtProvider(
  { sandbox }: World,
  messageId: string,
): Promise<{ effects: number; messages: SandboxMessage[] }> {
  const { effects, messages } = await sandbox.control<{
    effects: Record<string, number>
    messages: SandboxMessage[]
  }>('GET', `/messages?reference=${messageId}`)
  return { effects: effects[messageId] ?? 0, messages }
}

/** Waits until a message stands at a status, and tells what it stands at when it does not come. */
export function waitForStatus(caller: Client, messageId: string, ...wanted: string[]): Promise<Message> {
  return eventually(async () => {
    const message = await caller.ok<Message>('GET', `/messaging/messages/${messageId}`)
    if (wanted.includes(message.status)) return message
    throw new Error(
      `${messageId} is ${message.status}, not ${wanted.join(' or ')}: ${JSON.stringify(message)}`,
    )
  })
}

/** A customer writes on WhatsApp, and PipeCore has taken it: from now on free text may go out. */
export async function customerWrites(
  world: World,
  product: 'tableflow' | 'genda',
  text: string,
  options: { from?: string; by?: 'twilio' | 'meta' } = {},
): Promise<string> {
  const { from = '+56988888888', by = product === 'genda' ? 'meta' : 'twilio' } = options
  const number = 'whatsapp:+14155238886'
  const account =
    product === 'genda' ? switches.gendaToTwilio.credentials : setProvider.tableflowWhatsapp.credentials
  const input =
    by === 'meta'
      ? { from, text, account: setProvider.gendaWhatsapp.credentials.phoneNumberId }
      : { from: `whatsapp:${from}`, to: number, text, account: account.accountSid }
  const { message_ids: ids, answered } = await world.sandbox.control<{
    message_ids: string[]
    answered: { status: number; body: string } | null
  }>('POST', `/inbound/${by}`, input)
  assert.equal(answered?.status, 200, `the customer's message was answered ${JSON.stringify(answered)}`)
  const { body } = await world.backend.waitFor(
    'message.received',
    (event) => event['provider_message_id'] === ids[0],
  )
  return String(body['message_id'])
}

/** Fails unless the answer is a problem of this status and code that names the field. */
export function assertProblem(
  answer: Answer<unknown>,
  expected: { status: number; code: string; field?: string },
): void {
  const problem = answer.body as
    | { code?: string; detail?: string; errors?: Array<{ field: string }> }
    | undefined
  assert.equal(answer.status, expected.status, answer.text)
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
  assert.equal(problem?.code, expected.code, answer.text)
  assert.ok((problem?.detail ?? '').length > 10, answer.text)
  if (expected.field === undefined) return
  assert.ok(
    problem?.errors?.some(({ field }) => field === expected.field),
    `names no field ${expected.field}: ${answer.text}`,
  )
}

/** The end of every suite: whatever it did, no secret got out. */
export function assertNothingLeaked({ pipecore, admin, backend, seeds }: World): Promise<void> {
  return assertNoSecrets({ pipecore, client: admin, events: backend.events }, seeds)
}
