import { z } from 'zod'
import type { EventType, Module } from '#core/module.ts'

/** Fields that every event's body starts with. */
export const eventEnvelope = {
  id: z.string().meta({ description: 'evt_…; the same at every attempt and replay: deduplicate by it.' }),
  event: z.string(),
  tenant_id: z.string(),
  occurred_at: z.iso.datetime(),
  trace_id: z.string(),
}

const aboutEndpoint = {
  ...eventEnvelope,
  tenant_id: z.string().nullable().meta({ description: 'null for an endpoint of a whole product.' }),
  endpoint_id: z.string(),
  url: z.string(),
  failing_since: z.iso.datetime().nullable(),
  last_error: z.string().nullable(),
}

/** Events about delivering events. */
export const ownEvents: readonly EventType[] = [
  {
    name: 'webhook.test',
    version: 1,
    description: 'Sent by POST /webhooks/endpoints/:id/test, to try an endpoint.',
    schema: z.object({ ...eventEnvelope, tenant_id: z.string().nullable(), endpoint_id: z.string() }),
  },
  {
    name: 'endpoint.failing',
    version: 1,
    description:
      'An endpoint has only failed for half of the time after which it is disabled; again at 70, 90 and 100 %.',
    schema: z.object({ ...aboutEndpoint, percent: z.number().int() }),
  },
  {
    name: 'endpoint.disabled',
    version: 1,
    description:
      'An endpoint only failed for too long and gets no more events until it is switched on again.',
    schema: z.object(aboutEndpoint),
  },
  {
    name: 'endpoint.recovered',
    version: 1,
    description: 'An endpoint that was paused or reported takes events again; what waited is on its way.',
    schema: z.object(aboutEndpoint),
  },
  {
    name: 'endpoint.version_withdrawn',
    version: 1,
    description:
      'A version that an endpoint pins is no longer supported, or its type was deleted: the pin is gone, and the endpoint is sent what is published.',
    schema: z.object({
      ...eventEnvelope,
      tenant_id: z.string().nullable().meta({ description: 'null for an endpoint of a whole product.' }),
      endpoint_id: z.string(),
      url: z.string(),
      type: z.string().meta({ description: 'Such as order.paid.' }),
      version: z.number().int().meta({ description: 'The one that was pinned.' }),
      newest_version: z.number().int().nullable().meta({ description: 'null when the type was deleted.' }),
    }),
  },
  {
    name: 'audit.sealed',
    version: 1,
    description:
      'Once a day while something was delivered: the newest block of the audit chain. Keep it; `npm run verify-audit` holds exports against it.',
    schema: z.object({
      ...eventEnvelope,
      tenant_id: z.string().nullable().meta({ description: 'null for the own chain of a product.' }),
      block: z.number().int(),
      hash: z.string(),
      key_id: z.string(),
      public_key: z.string(),
    }),
  },
]

export function typesOf(modules: readonly Module[]): readonly EventType[] {
  return modules.flatMap((module) => module.events ?? [])
}
