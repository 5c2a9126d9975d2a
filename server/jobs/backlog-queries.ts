import { type Kysely, sql } from 'kysely'
import { otherLabel } from '#core/metrics/metrics.ts'
import type { JobsTables } from './tables.ts'
import type { WorkKind } from './work.ts'

type Db = Kysely<JobsTables>

export interface BacklogShare {
  /** A series; all beyond the largest together are one. */
  series: string
  due: number
  later: number
  oldest_due: Date | null
}

/**
 * What waits, by series, the largest first; what stands behind other work is not due. One pass over the index
 * `work_due`, which holds all that is asked for: a million rows take a fraction of a second. With `most` 0 there is one share, also when nothing waits.
 */
export async function readBacklog(
  db: Db,
  { kind, now, most }: { kind: WorkKind; now: Date; most: number },
): Promise<BacklogShare[]> {
  const { rows } = await sql<BacklogShare>`
    with lanes as (
      select lane, count(*) filter (where run_at <= ${now}) as due, count(*) filter (where run_at > ${now}) as later,
        min(run_at) filter (where run_at <= ${now}) as oldest_due
        from work where kind = ${kind} and not blocked group by dormant, lane
      union all
      select lane, 0, count(*), null from work where kind = ${kind} and order_key is not null and blocked group by lane
    ),
    shares as (
      select split_part(lane, '/', 1) as series, sum(due) as due, sum(later) as later, min(oldest_due) as oldest_due
        from lanes group by 1
    ),
    ranked as (
      select *, row_number() over (order by due + later desc, series) as place from shares
    )
    select case when place <= ${most} then series else ${otherLabel} end as series,
      sum(due)::bigint as due, sum(later)::bigint as later, min(oldest_due) as oldest_due
      from ranked group by 1 order by min(place)`.execute(db)
  const nothing = { series: otherLabel, due: 0, later: 0, oldest_due: null }
  return rows.length === 0 ? [nothing] : rows
}

export async function countDeadJobs(db: Db): Promise<number> {
  const { count } = await db
    .selectFrom('dead_work')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('kind', '=', 'job')
    .executeTakeFirstOrThrow()
  return count
}

export interface OldestDue {
  tenant_id: string
  series: string
  oldest_due: Date
}

/**
 * What has been due since before a moment, by tenant and series: one look at the head of every lane, and at what no
 * claim has woken.
 */
export async function listOldestDue(
  db: Db,
  { kind, before }: { kind: WorkKind; before: Date },
): Promise<OldestDue[]> {
  const { rows } = await sql<OldestDue>`
    with recursive lanes (lane) as (
      (select lane from work where kind = ${kind} and not dormant and not blocked order by lane limit 1)
      union all
      select (select w.lane from work w
          where w.kind = ${kind} and not w.dormant and not w.blocked and w.lane > l.lane order by w.lane limit 1)
        from lanes l where l.lane is not null
    ),
    heads as (
      select head.* from lanes l cross join lateral (
        select w.tenant_id, w.series, w.run_at from work w
         where w.kind = ${kind} and not w.dormant and not w.blocked and w.lane = l.lane and w.run_at < ${before}
         order by w.run_at, w.place limit 1) head
      union all
      select tenant_id, series, run_at from work where kind = ${kind} and dormant and run_at < ${before}
    )
    select tenant_id, series, min(run_at) as oldest_due from heads
     where tenant_id is not null and series is not null
     group by 1, 2`.execute(db)
  return rows
}
