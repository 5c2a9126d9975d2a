import type { Module } from '#core/module.ts'
import { createDispatcher } from './dispatch.ts'
import { gauges } from './metrics/gauges.ts'
import { ownEvents } from './own-events.ts'
import { routes } from './routes.ts'

export { readEventsOf, readFollowing, readOwnEvents } from './event-log.ts'
export { eventRecording, type NewEvent, recordEvents } from './events.ts'
export { eventEnvelope } from './own-events.ts'
export { Delivery, EventSummary } from './schema.ts'
export { findEventsSince, listFailingEndpoints } from './watched.ts'

export const outboundWebhooks: Module = {
  name: 'webhooks/outbound',
  needs: ['tenants', 'jobs'],
  migrations: new URL('./migrations/', import.meta.url),
  events: ownEvents,
  routes,
  gauges,
  workers: (context) => [createDispatcher(context)],
}
