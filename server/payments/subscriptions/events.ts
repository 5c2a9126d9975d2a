import { z } from 'zod'
import type { EventType } from '#core/module.ts'
import { eventEnvelope, type NewEvent } from '#webhooks/outbound'
import { presentFailureText } from '../presentation.ts'
import type { Customer } from '../providers/provider.ts'
import { FailureView } from '../schema.ts'
import type { ChargeRow, SubscriptionRow } from './queries.ts'

const fields = {
  subscription_id: z.string().meta({ description: 'sub_…' }),
  status: z.string().meta({ description: 'Of the subscription now.' }),
  amount: z.number().int().meta({ description: 'Of the period this is about, in minor units.' }),
  currency: z.string().meta({ description: 'ISO 4217.' }),
  interval: z.enum(['day', 'week', 'month', 'year']),
  interval_count: z.number().int(),
  period_start: z.iso.datetime().nullable(),
  period_end: z.iso.datetime().nullable(),
  trial_end: z.iso.datetime().nullable(),
  cancel_at_period_end: z.boolean(),
  payment_id: z.string().nullable().meta({ description: 'Of the charge this is about, where there is one.' }),
  method_id: z.string().nullable(),
  provider: z.string(),
  provider_subscription_id: z.string().nullable(),
  reference: z.string().nullable().meta({ description: 'Your own id.' }),
  customer_reference: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  failure: FailureView.nullable(),
}

const tryFields = {
  attempt: z.number().int().meta({ description: '1 for the first of this period.' }),
  next_attempt_at: z.iso
    .datetime()
    .nullable()
    .meta({ description: 'null: it is not tried again, or the provider does not say when.' }),
}

function typeOf(name: string, description: string, extra: z.ZodRawShape = {}): EventType {
  return {
    name: `subscription.${name}`,
    version: 1,
    description,
    schema: z.object({ ...eventEnvelope, ...fields, ...extra }),
  }
}

export const subscriptionEventTypes: readonly EventType[] = [
  typeOf('created', 'PipeCore took the subscription.'),
  typeOf('activated', 'It began: the first period was paid, or the provider will charge it by itself.'),
  typeOf('renewed', 'A further period was paid; payment_id is its payment. Once per period.'),
  typeOf('payment_failed', 'A try to charge a period failed. Once per try.', tryFields),
  typeOf('past_due', 'A period is not paid and will be tried again. Once per period.'),
  typeOf('paused', 'Nothing is charged until it is resumed.'),
  typeOf('resumed', 'It is charged again from the next period on.'),
  typeOf('updated', 'Amount, method or cancel_at_period_end changed, here or at the provider.'),
  typeOf('canceled', 'It ended: asked for, or because no try to charge a period succeeded.'),
  typeOf('expired', 'It never began; failure says why.'),
]

const time = (date: Date | null) => date?.toISOString() ?? null

/** An event about a subscription as it stands now, and about one of its charges. */
export function eventAboutSubscription(
  row: SubscriptionRow,
  name: string,
  occurredAt: Date,
  charge?: ChargeRow,
): NewEvent {
  const period = charge?.period_start ? charge : row
  return {
    type: `subscription.${name}`,
    entity: row.id,
    occurredAt,
    data: {
      subscription_id: row.id,
      status: row.status,
      amount: charge?.amount ?? row.amount,
      currency: row.currency,
      interval: row.every,
      interval_count: row.every_count,
      period_start: time(period.period_start),
      period_end: time(period.period_end),
      trial_end: time(row.trial_end),
      cancel_at_period_end: row.cancel_at_period_end,
      payment_id: charge?.payment_id ?? null,
      method_id: row.method_id,
      provider: row.provider,
      provider_subscription_id: row.provider_subscription_id,
      reference: row.reference,
      customer_reference: (JSON.parse(row.customer) as Customer).reference ?? null,
      metadata: JSON.parse(row.metadata),
      failure: presentFailureText(charge?.failure ?? row.failure),
    },
  }
}

export function eventAboutTry(
  row: SubscriptionRow,
  charge: ChargeRow,
  nextAttemptAt: Date | undefined,
  occurredAt: Date,
): NewEvent {
  const event = eventAboutSubscription(row, 'payment_failed', occurredAt, charge)
  return {
    ...event,
    data: { ...event.data, attempt: charge.attempt, next_attempt_at: nextAttemptAt?.toISOString() ?? null },
  }
}
