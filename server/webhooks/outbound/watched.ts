import { type Kysely, sql } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { OutboundTables } from './tables.ts'

type Db = Kysely<OutboundTables>

export interface FailingEndpoint {
  id: string
  tenant_id: string
  url: string
  failing_since: Date | null
  last_error: string | null
  disabled_reason: string | null
}

/** Endpoints of tenants that take no events now, those of whole products left out: they are nobody's in particular. */
export async function listFailingEndpoints(db: Db): Promise<FailingEndpoint[]> {
  const { rows } = await sql<FailingEndpoint>`
    select e.id, e.tenant_id, e.url, h.failing_since, h.last_error, e.disabled_reason
      from endpoints e left join endpoint_health h on h.endpoint_id = e.id
     where e.deleted_at is null and e.tenant_id is not null
       and (e.disabled_reason is not null or (e.active and h.state in ('failing', 'open')))`.execute(db)
  return rows
}

export interface Expected {
  tenantId: string
  /** A type of event. */
  name: string
  from: Date
}

/** Whether an event of each came since its moment, in the order asked. */
export async function findEventsSince(db: Db, expected: readonly Expected[]): Promise<boolean[]> {
  if (expected.length === 0) return []
  const { rows } = await sql<{ heard: boolean }>`
    select exists (
      select from events e where e.tenant_id = a.tenant_id and e.type = a.name and e.id >= a.first_id) as heard
      from unnest(
        ${expected.map(({ tenantId }) => tenantId)}::text[], ${expected.map(({ name }) => name)}::text[],
        ${expected.map(({ from }) => firstIdOf('evt', from))}::text[]
      ) with ordinality as a (tenant_id, name, first_id, place)
     order by a.place`.execute(db)
  return rows.map(({ heard }) => heard)
}
