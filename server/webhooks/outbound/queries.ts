import { type Insertable, type Kysely, type RawBuilder, type Selectable, sql, type Updateable } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { JobsTables } from '#jobs'
import { letsThrough } from './filters/queries.ts'
import type { OutboundTables } from './tables.ts'

type Db = Kysely<OutboundTables>
export type EndpointRow = Selectable<OutboundTables['endpoints']>
export type HealthRow = Selectable<OutboundTables['endpoint_health']>
export type EventRow = Selectable<OutboundTables['events']>
export type WholeEvent = EventRow & { body: string }
export type AttemptRow = Selectable<OutboundTables['delivery_attempts']>
export type NewAttemptRow = Insertable<OutboundTables['delivery_attempts']>

/** Its body is still there. */
export function isWhole(event: EventRow): event is WholeEvent {
  return event.body !== null
}

/** See `migrations/0009_versions.sql`. */
export function callRecordEvents(events: readonly WholeEvent[], now: Date): RawBuilder<number> {
  return sql<number>`record_events(
    ${events.map((event) => event.id)}, ${events.map((event) => event.tenant_id)},
    ${events.map((event) => event.product_id)}, ${events.map((event) => event.type)},
    ${events.map((event) => event.version)}, ${events.map((event) => event.entity)},
    ${events.map((event) => event.body)}, ${events.map((event) => event.older)},
    ${events.map((event) => event.trace_id)}, ${events.map((event) => event.occurred_at)}, ${now})`
}

/** The tenant's endpoints and its product's whose filter lets the event through. */
export function listEndpointsReachedBy(
  db: Db,
  event: WholeEvent,
): Promise<Pick<EndpointRow, 'id' | 'events' | 'tenant_id'>[]> {
  return db
    .selectFrom('endpoints')
    .select(['id', 'events', 'tenant_id'])
    .where('product_id', '=', event.product_id)
    .where((where) => where.or([where('tenant_id', 'is', null), where('tenant_id', '=', event.tenant_id)]))
    .where('active', '=', true)
    .where('deleted_at', 'is', null)
    .where(letsThrough(event.body))
    .execute()
}

export function insertEndpoint(
  db: Db,
  endpoint: Insertable<OutboundTables['endpoints']>,
): Promise<EndpointRow> {
  return db.insertInto('endpoints').values(endpoint).returningAll().executeTakeFirstOrThrow()
}

export function findEndpoint(db: Db, id: string): Promise<EndpointRow | undefined> {
  return db
    .selectFrom('endpoints')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
}

export function lockEndpoint(db: Db, id: string): Promise<EndpointRow | undefined> {
  return db
    .selectFrom('endpoints')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst()
}

export interface ReachedBy {
  productId: string
  /** Of whom events are; null for all of the product's. */
  tenantIds: readonly string[] | null
  /** Without those of the product. */
  ownOnly: boolean
  limit: number
}

export function listActiveEndpoints(db: Db, { productId, tenantIds, ownOnly, limit }: ReachedBy) {
  return db
    .selectFrom('endpoints')
    .selectAll()
    .where('product_id', '=', productId)
    .where('active', '=', true)
    .where('deleted_at', 'is', null)
    .where((where) =>
      where.or([
        ...(ownOnly ? [] : [where('tenant_id', 'is', null)]),
        ...(tenantIds === null
          ? [where('tenant_id', 'is not', null)]
          : [where('tenant_id', '=', sql<string>`any(${tenantIds}::text[])`)]),
      ]),
    )
    .orderBy('id')
    .limit(limit)
    .execute()
}

export interface EndpointFilter {
  productId?: string
  tenantId?: string
  after?: string
  limit: number
}

export function listEndpoints(db: Db, filter: EndpointFilter): Promise<EndpointRow[]> {
  let query = db
    .selectFrom('endpoints')
    .selectAll()
    .where('deleted_at', 'is', null)
    .orderBy('id')
    .limit(filter.limit)
  if (filter.productId !== undefined) query = query.where('product_id', '=', filter.productId)
  if (filter.tenantId !== undefined) query = query.where('tenant_id', '=', filter.tenantId)
  if (filter.after !== undefined) query = query.where('id', '>', filter.after)
  return query.execute()
}

export function updateEndpoint(
  db: Db,
  id: string,
  change: Updateable<OutboundTables['endpoints']>,
): Promise<EndpointRow | undefined> {
  return db
    .updateTable('endpoints')
    .set(change)
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst()
}

/** Those that are not past their retention. */
export function findEvents(db: Db, ids: readonly string[]): Promise<EventRow[]> {
  return db.selectFrom('events').selectAll().where('id', 'in', ids).execute()
}

export type DeliveryEndpointRow = EndpointRow &
  Pick<HealthRow, 'paused_until'> & { health: HealthRow['state'] | null }

export function findDeliveryEndpoints(db: Db, ids: readonly string[]): Promise<DeliveryEndpointRow[]> {
  return db
    .selectFrom('endpoints')
    .leftJoin('endpoint_health', 'endpoint_health.endpoint_id', 'endpoints.id')
    .selectAll('endpoints')
    .select(['endpoint_health.state as health', 'endpoint_health.paused_until'])
    .where('endpoints.id', 'in', ids)
    .where('endpoints.deleted_at', 'is', null)
    .execute()
}

export function findHealth(db: Db, endpointIds: readonly string[]): Promise<HealthRow[]> {
  if (endpointIds.length === 0) return Promise.resolve([])
  return db.selectFrom('endpoint_health').selectAll().where('endpoint_id', 'in', endpointIds).execute()
}

/** The endpoint's health, locked; `first` where there is none yet. */
export async function lockHealth(db: Db, first: HealthRow): Promise<HealthRow> {
  await db
    .insertInto('endpoint_health')
    .values(first)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return db
    .selectFrom('endpoint_health')
    .selectAll()
    .where('endpoint_id', '=', first.endpoint_id)
    .forUpdate()
    .executeTakeFirstOrThrow()
}

export async function saveHealth(db: Db, { endpoint_id: id, ...health }: HealthRow): Promise<void> {
  await db.updateTable('endpoint_health').set(health).where('endpoint_id', '=', id).execute()
}

export async function deleteHealth(db: Db, endpointId: string): Promise<void> {
  await db.deleteFrom('endpoint_health').where('endpoint_id', '=', endpointId).execute()
}

/** One short statement, however many there are: reading thousands of parameters costs more than storing them. */
export async function insertAttempts(db: Db, attempts: readonly NewAttemptRow[]): Promise<void> {
  if (attempts.length === 0) return
  const all = <Column extends keyof NewAttemptRow>(column: Column) =>
    attempts.map((attempt) => attempt[column])
  await sql`
    insert into delivery_attempts (id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, status,
      error, response, duration_ms, next_attempt_at, attempted_at, number, lookup_ms, connect_ms, first_byte_ms,
      body_sha256, version, signature, header_names)
    select * from unnest(
      ${all('id')}::text[], ${all('delivery_id')}::text[], ${all('event_id')}::text[],
      ${all('endpoint_id')}::text[], ${all('tenant_id')}::text[], ${all('attempt')}::smallint[],
      ${all('outcome')}::text[], ${all('status')}::smallint[], ${all('error')}::text[],
      ${all('response')}::text[], ${all('duration_ms')}::int[], ${all('next_attempt_at')}::timestamptz[],
      ${all('attempted_at')}::timestamptz[], ${all('number')}::bigint[], ${all('lookup_ms')}::int[],
      ${all('connect_ms')}::int[], ${all('first_byte_ms')}::int[], ${all('body_sha256')}::bytea[],
      ${all('version')}::int[], ${all('signature')}::text[], ${all('header_names')}::text[])`.execute(db)
}

export async function countAttempts(db: Db, eventId: string, deliveryId: string): Promise<number> {
  const row = await db
    .selectFrom('delivery_attempts')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('event_id', '=', eventId)
    .where('delivery_id', '=', deliveryId)
    .where('outcome', '!=', 'throttled')
    .executeTakeFirstOrThrow()
  return row.count
}

export interface EventFilter {
  productId?: string
  tenantId?: string
  type?: string
  entity?: string
  before?: string
  limit: number
}

export function listEvents(db: Db, filter: EventFilter): Promise<EventRow[]> {
  let query = db.selectFrom('events').selectAll().orderBy('id', 'desc').limit(filter.limit)
  if (filter.productId !== undefined) query = query.where('product_id', '=', filter.productId)
  if (filter.tenantId !== undefined) query = query.where('tenant_id', '=', filter.tenantId)
  if (filter.type !== undefined) query = query.where('type', '=', filter.type)
  if (filter.entity !== undefined) query = query.where('entity', '=', filter.entity)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

export interface Following {
  since: Date
  until: Date
  traceId: string
  entities: readonly string[]
}

const mostFollowing = 200

/** Oldest first. No index knows traces: the time between bounds what is looked through. */
export function listFollowing(db: Db, tenantId: string, following: Following): Promise<EventRow[]> {
  const { since, until, traceId, entities } = following
  return db
    .selectFrom('events')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '>=', firstIdOf('evt', since))
    .where('id', '<', firstIdOf('evt', until))
    .where((where) =>
      where.or([
        where('trace_id', '=', traceId),
        where('entity', '=', sql<string>`any(${entities}::text[])`),
      ]),
    )
    .orderBy('id')
    .limit(mostFollowing)
    .execute()
}

/** What this very transaction has recorded since. */
export function listOwnEvents(db: Db, tenantId: string, since: Date): Promise<EventRow[]> {
  return db
    .selectFrom('events')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '>=', firstIdOf('evt', since))
    .where(sql<boolean>`xmin = pg_current_xact_id()::xid`)
    .orderBy('id')
    .execute()
}

export function findEvent(db: Db, id: string): Promise<EventRow | undefined> {
  return db.selectFrom('events').selectAll().where('id', '=', id).executeTakeFirst()
}

export function listAttempts(db: Db, eventIds: readonly string[]): Promise<AttemptRow[]> {
  return db
    .selectFrom('delivery_attempts')
    .selectAll()
    .where('event_id', 'in', eventIds)
    .orderBy('id')
    .execute()
}

export interface OpenDelivery {
  id: string
  series: string | null
  ref: string
  run_at: Date
}

/** Deliveries of these events that are still to be tried: their ids begin with the time of the event's. */
export async function listOpenDeliveries(
  db: Kysely<JobsTables & OutboundTables>,
  eventIds: readonly string[],
): Promise<OpenDelivery[]> {
  const { rows } = await sql<OpenDelivery>`
    select w.id, w.series, w.ref, w.run_at
    from unnest(${eventIds}::text[]) as event (id)
    cross join lateral (select 'dlv_' || substr(event.id, 5, 10) collate "C" as start) moment
    join work w on w.id >= moment.start and w.id < moment.start || '~' and w.ref = event.id
    where w.kind = 'delivery'`.execute(db)
  return rows
}
