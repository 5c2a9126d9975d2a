import { type Insertable, type Kysely, type Selectable, sql, type Updateable } from 'kysely'
import { firstIdOf, timeOfId } from '#core/ids.ts'
import type { JobsTables } from '#jobs'
import type { EventRow } from '../queries.ts'
import type { OutboundTables } from '../tables.ts'
import type { ReplayState } from './schema.ts'
import type { ReplayTables } from './tables.ts'

type Db = Kysely<ReplayTables>
export type ReplayRow = Selectable<ReplayTables['replays']>
export type ReplayEndpointRow = Selectable<ReplayTables['replay_endpoints']>

export async function insertReplay(
  db: Db,
  replay: Insertable<ReplayTables['replays']>,
  endpoints: readonly Insertable<ReplayTables['replay_endpoints']>[],
): Promise<void> {
  await db.insertInto('replays').values(replay).execute()
  await db.insertInto('replay_endpoints').values(endpoints).execute()
}

export function findReplay(db: Db, id: string): Promise<ReplayRow | undefined> {
  return db.selectFrom('replays').selectAll().where('id', '=', id).executeTakeFirst()
}

/** `change` keeps steps out; steps of several endpoints go side by side. */
export function lockReplay(db: Db, id: string, mode: 'step' | 'change'): Promise<ReplayRow | undefined> {
  const query = db.selectFrom('replays').selectAll().where('id', '=', id)
  return (mode === 'step' ? query.forShare() : query.forUpdate()).executeTakeFirst()
}

export interface ReplayFilter {
  productId?: string
  tenantId?: string
  before?: string
  limit: number
}

export function listReplays(db: Db, filter: ReplayFilter): Promise<ReplayRow[]> {
  let query = db.selectFrom('replays').selectAll().orderBy('id', 'desc').limit(filter.limit)
  if (filter.productId !== undefined) query = query.where('product_id', '=', filter.productId)
  if (filter.tenantId !== undefined) query = query.where('tenant_id', '=', filter.tenantId)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  return query.execute()
}

export async function changeReplay(db: Db, id: string, state: ReplayRow['state'], now: Date): Promise<void> {
  await db.updateTable('replays').set({ state, changed_at: now }).where('id', '=', id).execute()
}

/** Those that are neither canceled nor through: of the product with all its tenants, or of one of these. */
export async function countOpenReplays(
  db: Db,
  { productId, tenantId }: { productId: string; tenantId?: string },
): Promise<number> {
  const row = await db
    .selectFrom('replays')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('product_id', '=', productId)
    .where((where) => (tenantId === undefined ? where.lit(true) : where('tenant_id', '=', tenantId)))
    .where('state', '!=', 'canceled')
    .where((where) =>
      where.exists(
        where
          .selectFrom('replay_endpoints')
          .whereRef('replay_id', '=', 'replays.id')
          .where('ended_at', 'is', null)
          .select('replay_id'),
      ),
    )
    .executeTakeFirstOrThrow()
  return row.count
}

export function listReplayEndpoints(db: Db, replayIds: readonly string[]): Promise<ReplayEndpointRow[]> {
  if (replayIds.length === 0) return Promise.resolve([])
  return db
    .selectFrom('replay_endpoints')
    .selectAll()
    .where('replay_id', 'in', replayIds)
    .orderBy('replay_id')
    .orderBy('endpoint_id')
    .execute()
}

export function lockReplayEndpoint(
  db: Db,
  replayId: string,
  endpointId: string,
): Promise<ReplayEndpointRow | undefined> {
  return db
    .selectFrom('replay_endpoints')
    .selectAll()
    .where('replay_id', '=', replayId)
    .where('endpoint_id', '=', endpointId)
    .forUpdate()
    .executeTakeFirst()
}

export async function saveReplayEndpoint(
  db: Db,
  { replay_id: replayId, endpoint_id: endpointId }: ReplayEndpointRow,
  change: Updateable<ReplayTables['replay_endpoints']>,
): Promise<void> {
  await db
    .updateTable('replay_endpoints')
    .set(change)
    .where('replay_id', '=', replayId)
    .where('endpoint_id', '=', endpointId)
    .execute()
}

/** Fences off the steps under way of what is not through, and answers what begins anew. */
export function restartReplayEndpoints(db: Db, replayId: string): Promise<ReplayEndpointRow[]> {
  return db
    .updateTable('replay_endpoints')
    .set((set) => ({ step: set('step', '+', 1), error: null, waiting_for: null }))
    .where('replay_id', '=', replayId)
    .where('ended_at', 'is', null)
    .returningAll()
    .execute()
}

export type LoggedEvent = Pick<EventRow, 'id' | 'tenant_id' | 'product_id' | 'type' | 'entity'> & {
  has_body: boolean
}

export interface LogSpan {
  productId: string
  tenantId: string | undefined
  after: string
  end: string
  limit: number
}

/** The next stretch of the log in the order of its ids; what it is searched for is decided afterwards, so its cost is known. */
export function listLog(db: Kysely<OutboundTables>, span: LogSpan): Promise<LoggedEvent[]> {
  let query = db
    .selectFrom('events')
    .select(['id', 'tenant_id', 'product_id', 'type', 'entity'])
    .select(sql<boolean>`body is not null`.as('has_body'))
    .where('id', '>', span.after)
    .where('id', '<', span.end)
    .orderBy('id')
    .limit(span.limit)
  query =
    span.tenantId === undefined
      ? query.where('product_id', '=', span.productId)
      : query.where('tenant_id', '=', span.tenantId)
  return query.execute()
}

export interface Fate {
  id: string
  state: ReplayState | 'waiting' | 'body_gone'
  /** Of the open delivery, where there is one. */
  deliveryId: string | null
}

/** Attempts are made after their events, by another process's clock. */
const skewMs = 60 * 60 * 1000

/**
 * What became of events at an endpoint. Open deliveries are found by their ids, which begin with the time of their
 * event's: `work` has no index on what it refers to.
 */
export async function listFates(
  db: Kysely<OutboundTables & JobsTables>,
  endpointId: string,
  eventIds: readonly string[],
  now: Date,
): Promise<Fate[]> {
  const [first] = eventIds
  if (first === undefined) return []
  const firstAttempt = firstIdOf('att', new Date(timeOfId(first).getTime() - skewMs))
  const { rows } = await sql<Fate>`
    with given as (select unnest(${eventIds}::text[]) as id),
    open as (
      select distinct on (w.ref) w.ref, w.id,
        w.attempts > 0 and w.run_at > ${now} and (w.lease_until is null or w.lease_until < now()) as is_late
      from (select distinct 'dlv_' || substr(id, 5, 10) as start from given) moment
      join work w on w.id >= moment.start and w.id < moment.start || '~'
      where w.kind = 'delivery' and w.series = ${endpointId} and w.ref = any (${eventIds}::text[])
      order by w.ref, is_late
    ),
    tried as (
      select event_id, bool_or(outcome in ('delivered', 'acknowledged')) as delivered
      from delivery_attempts
      where event_id = any (${eventIds}::text[]) and endpoint_id = ${endpointId} and id >= ${firstAttempt}
      group by event_id
    ),
    buried as (
      select ref, bool_or(number <= (
          select acknowledged_through from endpoint_feeds where endpoint_id = ${endpointId})) as acknowledged
      from dead_work
      where ref = any (${eventIds}::text[]) and kind = 'delivery' and series = ${endpointId}
      group by ref
    )
    select g.id, o.id as "deliveryId",
      case
        when o.is_late and not coalesce(t.delivered, false) then 'pending_late'
        when o.ref is not null then 'waiting'
        when t.delivered or b.acknowledged then 'delivered'
        when t.event_id is not null or b.ref is not null then 'dead'
        else 'never_fanned_out'
      end as state
    from given g
    left join open o on o.ref = g.id
    left join tried t on t.event_id = g.id
    left join buried b on b.ref = g.id`.execute(db)
  return rows
}

/** How many deliveries to an endpoint are due or will soon be, counted up to a limit. */
export async function countBacklog(
  db: Kysely<JobsTables>,
  endpointId: string,
  { until, most }: { until: Date; most: number },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from (
      select from work
      where kind = 'delivery' and dormant in (false, true) and not blocked
        and lane >= ${endpointId} || '/' and lane < ${endpointId} || '0' and run_at <= ${until}
      union all
      select from work where series = ${endpointId} and order_key is not null and blocked
      limit ${most}) due`.execute(db)
  return rows[0]?.count ?? 0
}

/** Until the end of the transaction: what one step opens, the next one of another replay sees. */
export async function lockEndpointReplays(db: Kysely<OutboundTables>, endpointId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${endpointId}, 715004))`.execute(db)
}
