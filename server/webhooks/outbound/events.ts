import { type Kysely, type RawBuilder, sql } from 'kysely'
import { afterCommit } from '#core/after-commit.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId, timeOfId } from '#core/ids.ts'
import type { WorkItem } from '#jobs'
import { countRecorded } from './metrics/recorded.ts'
import { callRecordEvents, callRecordEventsOf, type EventRow, type WholeEvent } from './queries.ts'

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
  await recordRows(
    db,
    events.map((event) => toEventRow(scope, event, now)),
    now,
  )
}

/** `recordEvents` of what may be of several tenants. */
export async function recordRows(
  db: Kysely<Tables>,
  events: readonly WholeEvent[],
  now: Date,
): Promise<void> {
  if (events.length === 0) return
  await sql`select ${callRecordEvents(events, now)}`.execute(db)
  afterCommit(db, () => countRecorded(events))
}

/** What there is to tell of one fact. */
export interface Telling {
  scope: TenantScope
  events: readonly NewEvent[]
  now: Date
}

/**
 * `recordEvents` as an expression, for a statement that also records the facts: of those whose place, counted from 1,
 * is true in `due`. It says how many deliveries were opened. Call `countRecorded` once that has committed.
 */
export function eventRecording(tellings: readonly Telling[], due: RawBuilder<boolean[]>): RawBuilder<number> {
  const rows = tellings.flatMap(({ scope, events, now }, index) =>
    events.map((event) => ({ ...toEventRow(scope, event, now), place: index + 1 })),
  )
  return callRecordEventsOf(rows, due, tellings.at(-1)?.now ?? new Date())
}

/** Filters are `*`, `noun.*` or a whole type. */
export function wants(filters: readonly string[], type: string): boolean {
  const noun = type.slice(0, type.indexOf('.'))
  return filters.some((filter) => filter === '*' || filter === type || filter === `${noun}.*`)
}

const replayLane = '/replay'

/**
 * A delivery of an event that was sent before, in a lane of its own, so that what happens now never waits behind it.
 * Its id begins with the time of its event's, as in `record_events`: open deliveries of an event are found by that.
 */
export function redeliveryOf(
  event: Pick<EventRow, 'id' | 'tenant_id' | 'product_id'>,
  endpointId: string,
  runAt: Date,
) {
  return {
    id: createId('dlv', timeOfId(event.id)),
    kind: 'delivery' as const,
    lane: `${endpointId}/${event.tenant_id}${replayLane}`,
    series: endpointId,
    tenant_id: event.tenant_id,
    product_id: event.product_id,
    ref: event.id,
    run_at: runAt,
  }
}

/** What is tried again has a lane behind it. */
export function isRedelivery(item: Pick<WorkItem, 'lane' | 'series' | 'tenantId'>): boolean {
  return item.lane.startsWith(`${item.series}/${item.tenantId}${replayLane}`)
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
