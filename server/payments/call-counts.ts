import { type Kysely, sql } from 'kysely'
import { firstIdOf } from '#core/ids.ts'
import type { PaymentsTables } from './tables.ts'

export interface CallCount {
  tenant_id: string
  /** The account that was called: a tenant has one at a provider. */
  subject: string
  provider: string
  calls: number
  failed: number
  last_error: string | null
}

/** Calls to providers since. A card that is declined is no failure of the provider. */
export async function countPaymentCalls(db: Kysely<PaymentsTables>, since: Date): Promise<CallCount[]> {
  const { rows } = await sql<CallCount>`
    with ended as (
      select tenant_id, provider, id, note,
        outcome = 'unknown' or coalesce(answer_status in (401, 403, 429) or answer_status >= 500, false) as failed
        from payment_log where id >= ${firstIdOf('plg', since)} and outcome in ('done', 'refused', 'unknown')
    )
    select tenant_id, 'payments/' || provider as subject, provider, count(*) as calls,
      count(*) filter (where failed) as failed,
      (array_agg(note order by id desc) filter (where failed))[1] as last_error
      from ended group by tenant_id, provider having bool_or(failed)`.execute(db)
  return rows
}
