import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'

const minutes = (least: number, most: number) => z.number().int().min(least).max(most)

const anyRule = {
  active: z.boolean().default(true),
  healthy_checks: z
    .number()
    .int()
    .min(1)
    .max(60)
    .default(3)
    .meta({ description: 'Checks in a row, one a minute, that must find it mended before it is over.' }),
}

export const RuleSettings = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('provider_failing'),
    ...anyRule,
    share: z.number().min(0.05).max(1).default(0.5).meta({ description: 'Of the calls of one connection.' }),
    window_minutes: z.union([z.literal(5), z.literal(10), z.literal(30), z.literal(60)]).default(10),
    at_least: z
      .number()
      .int()
      .min(1)
      .max(1000)
      .default(5)
      .meta({ description: 'Failed calls in that time.' }),
  }),
  z.strictObject({
    kind: z.literal('endpoint_failing'),
    ...anyRule,
    for_minutes: minutes(0, 10_080).default(10),
  }),
  z.strictObject({
    kind: z.literal('backlog'),
    ...anyRule,
    older_than_minutes: minutes(1, 10_080).default(15),
  }),
  z.strictObject({
    kind: z.literal('silence'),
    ...anyRule,
    source: z.enum(['event', 'inbound_webhook']),
    name: z.string().min(1).max(100).meta({ description: 'The type of the event, or the provider.' }),
    within_minutes: minutes(5, 10_080),
  }),
])
export type RuleSettings = z.infer<typeof RuleSettings>

export const Rule = z.object({
  name: z.string(),
  default: z.boolean().meta({ description: 'Not saved by the tenant: as it is for everybody.' }),
  settings: z.record(z.string(), z.unknown()),
})

export const Contact = z.strictObject({
  channel: z.enum(['email', 'whatsapp']),
  address: z.string().min(3).max(320),
  language: z.enum(['es', 'en']).default('es'),
  template: z.string().min(1).max(100).optional().meta({
    description:
      'WhatsApp: a template with the variables title and text, for when the 24-hour window is closed.',
  }),
})
export type Contact = z.infer<typeof Contact>

export const Contacts = z.strictObject({ contacts: z.array(Contact).max(10) })
export type Contacts = z.infer<typeof Contacts>

const Notice = z.object({
  phase: z.enum(['raised', 'resolved']),
  channel: z.string(),
  address: z.string(),
  message_id: z.string().nullable(),
  problem: z.string().nullable(),
  told_at: z.iso.datetime(),
})

export const Incident = z.object({
  id: z.string(),
  tenant_id: z.string(),
  rule: z.string(),
  kind: z.string(),
  subject: z.string(),
  details: z.record(z.string(), z.unknown()),
  state: z.enum(['open', 'resolved']),
  opened_at: z.iso.datetime(),
  resolved_at: z.iso.datetime().nullable(),
  notices: z.array(Notice),
})
export type Incident = z.infer<typeof Incident>

export const IncidentQuery = z.strictObject({
  ...pageQuery,
  tenant_id: z.string().max(64),
  state: z.enum(['open', 'resolved']).optional(),
})
export type IncidentQuery = z.infer<typeof IncidentQuery>
