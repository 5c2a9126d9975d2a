import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { type IncidentRow, listIncidents, listNotices, type NoticeRow } from './queries.ts'
import type { Incident, IncidentQuery } from './schema.ts'

/** Newest first, with who was told. */
export async function getIncidents(
  context: Context,
  scope: TenantScope,
  { limit, cursor, state }: IncidentQuery,
): Promise<Page<Incident>> {
  const before = decodeCursor(cursor)
  return context.database.readAsTenant(scope, async (db) => {
    const rows = await listIncidents(db, {
      tenantId: scope.tenantId,
      limit: limit + 1,
      ...(state !== undefined && { state }),
      ...(before !== undefined && { before }),
    })
    const notices = await listNotices(
      db,
      scope.tenantId,
      rows.map(({ id }) => id),
    )
    return toPage(rows, limit, (row) =>
      present(
        row,
        notices.filter(({ incident_id: id }) => id === row.id),
      ),
    )
  })
}

function present(row: IncidentRow, notices: readonly NoticeRow[]): Incident {
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    rule: row.rule,
    kind: row.kind,
    subject: row.subject,
    details: JSON.parse(row.details) as Record<string, unknown>,
    state: row.resolved_at === null ? 'open' : 'resolved',
    opened_at: row.opened_at.toISOString(),
    resolved_at: row.resolved_at?.toISOString() ?? null,
    notices: notices.map(({ phase, channel, address, message_id, problem, told_at: toldAt }) => ({
      phase,
      channel,
      address,
      message_id,
      problem,
      told_at: toldAt.toISOString(),
    })),
  }
}
