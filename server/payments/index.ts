import type { Module } from '#core/module.ts'
import { paymentEventTypes } from './events.ts'
import { jobs } from './jobs.ts'
import { methodEventTypes } from './methods/events.ts'
import { paymentProviders } from './providers/index.ts'
import { routes } from './routes.ts'
import { subscriptionEventTypes } from './subscriptions/events.ts'
import { webhookReader } from './webhook-reader.ts'

export { countPaymentCalls } from './call-counts.ts'

export const paymentProviderIds = paymentProviders.map((provider) => provider.id)

export const payments: Module = {
  name: 'payments',
  needs: ['tenants', 'jobs', 'connections', 'webhooks/inbound', 'webhooks/outbound'],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs,
  events: [...paymentEventTypes, ...methodEventTypes, ...subscriptionEventTypes],
  webhookReader,
}
