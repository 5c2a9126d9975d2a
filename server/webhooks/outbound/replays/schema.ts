import { z } from 'zod'
import { eventFilter } from '../schema.ts'

const replayStates = ['dead', 'pending_late', 'delivered', 'never_fanned_out'] as const
export type ReplayState = (typeof replayStates)[number]

/** More are named one by one. */
export const mostEndpoints = 200

const explainedStates =
  'dead: given up. pending_late: failed and waiting for its next try, which is brought forward. delivered: the endpoint answered 2xx. never_fanned_out: the endpoint was not there, was off, or did not want it then.'

export const NewReplay = z.strictObject({
  product_id: z.string().optional().meta({ description: 'Needed with an admin key.' }),
  endpoint_ids: z
    .array(z.string().max(100))
    .min(1)
    .max(mostEndpoints)
    .optional()
    .meta({ description: 'Default: every active endpoint that the events may go to.' }),
  tenant_ids: z.array(z.string().max(63)).min(1).max(200).optional().meta({ description: 'Default: all.' }),
  types: z.array(eventFilter).min(1).max(100).optional().meta({ description: 'Default: all.' }),
  from: z.iso.datetime({ offset: true }).meta({ description: 'Events recorded from then on.' }),
  to: z.iso.datetime({ offset: true }).optional().meta({ description: 'Before then; default: now.' }),
  states: z
    .array(z.enum(replayStates))
    .min(1)
    .max(replayStates.length)
    .optional()
    .meta({ description: `What became of an event at an endpoint; default: all. ${explainedStates}` }),
  include_delivered: z.boolean().default(false).meta({
    description: 'Also sends what the endpoint has acknowledged; it is left out otherwise.',
  }),
  rate: z
    .number()
    .min(0.1)
    .max(1000)
    .default(50)
    .meta({ description: 'Deliveries a second to each endpoint, at most.' }),
  dry_run: z.boolean().default(false).meta({ description: 'Only tells what would be sent.' }),
})
export type NewReplay = z.infer<typeof NewReplay>

export const ReplayForecast = z.object({
  to_send: z.number().int(),
  counts: z.array(
    z.object({
      endpoint_id: z.string(),
      type: z.string(),
      state: z.enum([...replayStates, 'waiting', 'body_gone']).meta({
        description: `${explainedStates} waiting: it is on its way, and is left alone. body_gone: past the raw_retention_days of its tenant, so there is nothing to send; no filter is applied.`,
      }),
      events: z.number().int(),
      sends: z.boolean(),
    }),
  ),
  looked_at: z.number().int().meta({ description: 'Events, once for each endpoint.' }),
  complete: z.boolean().meta({
    description: 'false: there is more than a dry run looks at; the counts are those of the first part.',
  }),
})
export type ReplayForecast = z.infer<typeof ReplayForecast>

export const ReplaySummary = z.object({
  id: z.string(),
  product_id: z.string(),
  tenant_id: z.string().nullable(),
  state: z.enum(['running', 'paused', 'canceled', 'done']),
  tenant_ids: z.array(z.string()).nullable(),
  types: z.array(z.string()).nullable(),
  states: z.array(z.enum(replayStates)),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  rate: z.number(),
  looked_at: z.number().int(),
  sent: z.number().int(),
  created_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
})
export type ReplaySummary = z.infer<typeof ReplaySummary>

export const Replay = ReplaySummary.extend({
  endpoints: z.array(
    z.object({
      endpoint_id: z.string(),
      looked_at: z.number().int(),
      sent: z.number().int(),
      at: z.iso.datetime().meta({ description: 'Events recorded before then are decided on.' }),
      waiting_for: z.enum(['backlog', 'endpoint_off', 'endpoint_paused']).nullable(),
      error: z.string().nullable().meta({ description: 'Why it stopped; resume tries again.' }),
      ended_at: z.iso.datetime().nullable(),
    }),
  ),
})
export type Replay = z.infer<typeof Replay>
