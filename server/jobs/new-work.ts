import type { Kysely } from 'kysely'
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
