import { type OpenConnection, openConnectionsOfProvider } from '#connections'
import type { Context } from '#core/context.ts'
import type { Database, TenantScope } from '#core/database.ts'
import { createGroup } from '#core/grouped.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { findPaymentsBy } from './joint-queries.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { PaymentRow, ProviderIds } from './queries.ts'

export interface NamedPayment {
  payment: PaymentRow
  /** The tenant's at its provider; undefined where they could not be opened. */
  connections: readonly OpenConnection<unknown>[] | undefined
}

type Read = (ids: ProviderIds) => Promise<NamedPayment | undefined>

const mostTogether = 100
/** One may wait for its answer while the next is asked. */
const inFlight = 2

/** The payment of a tenant that any of these ids names. Those that webhooks name at the same moment are read together. */
export function readNamed(
  context: Context,
  scope: TenantScope,
  provider: string,
  ids: ProviderIds,
): Promise<NamedPayment | undefined> {
  return readOf(context, scope, provider)(ids)
}

const recentReads = new WeakMap<Database, Recent<string, Read>>()

function readOf(context: Context, scope: TenantScope, provider: string): Read {
  const all = recentReads.get(context.database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  recentReads.set(context.database, all)
  const key = `${scope.tenantId} ${provider}`
  const flush = (named: readonly ProviderIds[]) => readAll(context, scope, provider, named)
  const read = all.get(key) ?? createGroup({ maxSize: mostTogether, inFlight, flush })
  all.set(key, read)
  return read
}

function readAll(
  context: Context,
  scope: TenantScope,
  provider: string,
  named: readonly ProviderIds[],
): Promise<Array<NamedPayment | undefined>> {
  return context.database.readAsTenant(scope, async (db) => {
    const [payments, connections] = await Promise.all([
      findPaymentsBy(db, scope.tenantId, provider, named),
      // A payment that needs them asks again, and what is wrong with them is judged there.
      openConnectionsOfProvider(context, db, scope, 'payments', requirePaymentProvider(provider)).catch(
        () => undefined,
      ),
    ])
    return payments.map((payment) => payment && { payment, connections })
  })
}
