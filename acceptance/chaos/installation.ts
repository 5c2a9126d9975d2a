import {
  type Client,
  createClient,
  type PipeCore,
  type Sandbox,
  startPipeCore,
  startSandbox,
  type Test,
} from '../harness.ts'
import { type Receiver, startReceiver } from '../kill/receiver.ts'
import type { AccountKind } from './accounts.ts'
import { type Clock, createClock } from './clock.ts'
import { createNews, type News } from './news.ts'
import type { ProviderId } from './plan.ts'
import { openShop, type Shop } from './shops.ts'

export interface Installation {
  sandbox: Sandbox
  receiver: Receiver
  news: News
  /** The whole server in one process: it answers, works, and is killed. */
  api: PipeCore
  clock: Clock
  admin: Client
  /** Of the product's backend. */
  key: string
  shops: Record<AccountKind, Shop[]>
}

export interface InstallationOptions {
  seed: number
  providers: readonly ProviderId[]
  /** Of each provider and kind: an account has to list what was paid there lately. */
  shops: number
}

const env = {
  PIPECORE_LOG_LEVEL: 'info',
  PIPECORE_PROVIDER_TIMEOUT_MS: '1000',
  PIPECORE_ENDPOINT_TIMEOUT_MS: '10000',
}
const productId = 'shop'
const eventsPath = '/events'

/** PipeCore with shops at the payment providers and a backend that hears of every event. */
export async function startInstallation(test: Test, options: InstallationOptions): Promise<Installation> {
  const sandbox = await startSandbox(test)
  const news = createNews()
  const receiver = await startReceiver(test, (text) => news.hear(text))
  const clock = await createClock(test)
  const api = await startPipeCore(test, { sandbox, env: { ...env, ...clock.env } })
  const admin = createClient(api.url, api.adminKey)
  // Callbacks outlast every outage.
  await sandbox.control('PATCH', '/settings', {
    callback_delay_ms: 40,
    late_ms: 1_500,
    patience_ms: 3_600_000,
    random_seed: options.seed,
  })
  await admin.ok('POST', '/products', { id: productId, name: productId })
  const { key } = await admin.ok<{ key: string }>('POST', `/products/${productId}/keys`, { name: 'backend' })
  const endpoint = { url: receiver.url + eventsPath, product_id: productId }
  const { secret } = await admin.ok<{ secret: string }>('POST', '/webhooks/endpoints', endpoint)
  receiver.trust(eventsPath, secret)
  const opening = { admin, sandbox, publicUrl: api.url, productId }
  const shops: Installation['shops'] = { usual: [], holding: [] }
  for (const provider of options.providers) {
    for (let number = 1; number <= options.shops; number += 1) {
      shops.usual.push(await openShop(opening, provider, 'usual', number))
      if (provider === 'transbank') shops.holding.push(await openShop(opening, provider, 'holding', number))
    }
  }
  return { sandbox, receiver, news, api, clock, admin, key, shops }
}
