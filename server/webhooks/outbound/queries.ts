import { type Insertable, type Kysely, type RawBuilder, type Selectable, sql, type Updateable } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import {
  bigintArray,
  byteaArray,
  columnArray,
  integerArray,
  smallintArray,
  textArray,
  timestampArray,
  uuidArray,
} from '#core/sql-arrays.ts'
import { type EndedClaim, finishArguments, type JobsTables } from '#jobs'
import { letsThrough } from './filters/queries.ts'
import type { OutboundTables } from './tables.ts'

type Db = Kysely<OutboundTables>
export type EndpointRow = Selectable<OutboundTables['endpoints']>
export type HealthRow = Selectable<OutboundTables['endpoint_health']>
export type EventRow = Omit<Selectable<OutboundTables['events']>, 'stretch'>
export type WholeEvent = EventRow & { body: string }
export type AttemptRow = Selectable<OutboundTables['delivery_attempts']>
export type NewAttemptRow = Insertable<OutboundTables['delivery_attempts']>

type TextColumn = 'id' | 'tenant_id' | 'product_id' | 'type' | 'entity' | 'body' | 'older' | 'trace_id'

const eventColumns = [
  'id',
  'tenant_id',
  'product_id',
  'type',
  'version',
  'entity',
  'body',
  'older',
  'trace_id',
  'occurred_at',
] as const

/** Its body is still there. */
export function isWhole(event: EventRow): event is WholeEvent {
  return event.body !== null
}

/** See `migrations/0016_event_stretches.sql`. */
export function callRecordEvents(events: readonly WholeEvent[], now: Date): RawBuilder<number> {
  const texts = (column: TextColumn) => textArray(events.map((event) => event[column]))
  return sql<number>`record_events(
    ${texts('id')}, ${texts('tenant_id')}, ${texts('product_id')}, ${texts('type')},
    ${integerArray(events.map((event) => event.version))}, ${texts('entity')}, ${texts('body')}, ${texts('older')},
    ${texts('trace_id')}, ${timestampArray(events.map((event) => event.occurred_at))}, ${now})`
}

/**
 * The same of those whose place in place, counted from 1, is true in `due`. One text whatever their number, where a
 * call for each would be another text, with another plan, for every number of them.
 */
export function callRecordEventsOf(
  events: readonly (WholeEvent & { place: number })[],
  due: RawBuilder<boolean[]>,
  now: Date,
): RawBuilder<number> {
  const texts = (column: TextColumn) =>
    columnArray(
      textArray,
      events.map((event) => event[column]),
    )
  const inOrder = (column: (typeof eventColumns)[number]) =>
    sql`array_agg(${sql.ref(column)} order by number)`
  return sql<number>`(
    select record_events(${sql.join(eventColumns.map(inOrder))}, ${now})
    from unnest(
      ${texts('id')}::text[], ${texts('tenant_id')}::text[], ${texts('product_id')}::text[], ${texts('type')}::text[],
      ${integerArray(events.map((event) => event.version))}::int[], ${texts('entity')}::text[],
      ${texts('body')}::text[], ${texts('older')}::text[], ${texts('trace_id')}::text[],
      ${timestampArray(events.map((event) => event.occurred_at))}::timestamptz[],
      ${integerArray(events.map((event) => event.place))}::int[]
    ) with ordinality as told (${sql.join(eventColumns.map((column) => sql.ref(column)))}, place, number)
    where (${due})[place])`
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
  return db
    .selectFrom('events')
    .select(eventColumns)
    .where('id', '=', sql<string>`any(${textArray(ids)}::text[])`)
    .execute()
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
  await sql`
    insert into delivery_attempts (id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, status,
      error, response, duration_ms, next_attempt_at, attempted_at, number, lookup_ms, connect_ms, first_byte_ms,
      body_sha256, version, signature, header_names)
    select * from unnest(${attemptColumns(attempts)})`.execute(db)
}

function attemptColumns(attempts: readonly NewAttemptRow[]): RawBuilder<unknown> {
  const all = <Value>(
    encode: (values: readonly (Value | null)[]) => Buffer,
    read: (attempt: NewAttemptRow) => Value | null | undefined,
  ) =>
    columnArray(
      encode,
      attempts.map((attempt) => read(attempt) ?? null),
    )
  return sql`${all(textArray, (row) => row.id)}::text[], ${all(textArray, (row) => row.delivery_id)}::text[],
    ${all(textArray, (row) => row.event_id)}::text[], ${all(textArray, (row) => row.endpoint_id)}::text[],
    ${all(textArray, (row) => row.tenant_id)}::text[], ${all(smallintArray, (row) => row.attempt)}::smallint[],
    ${all(textArray, (row) => row.outcome)}::text[], ${all(smallintArray, (row) => row.status)}::smallint[],
    ${all(textArray, (row) => row.error)}::text[], ${all(textArray, (row) => row.response)}::text[],
    ${all(integerArray, (row) => row.duration_ms)}::int[],
    ${all(timestampArray, (row) => row.next_attempt_at)}::timestamptz[],
    ${all(timestampArray, (row) => row.attempted_at)}::timestamptz[],
    ${all(bigintArray, (row) => row.number)}::bigint[], ${all(integerArray, (row) => row.lookup_ms)}::int[],
    ${all(integerArray, (row) => row.connect_ms)}::int[],
    ${all(integerArray, (row) => row.first_byte_ms)}::int[],
    ${all(byteaArray, (row) => row.body_sha256)}::bytea[], ${all(integerArray, (row) => row.version)}::int[],
    ${all(textArray, (row) => row.signature)}::text[], ${all(textArray, (row) => row.header_names)}::text[]`
}

/** What ended, and the attempt that is stored of it; none of what was handed back. */
export interface EndedDelivery {
  ending: EndedClaim['ending']
  attempt: NewAttemptRow | undefined
}

/** Ends deliveries and stores their attempts. @returns whether each was still held; nothing was done to the others. */
export async function finishDeliveries(
  db: Db,
  ended: readonly EndedDelivery[],
  now: Date,
): Promise<boolean[]> {
  const endings = ended.map(({ ending }) => ending)
  const tokens = ended.flatMap(({ ending, attempt }) => (attempt ? [ending.claim.token] : []))
  const attempts = ended.flatMap(({ attempt }) => attempt ?? [])
  const { rows } = await sql<{ id: string; token: string }>`
    select id, token from finish_deliveries(${finishArguments(endings, now)}, ${uuidArray(tokens)}::uuid[],
      ${attemptColumns(attempts)})`.execute(db)
  const refused = new Set(rows.map(({ id, token }) => `${id} ${token}`))
  return endings.map(({ claim }) => refused.size === 0 || !refused.has(`${claim.item.id} ${claim.token}`))
}

export interface Tries {
  /** Those that were asked for patience don't count. */
  count: number
  /** When the first one was, whatever became of it; null before there was one. */
  since: Date | null
}

export function readTries(db: Db, eventId: string, deliveryId: string): Promise<Tries> {
  return db
    .selectFrom('delivery_attempts')
    .select((select) => [
      select.fn.countAll<number>().filterWhere('outcome', '!=', 'throttled').as('count'),
      select.fn.min('attempted_at').as('since'),
    ])
    .where('event_id', '=', eventId)
    .where('delivery_id', '=', deliveryId)
    .executeTakeFirstOrThrow()
}

export interface EventFilter {
  productId?: string
  tenantId?: string
  type?: string
  entity?: string
  before?: string
  limit: number
}

/** The newest first. */
export async function listEvents(db: Db, filter: EventFilter): Promise<EventRow[]> {
  const { tenantId, entity, before, limit } = filter
  if (tenantId === undefined || entity === undefined) return selectNewest(db, filter).execute()
  const lastOf = (condition: RawBuilder<unknown>) => sql`
    select max(id) from events where tenant_id = ${tenantId} and ${condition}`
  const [inStretch, early] = [
    selectNewest(db, filter)
      .where('stretch', '=', sql.ref<string>('known.stretch'))
      // Names the day's partition.
      .where('id', '>=', sql<string>`'evt_' || known.stretch`)
      .where('id', '<', sql.ref<string>('known.end_id')),
    selectNewest(db, filter).where('stretch', 'is', null),
  ]
  const { rows } = await sql<EventRow>`
    with recursive spans (last) as (
      ${lastOf(before === undefined ? sql`true` : sql`id < ${before}`)}
      union all
      -- Four letters of an id's time last twelve days: a clock that was years off has nobody look through those between.
      select (${lastOf(sql`id < substr(spans.last, 1, 8)`)}) from spans where last is not null
    )
    select found.* from spans
    cross join lateral (
      select min(id) as first from events where tenant_id = ${tenantId} and id between substr(last, 1, 8) and last
    ) begun
    cross join event_stretches(first, last) as known
    cross join lateral (${inStretch}) found
    union all
    select * from (${early}) early
    order by id desc limit ${limit}`.execute(db)
  return rows
}

function selectNewest(db: Db, filter: EventFilter) {
  let query = db.selectFrom('events').select(eventColumns).orderBy('id', 'desc').limit(filter.limit)
  if (filter.productId !== undefined) query = query.where('product_id', '=', filter.productId)
  if (filter.tenantId !== undefined) query = query.where('tenant_id', '=', filter.tenantId)
  if (filter.type !== undefined) query = query.where('type', '=', filter.type)
  if (filter.entity !== undefined) query = query.where('entity', '=', filter.entity)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query
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
    .select(eventColumns)
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
    .select(eventColumns)
    .where('tenant_id', '=', tenantId)
    .where('id', '>=', firstIdOf('evt', since))
    .where(sql<boolean>`xmin = pg_current_xact_id()::xid`)
    .orderBy('id')
    .execute()
}

export function findEvent(db: Db, id: string): Promise<EventRow | undefined> {
  return db.selectFrom('events').select(eventColumns).where('id', '=', id).executeTakeFirst()
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
