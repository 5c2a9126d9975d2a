import { type Kysely, sql } from 'kysely'
import type { JobsTables } from './tables.ts'
import type { Claim, WorkKind } from './work.ts'

type Db = Kysely<JobsTables>

/** A copy of a database must not take its original's offers for its own. */
export async function readQueueName(db: Db, kind: WorkKind): Promise<string> {
  const { name, database } = await db
    .selectFrom('work_feeders')
    .select([
      'name',
      sql<string>`(select oid::text from pg_database where datname = current_database())`.as('database'),
    ])
    .where('kind', '=', kind)
    .executeTakeFirstOrThrow()
  return `pipecore-${name}-${database}`
}

/** Makes or keeps this process the one that claims for all. @returns whether it is. */
export async function takeFeeding(db: Db, kind: WorkKind, owner: string, seconds: number): Promise<boolean> {
  const taken = await db
    .updateTable('work_feeders')
    .set({ owner, owner_until: sql`now() + ${seconds} * interval '1 second'` })
    .where('kind', '=', kind)
    .where((where) =>
      where.or([
        where('owner', '=', owner),
        where('owner', 'is', null),
        where('owner_until', '<', sql<Date>`now()`),
      ]),
    )
    .returning('owner')
    .executeTakeFirst()
  return taken !== undefined
}

export async function endFeeding(db: Db, owner: string): Promise<void> {
  await db
    .updateTable('work_feeders')
    .set({ owner: null, owner_until: null })
    .where('owner', '=', owner)
    .execute()
}

/** @returns whether each claim still holds its lease. */
export async function areLeased(db: Db, claims: readonly Claim[]): Promise<boolean[]> {
  const ids = claims.map(({ item }) => item.id)
  const rows = await db
    .selectFrom('work')
    .select(['id', 'token'])
    .where('id', '=', sql<string>`any(${ids})`)
    .where('lease_until', '>=', sql<Date>`now()`)
    .execute()
  const leased = new Set(rows.map(({ id, token }) => `${id} ${token}`))
  return claims.map(({ item, token }) => leased.has(`${item.id} ${token}`))
}

/** All that somebody works on now. */
export async function findLeased(db: Db, kind: WorkKind): Promise<Claim[]> {
  const rows = await db
    .selectFrom('work')
    .leftJoin('work_series', 'work_series.series', 'work.series')
    .selectAll('work')
    .select(['work_series.most_running', 'work_series.per_second'])
    .where('work.kind', '=', kind)
    .where('work.lease_until', '>=', sql<Date>`now()`)
    .execute()
  return rows.map((row) => ({
    item: {
      id: row.id,
      kind,
      lane: row.lane,
      series: row.series,
      number: row.number,
      ordered: row.order_key !== null,
      tenantId: row.tenant_id,
      productId: row.product_id,
      ref: row.ref,
      runAt: row.run_at,
      attempt: row.attempts,
    },
    limits:
      row.most_running === null && row.per_second === null
        ? undefined
        : { mostRunning: row.most_running, perSecond: row.per_second },
    token: row.token ?? '',
    claimedAt: performance.now(),
  }))
}
