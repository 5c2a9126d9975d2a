import { z } from 'zod'
import { pageQuery } from '#core/pagination.ts'
import { Delivery, EventSummary } from '#webhooks/outbound'
import { failureCodes } from './failures.ts'

const statuses = [
  'requires_action',
  'pending',
  'processing',
  'authorized',
  'confirmed',
  'failed',
  'canceled',
  'expired',
  'unknown',
] as const
const PaymentStatus = z.enum(statuses)
const RefundStatus = z.enum(['pending', 'succeeded', 'failed', 'canceled', 'unknown'])

export const line = (longest: number) =>
  z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\r\n]*$/, 'must be one line')
export const tenantId = z.string().min(1).max(64)
const mostMinor = 1_000_000_000_000
export const amount = z
  .number()
  .int('must be whole minor units: CLP 15990 is 15990, USD 15.99 is 1599')
  .min(1)
  .max(mostMinor)
  .meta({
    description: 'Minor units of ISO 4217: CLP 15990 is 15990, USD 15.99 is 1599, COP 15990 is 1599000.',
  })
export const currency = z
  .string()
  .regex(/^[A-Za-z]{3}$/, 'must be three letters of ISO 4217, such as CLP')
  .toUpperCase()
export const webUrl = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).max(2000)
export const reference = line(200).optional().meta({ description: 'Your own id, such as the order.' })

export const Metadata = z
  .record(
    z.string().regex(/^[\w-]{1,40}$/, 'names have up to 40 letters, digits, _ or -'),
    z.string().max(500),
  )
  .refine((entries) => Object.keys(entries).length <= 20, 'are at most 20')
  .default({})

export const Customer = z.strictObject({
  reference: line(100).optional().meta({ description: 'Your own id of the customer.' }),
  email: z.email().max(254).optional(),
  name: line(200).optional(),
  phone: line(40).optional(),
  document: z.strictObject({ type: line(20), number: line(40) }).optional(),
})
export type Customer = z.infer<typeof Customer>

const common = {
  tenant_id: tenantId,
  amount,
  currency,
  provider: line(50).optional().meta({ description: "Else the tenant's first that takes the currency." }),
  capture: z
    .enum(['automatic', 'manual'])
    .default('automatic')
    .meta({ description: 'manual: the money is held until POST /payments/:id/capture.' }),
  description: line(200).optional(),
  reference,
  customer: Customer.default({}),
  metadata: Metadata,
}

export const NewPayment = z
  .strictObject({
    ...common,
    method_id: line(60).optional().meta({ description: 'A saved method (pmt_…).' }),
    token: line(300).optional().meta({ description: "One-time token of the provider's browser library." }),
    brand: line(40).optional().meta({ description: 'With a MercadoPago token: its payment_method_id.' }),
    issuer: line(40).optional().meta({ description: 'With a MercadoPago token: its issuer_id.' }),
    installments: z.number().int().min(1).max(48).default(1),
    return_url: webUrl.optional().meta({
      description: 'Where the customer goes at the end. Needed unless a saved method or a token pays.',
    }),
    cancel_url: webUrl
      .optional()
      .meta({ description: 'Where a customer goes who gives up. Else return_url.' }),
  })
  .refine((request) => request.method_id === undefined || request.token === undefined, {
    path: ['token'],
    message: 'give either method_id or token',
  })
export type NewPayment = z.infer<typeof NewPayment>

const CheckoutItem = z.strictObject({
  title: line(200),
  quantity: z.number().int().min(1).max(10_000).default(1),
  unit_amount: amount,
})

export const NewCheckout = z
  .strictObject({
    ...common,
    amount: amount.optional().meta({ description: 'Else the sum of the items.' }),
    items: z.array(CheckoutItem).min(1).max(100),
    return_url: webUrl,
    cancel_url: webUrl.optional(),
    expires_at: z.iso.datetime({ offset: true }).optional(),
  })
  .superRefine((request, context) => {
    const sum = request.items.reduce((total, item) => total + item.quantity * item.unit_amount, 0)
    if (sum > mostMinor) {
      context.addIssue({ code: 'custom', path: ['items'], message: `add up to more than ${mostMinor}` })
    }
    if (request.amount !== undefined && request.amount !== sum) {
      context.addIssue({ code: 'custom', path: ['amount'], message: `is not the sum of the items, ${sum}` })
    }
  })
export type NewCheckout = z.infer<typeof NewCheckout>

export const Capture = z
  .strictObject({ amount: amount.optional().meta({ description: 'Else all that is authorized.' }) })
  .nullish()
export const NewRefund = z
  .strictObject({
    amount: amount.optional().meta({ description: 'Else all that is left.' }),
    reason: line(200).optional(),
    reference,
  })
  .nullish()

export const FailureView = z.object({
  code: z.enum(failureCodes),
  provider_code: z.string(),
  retry: z.enum(['same', 'other_method', 'never']).meta({
    description: 'Whether trying again can help: the same way, another method, or not at all.',
  }),
  message_es: z.string().meta({ description: 'For the customer.' }),
  message_en: z.string(),
})

export const NextAction = z.object({
  kind: z.literal('redirect'),
  method: z.enum(['GET', 'POST']),
  url: z.string(),
  fields: z.record(z.string(), z.string()).meta({ description: 'Of the form, when the method is POST.' }),
})

const Possible = z.object({
  until: z.iso.datetime().nullable(),
  amount: z.number().int().meta({ description: 'At most, in minor units.' }),
  note: z.string().nullable(),
})

export const Advice = z.object({
  capture: Possible.nullable(),
  cancel: z.boolean(),
  refund: Possible.extend({
    only_whole: z.boolean(),
    reversal_until: z.iso.datetime().nullable().meta({
      description: "Given back as a whole by then, it never shows on the customer's statement.",
    }),
  }).nullable(),
})

export const MethodSummary = z.object({
  type: z.string(),
  brand: z.string().nullable(),
  last4: z.string().nullable(),
  installments: z.number().int().nullable(),
})

export const Payment = z.object({
  id: z.string(),
  tenant_id: z.string(),
  provider: z.string(),
  status: PaymentStatus,
  amount: z.number().int(),
  currency: z.string(),
  captured: z.number().int(),
  refunded: z.number().int(),
  capture: z.enum(['automatic', 'manual']),
  next_action: NextAction.nullable(),
  failure: FailureView.nullable(),
  dispute: z.string().nullable(),
  under_way: z
    .object({ operation: z.string(), state: z.enum(['running', 'unknown']) })
    .nullable()
    .meta({ description: 'A call without a known end. unknown: it left, no answer came, it is looked up.' }),
  method: MethodSummary.nullable(),
  method_id: z.string().nullable(),
  checkout_id: z.string().nullable(),
  subscription_id: z.string().nullable(),
  provider_payment_id: z.string().nullable(),
  reference: z.string().nullable(),
  description: z.string().nullable(),
  customer: Customer,
  metadata: z.record(z.string(), z.string()),
  possible: Advice,
  trace_id: z.string(),
  created_at: z.iso.datetime(),
  authorized_at: z.iso.datetime().nullable(),
  confirmed_at: z.iso.datetime().nullable(),
  expires_at: z.iso.datetime().nullable(),
})
export type Payment = z.infer<typeof Payment>

export const Checkout = z.object({
  id: z.string(),
  payment_id: z.string(),
  tenant_id: z.string(),
  provider: z.string(),
  status: z.enum(['open', 'processing', 'completed', 'failed', 'canceled', 'expired']),
  url: z
    .string()
    .nullable()
    .meta({ description: 'Send the customer there; null when the action is a form.' }),
  next_action: NextAction.nullable(),
  amount: z.number().int(),
  currency: z.string(),
  items: z.array(z.object({ title: z.string(), quantity: z.number().int(), unit_amount: z.number().int() })),
  reference: z.string().nullable(),
  created_at: z.iso.datetime(),
  expires_at: z.iso.datetime().nullable(),
})
export type Checkout = z.infer<typeof Checkout>

export const Refund = z.object({
  id: z.string(),
  payment_id: z.string(),
  status: RefundStatus,
  amount: z.number().int(),
  currency: z.string(),
  kind: z.enum(['refund', 'reversal']),
  source: z.enum(['api', 'provider']),
  reason: z.string().nullable(),
  reference: z.string().nullable(),
  failure: FailureView.nullable(),
  provider_refund_id: z.string().nullable(),
  created_at: z.iso.datetime(),
  settled_at: z.iso.datetime().nullable(),
})
export type Refund = z.infer<typeof Refund>

export const LogEntry = z.object({
  id: z.string(),
  subject: z.string().meta({ description: 'The payment, method or subscription it is about.' }),
  provider: z.string(),
  action: z.string(),
  outcome: z.string().nullable(),
  note: z.string().nullable(),
  amount: z.number().int().nullable(),
  answer: z.object({ status: z.number().int(), text: z.string() }).nullable().meta({
    description: "The provider's own words, without credentials.",
  }),
  webhook_id: z.string().nullable(),
  duration_ms: z.number().int().nullable(),
  trace_id: z.string(),
  at: z.iso.datetime(),
})
export type LogEntry = z.infer<typeof LogEntry>

export const Story = z.object({
  payment: Payment,
  refunds: z.array(Refund),
  steps: z.array(
    z.object({
      at: z.iso.datetime(),
      text: z.string().meta({ description: 'What happened, in plain words.' }),
      log: LogEntry.nullable(),
      event: EventSummary.extend({ deliveries: z.array(Delivery) }).nullable(),
    }),
  ),
})
export type Story = z.infer<typeof Story>

const time = z.iso.datetime({ offset: true }).optional()

export const PaymentQuery = z.strictObject({
  ...pageQuery,
  tenant_id: tenantId,
  provider: line(50).optional(),
  status: PaymentStatus.optional(),
  currency: currency.optional(),
  reference,
  customer_reference: line(100).optional(),
  subscription_id: line(60).optional(),
  since: time,
  until: time,
})
export type PaymentQuery = z.infer<typeof PaymentQuery>

export const LogQuery = z.strictObject({
  ...pageQuery,
  provider: line(50).optional(),
  action: line(50).optional(),
  outcome: line(20).optional(),
  subject: line(60).optional(),
  since: time,
  until: time,
})
export type LogQuery = z.infer<typeof LogQuery>

export const IdempotencyHeaders = z.looseObject({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'The same key and body act once, however often they come.' }),
})

export const ProviderConfig = z.strictObject({
  tenantId,
  provider: line(50),
  credentials: z.record(z.string(), z.unknown()),
  isActive: z.boolean().default(true),
  priority: z.number().int().min(0).max(1000).default(0).meta({
    description: 'Providers stand side by side; a payment that names none goes to the lowest that fits.',
  }),
})

export const ConnectionView = z.object({
  id: z.string(),
  tenantId: z.string(),
  provider: z.string(),
  isActive: z.boolean(),
  priority: z.number().int(),
  version: z.number().int(),
  credentials: z.record(z.string(), z.unknown()).meta({ description: 'Secrets are masked.' }),
  webhook_url: z
    .string()
    .nullable()
    .meta({ description: 'Register this with the provider; null when it sends no webhooks.' }),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})

export const ConnectionChange = z.strictObject({
  isActive: z.boolean().optional(),
  priority: z.number().int().min(0).max(1000).optional(),
})

export const CheckResult = z.object({ ok: z.boolean(), notes: z.array(z.string()) })
