import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import { decodeCursor, type Page, pageQuery, toPage } from '#core/pagination.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import {
  findReconciliation,
  listReconciliations,
  type ReconciliationRow,
  type StoredDrift,
} from './reconciliation-queries.ts'

const tenantId = z.string().min(1).max(64)
const provider = z.string().min(1).max(50).optional()
const states = z.enum(['running', 'done', 'failed'])

export const NewReconciliation = z.strictObject({
  tenant_id: tenantId,
  provider: provider.meta({ description: "May be left out where it is the tenant's only one." }),
  since: z.iso.datetime({ offset: true }).optional().meta({
    description: 'At most 90 days ago. Default: 3 days, or 7 where payments can only be read one by one.',
  }),
})
export type NewReconciliation = z.infer<typeof NewReconciliation>

export const Reconciliation = z.object({
  id: z.string(),
  tenant_id: z.string(),
  provider: z.string(),
  state: states,
  since: z.iso.datetime(),
  checked: z.number().int().meta({ description: 'Our payments that were compared.' }),
  drifts: z.array(
    z.object({
      payment_id: z.string(),
      drift: z.enum(['refund_outside', 'status_moved', 'amount_differs', 'paid_twice']),
      known: z.string(),
      found: z.string(),
    }),
  ),
  text: z.string().meta({ description: 'What came of it, in plain words.' }),
  error: z.string().nullable(),
  created_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
})
export type Reconciliation = z.infer<typeof Reconciliation>

export const ReconciliationQuery = z.strictObject({
  ...pageQuery,
  tenant_id: tenantId,
  provider,
  state: states.optional(),
})
export type ReconciliationQuery = z.infer<typeof ReconciliationQuery>

/** @throws PipeError 404 */
export async function getReconciliation(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<Reconciliation> {
  const row = await context.database.asTenant(scope, (db) => findReconciliation(db, scope.tenantId, id))
  if (row === undefined) throw notFound('reconciliation', id)
  return presentReconciliation(row)
}

export async function getReconciliations(
  context: Context,
  scope: TenantScope,
  { limit, cursor, ...query }: ReconciliationQuery,
): Promise<Page<Reconciliation>> {
  const filter = { provider: query.provider, state: query.state, before: decodeCursor(cursor) }
  const rows = await context.database.asTenant(scope, (db) =>
    listReconciliations(db, scope.tenantId, { ...filter, limit: limit + 1 }),
  )
  return toPage(rows, limit, presentReconciliation)
}

export function presentReconciliation(row: ReconciliationRow): Reconciliation {
  const drifts = JSON.parse(row.drifts) as StoredDrift[]
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    provider: row.provider,
    state: row.state,
    since: row.since.toISOString(),
    checked: row.checked,
    drifts,
    text: describe(row, drifts.length),
    error: row.error,
    created_at: row.created_at.toISOString(),
    ended_at: row.ended_at?.toISOString() ?? null,
  }
}

function describe({ state, note, provider: providerId }: ReconciliationRow, drifts: number): string {
  const { title } = requirePaymentProvider(providerId)
  if (state === 'running') return `The payments are being compared with ${title}.`
  const ending = state === 'failed' ? 'It did not come to its end.' : ''
  const counted = drifts === 1 ? '1 difference was found.' : `${drifts || 'No'} differences were found.`
  return [ending, note, counted].filter(Boolean).join(' ')
}
