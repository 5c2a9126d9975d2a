import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { traceOf } from '../events.ts'
import { orAsItStands } from '../operations.ts'
import type { Look } from '../recovery.ts'
import { chargeWhatIsDue } from './emulated.ts'
import { findSubscription, type SubscriptionRow } from './queries.ts'
import { readBack } from './recovery.ts'

/**
 * Brings a subscription up to date: reads it at its provider, or charges what is due where the provider knows no
 * subscriptions. The one path of webhook, return, janitor and request.
 */
export async function lookAtSubscription(
  context: Context,
  scope: TenantScope,
  id: string,
  look: Look,
): Promise<SubscriptionRow | undefined> {
  const row = await context.database.asTenant(scope, (db) => findSubscription(db, scope.tenantId, id))
  if (row === undefined) return undefined
  const own = traceOf(scope, row)
  return row.mode === 'native' ? readBack(context, own, id, look) : chargeWhatIsDue(context, own, id)
}

/** For what was begun or changed already: it must not be told as failed. */
export function lookAfterChange(
  context: Context,
  scope: TenantScope,
  row: SubscriptionRow,
  look: Look,
): Promise<SubscriptionRow | undefined> {
  const follow = () => lookAtSubscription(context, scope, row.id, look)
  return orAsItStands(context, scope, row, { follow, find: findSubscription })
}
