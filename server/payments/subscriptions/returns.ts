import type { Context } from '#core/context.ts'
import { findTenantScope } from '#tenants'
import { traceOf } from '../events.ts'
import { writeLog } from '../payment-log.ts'
import { lookAtSubscription } from './look.ts'
import type { SubscriptionRow } from './queries.ts'

/** The customer is back from the provider's page, where only the provider knows what was done. */
export async function completeSubscriptionReturn(
  context: Context,
  row: SubscriptionRow,
): Promise<SubscriptionRow> {
  const tenant = await findTenantScope(context, row.tenant_id, row.trace_id)
  if (tenant === undefined) return row
  const scope = traceOf(tenant, row)
  await context.database.asTenant(scope, (db) =>
    writeLog(context, db, scope, {
      subject: row.id,
      provider: row.provider,
      action: 'customer_returned',
      note: 'The customer came back. The provider is asked.',
    }),
  )
  return (await lookAtSubscription(context, scope, row.id, 'return')) ?? row
}
