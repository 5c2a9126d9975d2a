import { z } from 'zod'
import { headerProblem } from '#core/outbound.ts'
import { Filter, ShownFilter } from './filters/schema.ts'
import { PublicKey, signing } from './keys/schema.ts'
import { SentRequest, Timings } from './requests/schema.ts'
import { olderShapes, PinChange, Pins, typeName, version } from './versions/schema.ts'

export const eventFilter = z
  .string()
  .regex(
    /^(\*|[a-z][a-z_]*\.(\*|[a-z][a-z_]*))$/,
    'must be *, a noun such as message.*, or a type such as message.delivered',
  )

const maxHeaders = 20
const maxHeadersLength = 8192

const extraHeaders = z.record(z.string().max(64), z.string().max(4096)).superRefine((headers, context) => {
  const entries = Object.entries(headers)
  if (entries.length > maxHeaders) context.addIssue({ code: 'custom', message: `are at most ${maxHeaders}` })
  const length = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (length > maxHeadersLength) {
    context.addIssue({ code: 'custom', message: `are at most ${maxHeadersLength} characters in all` })
  }
  for (const [name, value] of entries) {
    const isOurs = /^(content-type|user-agent|traceparent|webhook-.*)$/i.test(name)
    const problem = isOurs
      ? `the header ${JSON.stringify(name)} is set by PipeCore alone`
      : headerProblem(name, value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem, path: [name] })
  }
})

const limits = {
  ordered: z.boolean().meta({
    description:
      'Events about the same entity arrive one after another; a failing one holds up its own entity only.',
  }),
  max_in_flight: z.number().int().min(1).max(1000).nullable().meta({
    description: 'Calls at the same time, over all of PipeCore.',
  }),
  max_per_second: z.number().min(0.01).max(10_000).nullable().meta({
    description: 'Calls a second, over all of PipeCore.',
  }),
}

export const NewEndpoint = z
  .strictObject({
    url: z.string().max(2000),
    product_id: z.string().optional(),
    tenant_id: z.string().optional(),
    events: z.array(eventFilter).min(1).max(100).default(['*']),
    filter: Filter.default(null),
    versions: Pins.default({}),
    signing: signing.default('hmac'),
    headers: extraHeaders
      .optional()
      .meta({ description: 'Sent with every event, for instance a Supabase bearer. Kept sealed.' }),
    ordered: limits.ordered.default(false),
    max_in_flight: limits.max_in_flight.default(null),
    max_per_second: limits.max_per_second.default(null),
  })
  .refine((input) => (input.product_id === undefined) !== (input.tenant_id === undefined), {
    message: 'name either product_id (events of all its tenants) or tenant_id',
    path: ['tenant_id'],
  })
export type NewEndpoint = z.infer<typeof NewEndpoint>

export const EndpointChange = z.strictObject({
  url: z.string().max(2000).optional(),
  events: z.array(eventFilter).min(1).max(100).optional(),
  filter: Filter.optional(),
  versions: PinChange.optional(),
  headers: extraHeaders.nullable().optional(),
  active: z.boolean().optional(),
  ordered: limits.ordered.optional(),
  max_in_flight: limits.max_in_flight.optional(),
  max_per_second: limits.max_per_second.optional(),
})
export type EndpointChange = z.infer<typeof EndpointChange>

export const Endpoint = z.object({
  id: z.string(),
  product_id: z.string(),
  tenant_id: z.string().nullable(),
  url: z.string(),
  events: z.array(z.string()),
  filter: ShownFilter,
  versions: Pins,
  signing,
  public_keys: z
    .array(PublicKey)
    .meta({ description: 'With ed25519; anybody may read them: GET /webhooks/keys/<id>.' }),
  header_names: z.array(z.string()).meta({ description: 'Their values are never shown.' }),
  active: z.boolean(),
  disabled_reason: z.string().nullable(),
  ...limits,
  health: z.object({
    state: z.enum(['healthy', 'failing', 'open', 'catching_up']).meta({
      description:
        'open: left alone until next_probe_at, when one event tries it. catching_up: what waited is sent, no faster than 50 a second.',
    }),
    failures_in_a_row: z.number().int(),
    failing_since: z.iso.datetime().nullable(),
    next_probe_at: z.iso.datetime().nullable(),
    last_error: z.string().nullable(),
  }),
  previous_secret_expires_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})
export type Endpoint = z.infer<typeof Endpoint>

export const EndpointWithSecret = Endpoint.extend({
  secret: z.string().nullable().meta({
    description:
      'Shown this once. Verifies `webhook-signature`. null with ed25519: `public_keys` verify, and the private key never leaves.',
  }),
})

export type EndpointWithSecret = z.infer<typeof EndpointWithSecret>

export const Rotation = z
  .strictObject({
    overlap_hours: z.number().min(0).max(168).default(24),
    signing: signing.optional().meta({ description: 'Default: as it is.' }),
  })
  .nullish()
export type Rotation = z.infer<typeof Rotation>

export const TestResult = z.object({
  delivered: z.boolean(),
  status: z.number().int().nullable(),
  error: z.string().nullable(),
  response: z.string().nullable(),
  duration_ms: z.number().int(),
})
export type TestResult = z.infer<typeof TestResult>

export const EventSummary = z.object({
  id: z.string(),
  type: z.string(),
  version: z.number().int().meta({ description: 'Of its type, under which it was published.' }),
  tenant_id: z.string(),
  entity: z.string(),
  trace_id: z.string(),
  occurred_at: z.iso.datetime(),
})
const DeliveryAttempt = z.object({
  attempt: z.number().int(),
  outcome: z.enum(['delivered', 'retry', 'throttled', 'dead', 'acknowledged']).meta({
    description:
      'throttled: the receiver asked for patience (429); it uses up no attempt. acknowledged: it was taken from the feed, without a call.',
  }),
  status: z.number().int().nullable(),
  error: z.string().nullable(),
  response: z.string().nullable(),
  duration_ms: z.number().int(),
  timings: Timings,
  request: SentRequest.nullable().meta({ description: 'What was sent; null when nothing left.' }),
  attempted_at: z.iso.datetime(),
  next_attempt_at: z.iso.datetime().nullable(),
})
export const Delivery = z.object({
  id: z.string(),
  endpoint_id: z.string(),
  state: z.enum(['pending', 'delivered', 'dead', 'acknowledged']),
  next_attempt_at: z.iso.datetime().nullable(),
  attempts: z.array(DeliveryAttempt),
})
export const EventDetail = EventSummary.extend({
  body: z
    .record(z.string(), z.unknown())
    .nullable()
    .meta({ description: 'null when it is past the `raw_retention_days` of its tenant.' }),
  older: z
    .record(z.string(), z.record(z.string(), z.unknown()))
    .meta({ description: 'Bodies of older versions that were published with it.' }),
  deliveries: z.array(Delivery),
})
export type EventSummary = z.infer<typeof EventSummary>
export type Delivery = z.infer<typeof Delivery>
export type EventDetail = z.infer<typeof EventDetail>

export const Replay = z.strictObject({ endpoint_id: z.string().optional() }).nullish()
export const ReplayResult = z.object({ event_id: z.string(), deliveries: z.array(z.string()) })

const jsonObject = z.record(z.string(), z.unknown())

export const TypeParams = z.object({ type: typeName })

export const NewEventType = z.strictObject({
  product_id: z.string().optional().meta({ description: 'Needed with an admin key.' }),
  version,
  description: z.string().max(1000).optional(),
  schema: jsonObject.meta({ description: 'JSON Schema (draft 2020-12) of `data`.' }),
  supported: z.boolean().optional().meta({
    description:
      'Endpoints may pin this version, and every newer event has to give a shape of it. Default: as it is, at first false. With false pins of it are removed, which `endpoint.version_withdrawn` tells.',
  }),
})
export type NewEventType = z.infer<typeof NewEventType>

export const CatalogEntry = z.object({
  name: z.string(),
  version: z.number().int(),
  description: z.string(),
  supported: z.boolean().meta({ description: 'Endpoints may pin this version.' }),
  product_id: z
    .string()
    .nullable()
    .meta({ description: 'The product whose type it is; null for those of PipeCore.' }),
  schema: jsonObject.meta({
    description: 'JSON Schema: of the whole body, or of `data` for a product’s own.',
  }),
})
export type CatalogEntry = z.infer<typeof CatalogEntry>

export const CatalogDetail = CatalogEntry.extend({
  versions: z.array(z.number().int()),
  supported_versions: z.array(z.number().int()),
})
export type CatalogDetail = z.infer<typeof CatalogDetail>

const ofTheEnvelope = ['id', 'event', 'tenant_id', 'occurred_at', 'trace_id']
/** As `jsonObject`, which would copy what it is given, key by key: more work than all the rest of a publish's check. */
const eventData = z
  .unknown()
  // Not `superRefine`, which keeps what it looked at: decision 45.
  .check(({ value: data, issues }) => {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      issues.push({ code: 'invalid_type', expected: 'record', input: data, continue: true })
      return
    }
    for (const name of ofTheEnvelope) {
      if (!Object.hasOwn(data, name)) continue
      const message = 'is set by PipeCore alone'
      issues.push({ code: 'custom', message, path: [name], input: data, continue: true })
    }
  })
  .meta({
    type: 'object',
    propertyNames: { type: 'string' },
    additionalProperties: {},
  }) as unknown as typeof jsonObject

export const OwnEvent = z.strictObject({
  tenant_id: z.string().max(63),
  type: typeName,
  version: version.optional().meta({ description: 'Of its type; default: the newest.' }),
  entity: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .meta({ description: 'Id of what it is about, such as an order; default: the event’s own id.' }),
  occurred_at: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Not before 2000, nor more than a day from now. Default: now.' }),
  data: eventData.meta({ description: 'Joins the envelope in the body, as the schema of its type says.' }),
  older: olderShapes(eventData).optional(),
})
export type OwnEvent = z.infer<typeof OwnEvent>

export const maxBatch = 1_000
export const OwnEvents = z.strictObject({ events: z.array(OwnEvent).min(1).max(maxBatch) })

const Published = z.object({ id: z.string() })
export const PublishedEvents = z.union([Published, z.object({ data: z.array(Published) })])
export type PublishedEvents = z.infer<typeof PublishedEvents>
