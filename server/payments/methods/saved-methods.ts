import type { Kysely, Selectable } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { openSecret, type SecretCell } from '#tenants'
import type { Customer, MethodChoice } from '../providers/provider.ts'
import type { PaymentsTables } from '../tables.ts'
import { findMethod } from './queries.ts'

export type MethodRow = Selectable<PaymentsTables['payment_methods']>
export type SavedChoice = Extract<MethodChoice, { kind: 'saved' }>

export function cellOfMethod(tenantId: string, id: string): SecretCell {
  return { owner: `tenant:${tenantId}`, table: 'payment_methods', row: id, column: 'sealed_token' }
}

/**
 * A saved method, ready to be charged.
 * @throws PipeError 404 `payment_method_not_found`, 422 `method_unusable`
 */
export async function openMethod(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
): Promise<{ row: MethodRow; choice: SavedChoice }> {
  const row = await findMethod(db, scope.tenantId, id)
  if (row === undefined) throw notFound('payment_method', id)
  if (row.status !== 'active' || row.sealed_token === null) {
    const text = `This method is ${row.status} and can't be charged. Save another with POST /payments/methods.`
    throw new PipeError('method_unusable', 422, text, {
      errors: [{ field: 'method_id', message: `is ${row.status}` }],
    })
  }
  return { row, choice: await openChoice(context, db, row, row.sealed_token) }
}

/** For a call that is made again; undefined when the method is gone. */
export async function findChoice(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
): Promise<SavedChoice | undefined> {
  const row = await findMethod(db, scope.tenantId, id)
  return row === undefined || row.sealed_token === null
    ? undefined
    : openChoice(context, db, row, row.sealed_token)
}

async function openChoice(
  context: Context,
  db: Kysely<Tables>,
  row: MethodRow,
  sealed: string,
): Promise<SavedChoice> {
  const text = await openSecret(context, db, cellOfMethod(row.tenant_id, row.id), sealed)
  return {
    kind: 'saved',
    token: JSON.parse(text) as Record<string, string>,
    customer: JSON.parse(row.customer) as Customer,
  }
}
