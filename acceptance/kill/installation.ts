import {
  type Client,
  createClient,
  eventually,
  type PipeCore,
  type Sandbox,
  startPipeCore,
  startSandbox,
  type Test,
} from '../harness.ts'
import { keyword, listPhones, listSlow, slowMs } from './plan.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { registerWebhook, type Route, routes, tenants, writeAsCustomer } from './routes.ts'

/** `whole`: one process is everything and is killed. `workers`: an API and two workers; one worker is killed. */
export const shapes = ['whole', 'workers'] as const
export type Shape = (typeof shapes)[number]

export interface Installation {
  sandbox: Sandbox
  receiver: Receiver
  /** Answers the API. */
  api: PipeCore
  /** May be killed. */
  victims: PipeCore[]
  admin: Client
  /** A key of each product. */
  keys: Map<string, string>
}

const env = {
  PIPECORE_LOG_LEVEL: 'info',
  PIPECORE_PROVIDER_TIMEOUT_MS: '1500',
  PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
}

/** PipeCore with three tenants, five providers and a backend, ready for messages. */
export async function startInstallation(test: Test, shape: Shape): Promise<Installation> {
  const sandbox = await startSandbox(test)
  const receiver = await startReceiver(test)
  const api = await startPipeCore(test, { sandbox, env, role: shape === 'whole' ? 'all' : 'api' })
  const victims = shape === 'whole' ? [api] : await startWorkers(test, sandbox, api)
  const admin = createClient(api.url, api.adminKey)
  const installation = { sandbox, receiver, api, victims, admin, keys: new Map<string, string>() }
  await prepareSandbox(sandbox)
  for (const tenant of tenants) await makeTenant(installation, tenant)
  for (const route of routes) await connect(installation, route)
  await openWindows(installation)
  return installation
}

function startWorkers(test: Test, sandbox: Sandbox, api: PipeCore): Promise<PipeCore[]> {
  return Promise.all([1, 2].map(() => startPipeCore(test, { sandbox, env, role: 'worker', beside: api })))
}

/** Callbacks outlast every outage; some recipients take a while to be answered. */
async function prepareSandbox(sandbox: Sandbox): Promise<void> {
  await sandbox.control('PATCH', '/settings', {
    callback_delay_ms: 60,
    late_ms: 2_500,
    patience_ms: 3_600_000,
  })
  const providers = new Set(routes.map(({ provider }) => provider))
  for (const provider of providers) {
    for (const to of listSlow()) {
      await sandbox.control('POST', '/faults', { provider, fault: 'slow', match: { to }, after_ms: slowMs })
    }
  }
}

async function makeTenant(
  { admin, receiver, keys }: Installation,
  { productId, tenantId }: { productId: string; tenantId: string },
): Promise<void> {
  await admin.ok('POST', '/products', { id: productId, name: productId })
  await admin.ok('POST', '/tenants', { id: tenantId, product_id: productId, name: tenantId })
  const path = `/events/${productId}`
  const endpoint = { url: receiver.url + path, product_id: productId }
  const { secret } = await admin.ok<{ secret: string }>('POST', '/webhooks/endpoints', endpoint)
  receiver.trust(path, secret)
  const made = await admin.ok<{ key: string }>('POST', `/products/${productId}/keys`, { name: 'backend' })
  keys.set(productId, made.key)
}

async function connect({ admin, sandbox }: Installation, route: Route): Promise<void> {
  const { tenantId, channel, provider } = route
  const save = (credentials: Record<string, string>) =>
    admin.ok<{ webhook_url: string }>('POST', '/messaging/config/provider', {
      tenantId,
      channel,
      provider,
      credentials,
    })
  const { webhook_url: url } = await save(route.credentials)
  const shown = await registerWebhook(sandbox, route, url)
  await save({ ...route.credentials, ...shown })
  await admin.ok('PUT', `/messaging/auto-replies/${tenantId}/hours-${channel}`, {
    channel,
    keywords: [keyword],
    body: 'We are open from 9 to 18.',
  })
}

/** WhatsApp carries free text only to who wrote before. */
async function openWindows({ sandbox, receiver }: Installation): Promise<void> {
  const written: string[] = []
  for (const route of routes.filter(({ channel }) => channel === 'whatsapp')) {
    for (const from of listPhones())
      written.push(await writeAsCustomer(sandbox, route, { from, text: 'hello' }))
  }
  await eventually(() => {
    const texts = [...receiver.arrivals.values()].map(([arrival]) => arrival?.text ?? '').join()
    return written.every((id) => texts.includes(id))
  }, 60_000)
}
