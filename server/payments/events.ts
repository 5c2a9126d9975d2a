import { z } from 'zod'
import type { TenantScope } from '#core/database.ts'
import type { EventType } from '#core/module.ts'
import { eventEnvelope, type NewEvent } from '#webhooks/outbound'
import type { Failure } from './providers/provider.ts'
import { presentFailure } from './presentation.ts'
import type { PaymentRow, RefundRow } from './queries.ts'
import { FailureView } from './schema.ts'

const paymentFields = {
  payment_id: z.string().meta({ description: 'pay_…' }),
  amount: z.number().int().meta({ description: 'What was asked for, in minor units.' }),
  currency: z.string().meta({ description: 'ISO 4217.' }),
  status: z.string().meta({ description: 'Of the payment: confirmed when the money was taken.' }),
  captured: z.number().int().meta({ description: 'Taken so far, in minor units.' }),
  refunded: z.number().int().meta({ description: 'Given back so far, in minor units.' }),
  provider: z.string(),
  provider_payment_id: z.string().nullable(),
  checkout_id: z.string().nullable(),
  subscription_id: z.string().nullable(),
  reference: z.string().nullable().meta({ description: 'Your own id, such as the order.' }),
  metadata: z.record(z.string(), z.string()),
  failure: FailureView.nullable(),
}
const refundFields = {
  refund_id: z.string().meta({ description: 'rfd_…' }),
  refund_amount: z.number().int().meta({ description: 'Of this refund, in minor units.' }),
  refund_status: z.string(),
  refund_reference: z.string().nullable(),
  source: z
    .enum(['api', 'provider'])
    .meta({ description: 'provider: made at the provider, not through us.' }),
}

function typeOf(name: string, description: string, fields: z.ZodRawShape): EventType {
  return { name, version: 1, description, schema: z.object({ ...eventEnvelope, ...fields }) }
}

const aboutPayments: ReadonlyArray<[name: string, description: string]> = [
  ['payment.created', 'PipeCore took the payment and called its provider.'],
  ['payment.requires_action', 'The customer has to do something: next_action of the payment says what.'],
  ['payment.pending', 'The provider waits for the customer to pay, for instance in cash.'],
  ['payment.processing', 'The provider is working on it and will tell.'],
  ['payment.authorized', 'The money is held; capture it.'],
  ['payment.confirmed', 'The money was taken.'],
  ['payment.failed', 'No money was taken; failure says why.'],
  ['payment.canceled', 'It was canceled before money was taken.'],
  ['payment.expired', 'The time to pay, or to capture, is over.'],
  ['payment.unknown', 'The call left and no answer came. It is looked up and never repeated blindly.'],
  ['checkout.completed', 'The customer paid at the checkout, or the money is held.'],
  ['checkout.failed', 'The checkout ended without a payment.'],
  ['checkout.expired', 'Nobody paid at the checkout in time.'],
  ['checkout.canceled', 'The customer gave the checkout up.'],
]

const aboutRefunds: ReadonlyArray<[name: string, description: string]> = [
  ['payment.refunded', 'Money was given back, all or a part; once per refund.'],
  ['refund.created', 'A refund was asked for, or was found at the provider.'],
  ['refund.succeeded', 'The provider gave the money back.'],
  ['refund.failed', 'The provider could not give the money back.'],
  ['refund.canceled', 'The refund was canceled at the provider.'],
  ['refund.unknown', 'The call left and no answer came. It is looked up before anything is repeated.'],
]

export const paymentEventTypes: readonly EventType[] = [
  ...aboutPayments.map(([name, description]) => typeOf(name, description, paymentFields)),
  ...aboutRefunds.map(([name, description]) =>
    typeOf(name, description, { ...paymentFields, ...refundFields }),
  ),
  typeOf('payment.disputed', 'The customer disputes it at the bank, or the dispute moved.', {
    ...paymentFields,
    dispute: z.enum(['open', 'under_review', 'won', 'lost']),
  }),
  typeOf(
    'payment.drift_detected',
    'The provider has it otherwise than PipeCore knew. What can be mended is mended with it.',
    {
      ...paymentFields,
      drift: z.string().meta({ description: 'refund_outside, status_moved, amount_differs, paid_twice.' }),
      known: z.string(),
      found: z.string(),
    },
  ),
]

function dataOf(payment: PaymentRow): Record<string, unknown> {
  return {
    payment_id: payment.id,
    amount: payment.amount,
    currency: payment.currency,
    status: payment.status,
    captured: payment.captured,
    refunded: payment.refunded,
    provider: payment.provider,
    provider_payment_id: payment.provider_payment_id,
    checkout_id: payment.checkout_id,
    subscription_id: payment.subscription_id,
    reference: payment.reference,
    metadata: JSON.parse(payment.metadata),
    failure: payment.failure === null ? null : presentFailure(JSON.parse(payment.failure) as Failure),
  }
}

/** An event about a payment as it stands now. */
export function eventAbout(
  payment: PaymentRow,
  type: string,
  occurredAt: Date,
  extra: Readonly<Record<string, unknown>> = {},
): NewEvent {
  return { type, entity: payment.id, occurredAt, data: { ...dataOf(payment), ...extra } }
}

export function eventAboutRefund(
  payment: PaymentRow,
  refund: RefundRow,
  type: string,
  occurredAt: Date,
): NewEvent {
  return eventAbout(payment, type, occurredAt, {
    refund_id: refund.id,
    refund_amount: refund.amount,
    refund_status: refund.status,
    refund_reference: refund.reference,
    source: refund.source,
  })
}

/** Everything about a payment is told under the trace it began with. */
export function traceOf(scope: TenantScope, subject: { trace_id: string }): TenantScope {
  return { ...scope, traceId: subject.trace_id }
}
