import { z } from 'zod'
import type { EventType } from '#core/module.ts'
import { eventEnvelope } from '#webhooks/outbound'

const incidentFields = {
  ...eventEnvelope,
  incident_id: z.string(),
  rule: z.string(),
  kind: z.enum(['provider_failing', 'endpoint_failing', 'backlog', 'silence']),
  subject: z.string(),
  details: z.record(z.string(), z.unknown()),
  opened_at: z.iso.datetime(),
}

export const eventTypes: readonly EventType[] = [
  {
    name: 'alert.raised',
    version: 1,
    description: 'Something of the tenant needs somebody; told once for each incident.',
    schema: z.object(incidentFields),
  },
  {
    name: 'alert.resolved',
    version: 1,
    description: 'An incident is over: several checks in a row found it mended.',
    schema: z.object({ ...incidentFields, resolved_at: z.iso.datetime() }),
  },
]
