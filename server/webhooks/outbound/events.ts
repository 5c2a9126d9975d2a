import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId, timeOfId } from '#core/ids.ts'
import { callRecordEvents, type EventRow, type WholeEvent } from './queries.ts'

export interface NewEvent {
  /** A type of the catalogue, such as `message.delivered`. */
  type: string
  /** Of its type, as `data` is; default: 1. */
  version?: number | undefined
  /** Id of what it is about, such as the message: how an entity's story is read back. */
  entity: string
  occurredAt: Date
  /** Flat, snake_case; joins `id`, `event`, `tenant_id`, `occurred_at` and `trace_id` in the body. */
  data: Readonly<Record<string, unknown>>
}

/**
 * Records events together with a delivery for every endpoint that wants them, inside the transaction that
 * records the fact itself. Call `wakeWork('delivery')` once that has committed.
 */
export async function recordEvents(
  db: Kysely<Tables>,
  scope: TenantScope,
  events: readonly NewEvent[],
  now: Date,
): Promise<void> {
  if (events.length > 0) await sql`select ${eventRecording(scope, events, now)}`.execute(db)
}

/** `recordEvents` as an expression, for a statement that also records the fact: how many deliveries were opened. */
export function eventRecording(
  scope: TenantScope,
  events: readonly NewEvent[],
  now: Date,
): RawBuilder<number> {
  return callRecordEvents(
    events.map((event) => toEventRow(scope, event, now)),
    now,
  )
}

/** Filters are `*`, `noun.*` or a whole type. */
export function wants(filters: readonly string[], type: string): boolean {
  const noun = type.slice(0, type.indexOf('.'))
  return filters.some((filter) => filter === '*' || filter === type || filter === `${noun}.*`)
}

/** Its id begins with the time of its event's, as in `record_events`: open deliveries of an event are found by that. */
export function deliveryOf(
  event: Pick<EventRow, 'id' | 'tenant_id' | 'product_id'>,
  endpointId: string,
  now: Date,
) {
  return {
    id: createId('dlv', timeOfId(event.id)),
    kind: 'delivery' as const,
    lane: `${endpointId}/${event.tenant_id}`,
    series: endpointId,
    tenant_id: event.tenant_id,
    product_id: event.product_id,
    ref: event.id,
    run_at: now,
  }
}

interface NewRow extends Omit<NewEvent, 'entity'> {
  /** Without one it is about itself. */
  entity?: string | undefined
  /** Of a product's event: `data` in the shape of older versions. */
  older?: Readonly<Record<string, NewEvent['data']>> | undefined
}

export function toEventRow(scope: TenantScope, event: NewRow, now: Date): WholeEvent {
  const id = createId('evt', now)
  const envelope = {
    id,
    event: event.type,
    tenant_id: scope.tenantId,
    occurred_at: event.occurredAt.toISOString(),
    trace_id: scope.traceId,
  }
  const toBody = (data: NewEvent['data']) => JSON.stringify({ ...envelope, ...data })
  return {
    id,
    tenant_id: scope.tenantId,
    product_id: scope.productId,
    type: event.type,
    version: event.version ?? 1,
    entity: event.entity ?? id,
    body: toBody(event.data),
    older: event.older === undefined ? null : bodiesOf(event.older, toBody),
    trace_id: scope.traceId,
    occurred_at: event.occurredAt,
  }
}

function bodiesOf(older: NonNullable<NewRow['older']>, toBody: (data: NewEvent['data']) => string): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(older).map(([version, data]) => [version, toBody(data)])),
  )
}
