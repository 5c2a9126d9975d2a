import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'
import { Customer, FailureView, MethodSummary, NextAction } from '../schema.ts'

const id = z.string().min(1).max(64)
const webUrl = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).max(2000)

export const NewMethod = z
  .strictObject({
    tenant_id: id,
    provider: z.string().min(1).max(50).optional().meta({ description: "Else the tenant's first that can." }),
    customer: Customer,
    token: z.string().min(1).max(300).optional().meta({
      description: "What the provider's browser library made. Without it the customer enters the card there.",
    }),
    return_url: webUrl.optional().meta({ description: 'Where the customer goes after entering the card.' }),
  })
  .refine(({ token, return_url: url }) => token !== undefined || url !== undefined, {
    path: ['return_url'],
    message: 'is missing: give a token, or a return_url for the page where the customer enters the card',
  })
export type NewMethod = z.infer<typeof NewMethod>

const Status = z.enum(['pending', 'active', 'failed', 'canceled', 'removed'])

export const Method = z.object({
  id: z.string(),
  tenant_id: z.string(),
  provider: z.string(),
  status: Status,
  customer: Customer,
  summary: MethodSummary.nullable(),
  next_action: NextAction.nullable(),
  failure: FailureView.nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})
export type Method = z.infer<typeof Method>

export const MethodQuery = z.strictObject({
  ...pageQuery,
  tenant_id: id,
  customer_reference: z.string().max(100).optional(),
  status: Status.optional(),
})
export type MethodQuery = z.infer<typeof MethodQuery>
