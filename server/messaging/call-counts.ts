import { type Kysely, sql } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { MessagingTables } from './tables.ts'

export interface CallCount {
  tenant_id: string
  /** The account that was called. */
  subject: string
  provider: string
  calls: number
  failed: number
  last_error: string | null
}

/**
 * Calls to providers since, by connection. What a recipient or a message is to blame for is no failure of the
 * provider.
 */
export async function countMessagingCalls(db: Kysely<MessagingTables>, since: Date): Promise<CallCount[]> {
  const { rows } = await sql<CallCount>`
    with ended as (
      select tenant_id, connection_id, provider, id, error::jsonb as error,
        outcome = 'unknown' or coalesce(error::jsonb ->> 'kind', '') in
          ('transient', 'rate_limited', 'auth', 'account', 'config', 'unknown') as failed
        from message_attempts where id >= ${firstIdOf('att', since)} and outcome is not null
    )
    select tenant_id, connection_id as subject, min(provider) as provider, count(*) as calls,
      count(*) filter (where failed) as failed,
      (array_agg(error ->> 'message' order by id desc) filter (where failed))[1] as last_error
      from ended group by tenant_id, connection_id having bool_or(failed)`.execute(db)
  return rows
}
