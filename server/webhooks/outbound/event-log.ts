import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { insertWork, wakeWork } from '#jobs'
import { type Caller, scopeFor } from '#tenants'
import { requireEndpoint } from './endpoints.ts'
import { redeliveryOf, wants } from './events.ts'
import {
  type AttemptRow,
  type EventRow,
  findEvent,
  isWhole,
  type Following,
  listAttempts,
  listEndpointsReachedBy,
  listEvents,
  listFollowing,
  listOpenDeliveries,
  listOwnEvents,
  type OpenDelivery,
  type WholeEvent,
} from './queries.ts'
import { presentRequest, presentTimings } from './requests/record.ts'
import type { Delivery, EventDetail, EventSummary } from './schema.ts'

interface EventQuery {
  limit: number
  cursor?: string | undefined
  tenant_id?: string | undefined
  type?: string | undefined
  entity?: string | undefined
}

export async function getEvents(
  context: Context,
  caller: Caller,
  query: EventQuery,
): Promise<Page<EventSummary>> {
  if (query.tenant_id !== undefined) await scopeFor(context, caller, query.tenant_id, '')
  const tenantId = caller.kind === 'tenant' ? caller.tenantId : query.tenant_id
  const before = decodeCursor(query.cursor)
  const rows = await listEvents(context.database.system, {
    ...(caller.kind !== 'admin' && { productId: caller.productId }),
    ...(tenantId !== undefined && { tenantId }),
    ...(query.type !== undefined && { type: query.type }),
    ...(query.entity !== undefined && { entity: query.entity }),
    ...(before !== undefined && { before }),
    limit: query.limit + 1,
  })
  return toPage(rows, query.limit, summarize)
}

/** @throws PipeError 404 */
export async function getEvent(context: Context, caller: Caller, id: string): Promise<EventDetail> {
  const row = await requireEvent(context, caller, id)
  const deliveries = await readDeliveries(context.database.system, [row])
  return {
    ...summarize(row),
    body: row.body === null ? null : (JSON.parse(row.body) as Record<string, unknown>),
    older: olderOf(row),
    deliveries: deliveries.get(row.id) ?? [],
  }
}

/** All events about an entity with their deliveries, oldest first: the end of its story. */
export async function readEventsOf(
  db: Kysely<Tables>,
  scope: TenantScope,
  entity: string,
): Promise<Array<EventSummary & { deliveries: Delivery[] }>> {
  const rows = await listEvents(db, { tenantId: scope.tenantId, entity, limit: 200 })
  const deliveries = await readDeliveries(db, rows)
  return rows.toReversed().map((row) => ({ ...summarize(row), deliveries: deliveries.get(row.id) ?? [] }))
}

/** Events of a trace, and events about entities whatever their trace, between two moments; oldest first. */
export async function readFollowing(
  db: Kysely<Tables>,
  scope: TenantScope,
  following: Following,
): Promise<EventSummary[]> {
  return (await listFollowing(db, scope.tenantId, following)).map(summarize)
}

/** What the transaction of `db` has recorded since: for one that only rehearses. */
export async function readOwnEvents(
  db: Kysely<Tables>,
  scope: TenantScope,
  since: Date,
): Promise<EventSummary[]> {
  return (await listOwnEvents(db, scope.tenantId, since)).map(summarize)
}

/**
 * Delivers an event again, with the same id, to one endpoint or to all that want it now.
 * @throws PipeError 404; 409 `event_body_gone`
 */
export async function replayEvent(
  context: Context,
  caller: Caller,
  id: string,
  endpointId: string | undefined,
): Promise<{ event_id: string; deliveries: string[] }> {
  const event = await requireWholeEvent(context, caller, id)
  const targets = await replayTargets(context, caller, event, endpointId)
  if (targets.length === 0) {
    throw invalidRequest('No active endpoint wants this event; make one with POST /webhooks/endpoints.', [
      { field: 'endpoint_id', message: 'names no endpoint that takes this event' },
    ])
  }
  const work = targets.map((target) => redeliveryOf(event, target, context.now()))
  await insertWork(context.database.system, work)
  wakeWork('delivery')
  return { event_id: event.id, deliveries: work.map((delivery) => delivery.id) }
}

async function replayTargets(
  context: Context,
  caller: Caller,
  event: WholeEvent,
  endpointId: string | undefined,
): Promise<string[]> {
  if (endpointId !== undefined) {
    const endpoint = await requireEndpoint(context, caller, endpointId)
    const reaches =
      endpoint.product_id === event.product_id && (endpoint.tenant_id ?? event.tenant_id) === event.tenant_id
    return reaches && endpoint.active ? [endpoint.id] : []
  }
  const endpoints = await listEndpointsReachedBy(context.database.system, event)
  return endpoints
    .filter((endpoint) => caller.kind !== 'tenant' || endpoint.tenant_id === caller.tenantId)
    .filter((endpoint) => wants(endpoint.events, event.type))
    .map((endpoint) => endpoint.id)
}

/** @throws PipeError 404 also when this caller may not know of it */
async function requireEvent(context: Context, caller: Caller, id: string): Promise<EventRow> {
  const row = await findEvent(context.database.system, id)
  const visible =
    row !== undefined &&
    (caller.kind === 'admin' ||
      (caller.kind === 'product' ? row.product_id === caller.productId : row.tenant_id === caller.tenantId))
  if (!visible) throw notFound('event', id)
  return row
}

/** @throws PipeError as `requireEvent`; 409 `event_body_gone` */
export async function requireWholeEvent(context: Context, caller: Caller, id: string): Promise<WholeEvent> {
  const event = await requireEvent(context, caller, id)
  if (isWhole(event)) return event
  throw new PipeError(
    'event_body_gone',
    409,
    `Of the event ${id} only the record is left: its body is past the tenant's raw_retention_days.`,
  )
}

async function readDeliveries(
  db: Kysely<Tables>,
  events: readonly EventRow[],
): Promise<Map<string, Delivery[]>> {
  if (events.length === 0) return new Map()
  const eventOf = new Map(events.map((event) => [event.id, event]))
  const eventIds = [...eventOf.keys()]
  // In this order a delivery that ends in between is seen twice rather than not at all.
  const open = await listOpenDeliveries(db, eventIds)
  const attempts = await listAttempts(db, eventIds)
  const byEvent = new Map<string, Map<string, Delivery>>()
  for (const delivery of open)
    addOpen(deliveryFor(byEvent, delivery.ref, delivery.id, delivery.series ?? ''), delivery)
  for (const attempt of attempts) {
    const delivery = deliveryFor(byEvent, attempt.event_id, attempt.delivery_id, attempt.endpoint_id)
    addAttempt(delivery, attempt, eventOf.get(attempt.event_id))
  }
  return new Map([...byEvent].map(([eventId, deliveries]) => [eventId, [...deliveries.values()]]))
}

function deliveryFor(
  byEvent: Map<string, Map<string, Delivery>>,
  eventId: string,
  deliveryId: string,
  endpointId: string,
): Delivery {
  const deliveries = byEvent.get(eventId) ?? new Map<string, Delivery>()
  byEvent.set(eventId, deliveries)
  const delivery = deliveries.get(deliveryId) ?? {
    id: deliveryId,
    endpoint_id: endpointId,
    state: 'pending' as const,
    next_attempt_at: null,
    attempts: [],
  }
  deliveries.set(deliveryId, delivery)
  return delivery
}

function addAttempt(delivery: Delivery, row: AttemptRow, event: EventRow | undefined): void {
  delivery.attempts.push({
    attempt: row.attempt,
    outcome: row.outcome,
    status: row.status,
    error: row.error,
    response: row.response,
    duration_ms: row.duration_ms,
    timings: presentTimings(row),
    request: event === undefined ? null : presentRequest(event, row),
    attempted_at: row.attempted_at.toISOString(),
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
  })
  if (row.outcome === 'retry' || row.outcome === 'throttled') return addRetry(delivery, row)
  delivery.state = row.outcome
  delivery.next_attempt_at = null
}

/** The plan may have been read before this attempt ended: then it lies before the attempt. */
function addRetry(delivery: Delivery, row: AttemptRow): void {
  const planned = delivery.next_attempt_at
  if (planned === null || Date.parse(planned) > row.attempted_at.getTime()) return
  delivery.next_attempt_at = row.next_attempt_at?.toISOString() ?? null
}

function addOpen(delivery: Delivery, row: OpenDelivery): void {
  delivery.state = 'pending'
  delivery.next_attempt_at = row.run_at.toISOString()
}

function olderOf({ older }: EventRow): EventDetail['older'] {
  const bodies = Object.entries(JSON.parse(older ?? '{}') as Record<string, string>)
  return Object.fromEntries(
    bodies.map(([version, body]) => [version, JSON.parse(body) as Record<string, unknown>]),
  )
}

function summarize(row: EventRow): EventSummary {
  return {
    id: row.id,
    type: row.type,
    version: row.version,
    tenant_id: row.tenant_id,
    entity: row.entity,
    trace_id: row.trace_id,
    occurred_at: row.occurred_at.toISOString(),
  }
}
