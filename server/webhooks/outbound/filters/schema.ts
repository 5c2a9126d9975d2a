import { z } from 'zod'
import type { BodyFilter } from './body-filter.ts'
import { findFilterFaults } from './filter-faults.ts'

const description =
  'A match on the body, such as {"amount": {"$gte": 10000}, "currency": ["CLP", "USD"]}: other events make no delivery.'

const filter: z.ZodType<BodyFilter> = z
  .record(z.string(), z.unknown())
  .superRefine((given, context) => {
    for (const fault of findFilterFaults(given)) context.addIssue({ code: 'custom', ...fault })
  })
  .meta({ description })

export const Filter = filter.nullable()
export const ShownFilter = z.record(z.string(), z.unknown()).nullable().meta({ description })

export const FilterTest = z
  .strictObject({
    event_id: z.string().optional().meta({ description: 'A stored event to try.' }),
    body: z.record(z.string(), z.unknown()).optional().meta({ description: 'A body to try.' }),
    filter: filter.optional().meta({ description: 'Tried instead of the filter that the endpoint has.' }),
  })
  .refine((input) => (input.event_id === undefined) !== (input.body === undefined), {
    message: 'name either event_id or body',
    path: ['event_id'],
  })
export type FilterTest = z.infer<typeof FilterTest>

export const FilterTestResult = z.object({
  matches: z.boolean(),
  failed: z
    .array(z.object({ field: z.string(), expected: z.unknown() }))
    .meta({ description: 'Conditions that the body does not fulfil, as they stand in the filter.' }),
})
export type FilterTestResult = z.infer<typeof FilterTestResult>
