import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { writeLog } from '../payment-log.ts'
import type { SubscriptionRow } from './queries.ts'

/** What PipeCore decided by itself, in plain words. */
export async function writeDecision(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  note: string,
): Promise<void> {
  await writeLog(context, db, scope, { subject: row.id, provider: row.provider, action: 'decided', note })
}
