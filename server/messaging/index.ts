import type { Module } from '#core/module.ts'
import { eventTypes } from './events.ts'
import { jobs } from './jobs.ts'
import { messagingProviders } from './providers/index.ts'
import { routes } from './routes.ts'
import { webhookReader } from './webhook-reader.ts'

export { normalizeAddress } from './addresses.ts'
export { countMessagingCalls } from './call-counts.ts'
export { acceptMessage } from './messages.ts'
export { SendRequest } from './schema.ts'

export const messagingProviderIds = messagingProviders.map((provider) => provider.id)

export const messaging: Module = {
  name: 'messaging',
  needs: ['tenants', 'jobs', 'connections', 'webhooks/inbound', 'webhooks/outbound'],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs,
  events: eventTypes,
  webhookReader,
}
