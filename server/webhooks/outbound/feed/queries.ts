import { type Kysely, sql } from 'kysely'
import type { OutboundTables } from '../tables.ts'
import type { Shapes } from '../versions/shape.ts'

type Db = Kysely<OutboundTables>

/** What is known of one number at an endpoint. */
export interface NumberedRow {
  number: number
  event_id: string
  is_open: boolean
  is_dead: boolean
  attempts: number
  delivered_at: Date | null
  acknowledged_at: Date | null
}

/**
 * Up to `limit` numbers that follow. One statement, since a delivery moves from `work` to its attempts: numbers have no
 * gaps, so the first one that is still known bounds the page.
 */
export async function listNumbered(
  db: Db,
  endpointId: string,
  after: number,
  limit: number,
): Promise<NumberedRow[]> {
  const { rows } = await sql<NumberedRow>`
    with of_work as materialized (
      select number, ref, died_at from numbered_work('delivery', ${endpointId}, ${after})
    ),
    known as (
      select least(
        (select min(number) from delivery_attempts where endpoint_id = ${endpointId} and number > ${after}),
        (select min(number) from of_work)) as first
    ),
    told as (
      select number, event_id, outcome, attempted_at as at from delivery_attempts
      where endpoint_id = ${endpointId}
        and number between (select first from known) and (select first from known) + ${limit}::int - 1
      union all
      select number, ref, case when died_at is null then 'open' else 'buried' end, died_at from of_work
      where number < (select first from known) + ${limit}::int
    )
    select number, min(event_id) as event_id,
      bool_or(outcome = 'open') as is_open,
      bool_or(outcome in ('dead', 'buried')) as is_dead,
      count(*) filter (where outcome not in ('open', 'buried', 'acknowledged'))::int as attempts,
      min(at) filter (where outcome = 'delivered') as delivered_at,
      min(at) filter (where outcome = 'acknowledged') as acknowledged_at
    from told group by number order by number`.execute(db)
  return rows
}

/**
 * Of events in this order, as many as those before them are no more than `mostBytes` together. Null: it, or its body
 * alone, is past its retention.
 */
export async function readShapes(
  db: Db,
  eventIds: readonly string[],
  mostBytes: number,
): Promise<Array<Shapes | null>> {
  const { rows } = await sql<Shapes | { body: null }>`
    select type, version, body, older
    from (
      select given.place, event.type, event.version, event.body, event.older,
        sum(size.bytes) over (order by given.place) - size.bytes as bytes_before
      from unnest(${eventIds}::text[]) with ordinality as given (id, place)
      left join events event on event.id = given.id
      cross join lateral (
        select coalesce(octet_length(event.body), 0) + coalesce(octet_length(event.older), 0) as bytes
      ) size
    ) sized
    where bytes_before <= ${mostBytes}
    order by place`.execute(db)
  return rows.map((row) => (row.body === null ? null : row))
}

export async function findPosition(db: Db, endpointId: string): Promise<number> {
  const row = await db
    .selectFrom('endpoint_feeds')
    .select('acknowledged_through')
    .where('endpoint_id', '=', endpointId)
    .executeTakeFirst()
  return row?.acknowledged_through ?? 0
}

/** It never moves back. */
export async function movePosition(db: Db, endpointId: string, through: number, now: Date): Promise<void> {
  await db
    .insertInto('endpoint_feeds')
    .values({ endpoint_id: endpointId, acknowledged_through: through, acknowledged_at: now })
    .onConflict((conflict) =>
      conflict
        .column('endpoint_id')
        .doUpdateSet({ acknowledged_through: through, acknowledged_at: now })
        .where('endpoint_feeds.acknowledged_through', '<', through),
    )
    .execute()
}
