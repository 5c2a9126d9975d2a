import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'
import {
  amount,
  currency,
  Customer,
  FailureView,
  line,
  Metadata,
  NextAction,
  reference,
  tenantId,
  webUrl,
} from '../schema.ts'

const SubscriptionStatus = z.enum([
  'pending',
  'trialing',
  'active',
  'past_due',
  'paused',
  'canceled',
  'expired',
  'unknown',
])

const Interval = z.object({
  every: z.enum(['day', 'week', 'month', 'year']),
  count: z.number().int(),
})

const mostPerYear = { day: 365, week: 52, month: 12, year: 1 }
const NewInterval = z
  .strictObject({ ...Interval.shape, count: z.number().int().min(1).default(1) })
  .refine(({ every, count }) => count <= mostPerYear[every], {
    path: ['count'],
    message: 'is too many: a period lasts a year at most',
  })
const methodId = line(60).meta({ description: 'A saved method (pmt_…).' })

export const NewSubscription = z
  .strictObject({
    tenant_id: tenantId,
    amount: amount.meta({ description: 'Of each period, in minor units of ISO 4217.' }),
    currency,
    interval: NewInterval,
    description: line(200).meta({ description: 'What the customer reads on the statement or the page.' }),
    provider: line(50).optional().meta({ description: "Else the tenant's first that can." }),
    method_id: methodId.optional(),
    token: line(300).optional().meta({ description: "One-time token of the provider's browser library." }),
    brand: line(40).optional().meta({ description: 'With a MercadoPago token: its payment_method_id.' }),
    issuer: line(40).optional().meta({ description: 'With a MercadoPago token: its issuer_id.' }),
    return_url: webUrl.optional().meta({
      description:
        'Without method_id and token the customer subscribes on a page of the provider, and ends here.',
    }),
    trial_days: z.number().int().min(1).max(730).optional(),
    reference,
    customer: Customer.default({}),
    metadata: Metadata,
  })
  .refine((request) => request.method_id === undefined || request.token === undefined, {
    path: ['token'],
    message: 'give either method_id or token',
  })
export type NewSubscription = z.infer<typeof NewSubscription>

export const SubscriptionPatch = z
  .strictObject({
    amount: amount.optional().meta({ description: 'From the next period on.' }),
    method_id: methodId.optional().meta({ description: 'What is past due is tried with it at once.' }),
    paused: z
      .boolean()
      .optional()
      .meta({ description: 'The date runs on; what passes meanwhile is not charged.' }),
    cancel_at_period_end: z.boolean().optional(),
  })
  .refine((request) => Object.values(request).some((value) => value !== undefined), {
    message: 'name what to change: amount, method_id, paused or cancel_at_period_end',
  })
export type SubscriptionPatch = z.infer<typeof SubscriptionPatch>

export const Subscription = z.object({
  id: z.string(),
  tenant_id: z.string(),
  provider: z.string(),
  status: SubscriptionStatus,
  amount: z.number().int(),
  currency: z.string(),
  interval: Interval,
  description: z.string(),
  next_action: NextAction.nullable(),
  failure: FailureView.nullable().meta({ description: 'Why the latest charge, or the beginning, failed.' }),
  under_way: z
    .object({ operation: z.string(), state: z.enum(['running', 'unknown']) })
    .nullable()
    .meta({ description: 'A call without a known end. unknown: it left, no answer came, it is looked up.' }),
  method_id: z.string().nullable(),
  trial_end: z.iso.datetime().nullable(),
  period_start: z.iso.datetime().nullable(),
  period_end: z.iso.datetime().nullable().meta({ description: 'Then the next period is charged.' }),
  cancel_at_period_end: z.boolean(),
  renewed_by: z.enum(['provider', 'pipecore']).meta({
    description:
      'pipecore: the provider knows no subscriptions, PipeCore charges the saved method each period.',
  }),
  provider_subscription_id: z.string().nullable(),
  reference: z.string().nullable(),
  customer: Customer,
  metadata: z.record(z.string(), z.string()),
  trace_id: z.string(),
  created_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
})
export type Subscription = z.infer<typeof Subscription>

const Charge = z.object({
  status: z.enum(['scheduled', 'paid', 'retrying', 'failed']),
  amount: z.number().int(),
  currency: z.string(),
  period_start: z.iso.datetime().nullable(),
  period_end: z.iso.datetime().nullable(),
  attempt: z.number().int(),
  payment_id: z.string().nullable().meta({ description: 'Refund it with POST /payments/:id/refunds.' }),
  provider_charge_id: z.string(),
  failure: FailureView.nullable(),
  created_at: z.iso.datetime(),
})
export type Charge = z.infer<typeof Charge>

export const SubscriptionStory = Subscription.extend({
  charges: z.array(Charge).meta({ description: 'The latest 100, newest first.' }),
})
export type SubscriptionStory = z.infer<typeof SubscriptionStory>

export const SubscriptionQuery = z.strictObject({
  ...pageQuery,
  tenant_id: tenantId,
  provider: line(50).optional(),
  status: SubscriptionStatus.optional(),
  reference,
  customer_reference: line(100).optional(),
})
export type SubscriptionQuery = z.infer<typeof SubscriptionQuery>
