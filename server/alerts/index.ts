import type { Module } from '#core/module.ts'
import { eventTypes } from './events.ts'
import { jobs } from './jobs.ts'
import { routes } from './routes.ts'

export const alerts: Module = {
  name: 'alerts',
  needs: ['tenants', 'jobs', 'connections', 'webhooks/inbound', 'webhooks/outbound', 'messaging', 'payments'],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs,
  events: eventTypes,
}
