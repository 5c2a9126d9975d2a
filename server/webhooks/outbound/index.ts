import { z } from 'zod'
import type { Module } from '#core/module.ts'
import { createDispatcher } from './dispatch.ts'
import { routes } from './routes.ts'

export { readEventsOf } from './event-log.ts'
export { eventRecording, type NewEvent, recordEvents } from './events.ts'
export { Delivery, EventSummary } from './schema.ts'

/** Fields that every event's body starts with. */
export const eventEnvelope = {
  id: z.string().meta({ description: 'evt_…; the same at every attempt and replay: deduplicate by it.' }),
  event: z.string(),
  tenant_id: z.string(),
  occurred_at: z.iso.datetime(),
  trace_id: z.string(),
}

export const outboundWebhooks: Module = {
  name: 'webhooks/outbound',
  needs: ['tenants', 'jobs'],
  migrations: new URL('./migrations/', import.meta.url),
  events: [
    {
      name: 'webhook.test',
      version: 1,
      description: 'Sent by POST /webhooks/endpoints/:id/test, to try an endpoint.',
      schema: z.object({ ...eventEnvelope, tenant_id: z.string().nullable(), endpoint_id: z.string() }),
    },
  ],
  routes,
  workers: (context) => [createDispatcher(context)],
}
