import { z } from 'zod'

const sequence = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const mostListed = 1_000

export const FeedQuery = z.strictObject({
  after: z.coerce
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .meta({ description: 'The last sequence you have; default: what you have acknowledged.' }),
  limit: z.coerce.number().int().min(1).max(200).default(50),
})
export type FeedQuery = z.infer<typeof FeedQuery>

const FeedEntry = z.object({
  sequence: z.number().int().meta({ description: 'As in `webhook-sequence`.' }),
  event_id: z.string(),
  state: z.enum(['pending', 'delivered', 'acknowledged', 'dead']),
  delivered_at: z.iso.datetime().nullable().meta({ description: 'When a call of ours was answered 2xx.' }),
  acknowledged_at: z.iso.datetime().nullable(),
  attempts: z.number().int().meta({ description: 'Calls that have ended.' }),
  version: z.number().int().nullable().meta({ description: 'Of `body`, as in `webhook-version`.' }),
  body: z.record(z.string(), z.unknown()).nullable().meta({
    description:
      'As it is posted; null when the event, or its body alone, is past its retention, or has no shape of the version that the endpoint pins.',
  }),
})
export type FeedEntry = z.infer<typeof FeedEntry>

export const Feed = z.object({
  data: z.array(FeedEntry),
  next_after: z.number().int().meta({ description: '`after` of the next page.' }),
  last_sequence: z.number().int().meta({ description: 'The highest that was given so far.' }),
  acknowledged_through: z.number().int(),
})
export type Feed = z.infer<typeof Feed>

export const Acknowledgement = z
  .strictObject({
    through: sequence.optional().meta({ description: 'Everything up to this sequence.' }),
    sequences: z.array(sequence).min(1).max(mostListed).optional(),
  })
  .refine((input) => (input.through === undefined) !== (input.sequences === undefined), {
    message: 'name either through or sequences',
    path: ['through'],
  })
export type Acknowledgement = z.infer<typeof Acknowledgement>

export const Acknowledged = z.object({
  acknowledged_through: z.number().int(),
  ended: z.number().int().meta({ description: 'Deliveries that were open and are not pushed any more.' }),
})
export type Acknowledged = z.infer<typeof Acknowledged>
