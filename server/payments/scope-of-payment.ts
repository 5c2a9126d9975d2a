import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { type Caller, scopeFor } from '#tenants'
import { findTenantOfPayment } from './queries.ts'
import { findTenantOfReconciliation } from './reconciliation-queries.ts'

/**
 * The scope for a path that names only a payment, or its checkout.
 * @throws PipeError 404 also when there is one that this caller may not know of
 */
export async function scopeOfPayment(
  context: Context,
  caller: Caller,
  id: string,
  traceId: string,
): Promise<TenantScope> {
  const tenantId = await findTenantOfPayment(context.database.system, id)
  const missing = notFound(id.startsWith('chk_') ? 'checkout' : 'payment', id)
  return scopeOfOwner(context, caller, tenantId, traceId, missing)
}

/** The same for a reconciliation. */
export async function scopeOfReconciliation(
  context: Context,
  caller: Caller,
  id: string,
  traceId: string,
): Promise<TenantScope> {
  const tenantId = await findTenantOfReconciliation(context.database.system, id)
  return scopeOfOwner(context, caller, tenantId, traceId, notFound('reconciliation', id))
}

async function scopeOfOwner(
  context: Context,
  caller: Caller,
  tenantId: string | undefined,
  traceId: string,
  missing: PipeError,
): Promise<TenantScope> {
  if (tenantId === undefined) throw missing
  return scopeFor(context, caller, tenantId, traceId).catch((error: unknown) => {
    throw error instanceof PipeError && error.status === 404 ? missing : error
  })
}
