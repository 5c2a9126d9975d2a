import { type Kysely, sql } from 'kysely'
import type { OutboundTables } from '../tables.ts'

export interface StateCount {
  state: string
  endpoints: number
}

/** How many endpoints are in each state; those that never failed have no row and are well. */
export async function countStates(db: Kysely<OutboundTables>): Promise<StateCount[]> {
  const { rows } = await sql<StateCount>`
    select case when not e.active then 'disabled' else coalesce(h.state, 'healthy') end as state, count(*) as endpoints
      from endpoints e left join endpoint_health h on h.endpoint_id = e.id
     where e.deleted_at is null and (e.active or e.disabled_reason is not null)
     group by 1`.execute(db)
  return rows
}

export interface UnwellEndpoint {
  endpoint_id: string
  state: string
}

/** Those that have been failing for longest. */
export function listUnwell(db: Kysely<OutboundTables>, most: number): Promise<UnwellEndpoint[]> {
  return db
    .selectFrom('endpoint_health')
    .innerJoin('endpoints', 'endpoints.id', 'endpoint_health.endpoint_id')
    .select(['endpoint_health.endpoint_id', 'endpoint_health.state'])
    .where('endpoint_health.state', '!=', 'healthy')
    .where('endpoints.active', '=', true)
    .where('endpoints.deleted_at', 'is', null)
    .orderBy('endpoint_health.failing_since')
    .limit(most)
    .execute()
}
