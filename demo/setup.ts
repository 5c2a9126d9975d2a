import { startBackend } from './backend.ts'
import { check } from './check.ts'
import { type Client, createClient } from './client.ts'
import type { Connection, Product } from './products.ts'
import { type Player, providerNames, type SavedConnection, type Scene, who } from './steps.ts'

const secretNames = ['authToken', 'accessToken', 'verifyToken', 'apiKey']

/** Makes the product, its key, its tenant and the endpoint that brings events to its backend. */
export async function openProduct({ admin, pipecoreUrl }: Scene, product: Product): Promise<Player> {
  const { id, name, tenantId, tenantName } = product
  const backend = await startBackend()
  await admin('POST', '/products', { body: { id, name } })
  const { key } = await admin<{ key: string }>('POST', `/products/${id}/keys`, { body: { name: 'backend' } })
  const pipecore = createClient(pipecoreUrl, key)
  await pipecore('POST', '/tenants', { body: { id: tenantId, product_id: id, name: tenantName } })
  const endpoint = { url: backend.url, product_id: id }
  const { secret } = await pipecore<{ secret: string }>('POST', '/webhooks/endpoints', { body: endpoint })
  backend.trust(secret)
  return { product, pipecore, backend }
}

/** Saves a tenant's account, registers its webhook at the provider and saves the secret that signs it. */
export async function connect(
  { screen, sandbox }: Scene,
  { product, pipecore }: Player,
  { channel, provider, account, credentials }: Connection,
  isActive = true,
): Promise<Record<string, unknown>> {
  const row = screen.row({ ...who(product, channel, provider), arrow: '·', text: account })
  const config = { tenantId: product.tenantId, channel, provider, credentials, isActive }
  const save = (body: object) => pipecore<SavedConnection>('POST', '/messaging/config/provider', { body })
  const saved = await save(config)
  for (const name of secretNames) {
    if (credentials[name] === undefined) continue
    check(`${name} comes back masked`, saved.credentials[name] !== credentials[name], true)
  }
  row.tick('sealed')
  const secrets = await registerWebhook(
    sandbox,
    { channel, provider, account, credentials },
    saved.webhook_url,
  )
  row.tick('webhook')
  const complete = { ...config, credentials: { ...credentials, ...secrets } }
  // Other credentials make another connection; messages under way end on the one before.
  const { id } = await save(complete)
  const path = `/messaging/config/${product.tenantId}/${id}/check`
  const { ok, notes } = await pipecore<{ ok: boolean; notes: string[] }>('POST', path)
  check(`${providerNames[provider]} accepts the credentials: ${notes.join(' ')}`, ok, true)
  row.tick('checked')
  row.end()
  return complete
}

/** As a person would in the provider's console. Answers what its signatures are checked with. */
async function registerWebhook(
  sandbox: Client,
  { provider, account, credentials }: Connection,
  url: string,
): Promise<Record<string, string>> {
  const put = <View>(body: object) =>
    sandbox<View>('PUT', `/sandbox/accounts/${provider}/${account}`, { body: { webhook_url: url, ...body } })
  const verified_domains = credentials.fromEmail?.split('@').slice(1)
  switch (provider) {
    case 'twilio':
      await put({ token: credentials.authToken })
      return {}
    case 'meta': {
      const appSecret = 'genda_app_secret'
      const { accessToken: token, verifyToken: word } = credentials
      const { handshake } = await put<{ handshake: { ok: boolean } }>({
        token,
        app_secret: appSecret,
        verify_token: word,
      })
      check("PipeCore answers Meta's handshake", handshake.ok, true)
      return { appSecret }
    }
    case 'resend':
      return { webhookSecret: (await put<{ signing_secret: string }>({ verified_domains })).signing_secret }
    case 'sendgrid':
      return { webhookPublicKey: (await put<{ public_key: string }>({ verified_domains })).public_key }
  }
}
