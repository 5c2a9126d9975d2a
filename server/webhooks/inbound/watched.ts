import { type Kysely, sql } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { InboundTables } from './tables.ts'

export interface Expected {
  tenantId: string
  /** A provider. */
  name: string
  from: Date
}

/** Whether a webhook of each was taken since its moment, in the order asked. */
export async function findWebhooksSince(
  db: Kysely<InboundTables>,
  expected: readonly Expected[],
): Promise<boolean[]> {
  if (expected.length === 0) return []
  const { rows } = await sql<{ heard: boolean }>`
    select exists (
      select from inbound_webhooks w
       where w.tenant_id = a.tenant_id and w.provider = a.name and w.id >= a.first_id and w.state = 'stored') as heard
      from unnest(
        ${expected.map(({ tenantId }) => tenantId)}::text[], ${expected.map(({ name }) => name)}::text[],
        ${expected.map(({ from }) => firstIdOf('whk', from))}::text[]
      ) with ordinality as a (tenant_id, name, first_id, place)
     order by a.place`.execute(db)
  return rows.map(({ heard }) => heard)
}
