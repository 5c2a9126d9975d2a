import { type Kysely, sql } from 'kysely'
import type { JobsTables } from './tables.ts'
import type { WorkKind } from './work.ts'

export interface NewWork {
  id: string
  kind: WorkKind
  lane: string
  tenant_id: string
  product_id: string
  /** Id of the body in its own append-only log. */
  ref: string
  run_at: Date
  /** The series whose lane it is in (`series/…`), where it has one. */
  series?: string
  /** It stays behind earlier work of its series with the same key. */
  order_key?: string
}

/** Opens work whose body the caller stores in the same transaction; call `wakeWork` once that has committed. */
export async function insertWork(db: Kysely<JobsTables>, work: readonly NewWork[]): Promise<void> {
  await db
    .insertInto('work')
    .values(work.map((row) => ({ ...row, lease_until: null, attempts: 0, token: null })))
    .execute()
}

/**
 * Brings the next try of waiting work forward. What is being worked on, or is due sooner, stays as it is.
 * @returns the ids of what comes sooner now
 */
export async function hurryWork(
  db: Kysely<JobsTables>,
  hurried: readonly { id: string; runAt: Date }[],
): Promise<string[]> {
  if (hurried.length === 0) return []
  const { rows } = await sql<{ id: string }>`
    with given as materialized (
      select * from unnest(${hurried.map(({ id }) => id)}::text[], ${hurried.map(({ runAt }) => runAt)}::timestamptz[])
        as given (id, run_at)
      order by id
    ),
    waiting as materialized (
      select found.id, given.run_at
      from given cross join lateral (
        select w.id from work w
        where w.id = given.id and w.run_at > given.run_at and (w.lease_until is null or w.lease_until < now())
        for update skip locked
      ) found
    )
    update work w set run_at = waiting.run_at from waiting
    -- Found by their keys, whatever the statistics say.
    where w.id = any (array(select id from waiting)) and w.id = waiting.id
    returning w.id`.execute(db)
  return rows.map((row) => row.id)
}

/** Of a series: what was given up and is tried anew under another id. */
export async function forgetDeadWork(
  db: Kysely<JobsTables>,
  series: string,
  refs: readonly string[],
): Promise<void> {
  if (refs.length === 0) return
  await db.deleteFrom('dead_work').where('series', '=', series).where('ref', 'in', refs).execute()
}
