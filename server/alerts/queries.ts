import { type Insertable, type Kysely, type Selectable, sql } from 'kysely'
import type { AlertsTables, Phase } from './tables.ts'

type Db = Kysely<AlertsTables>
export type RuleRow = Selectable<AlertsTables['alert_rules']>
export type IncidentRow = Selectable<AlertsTables['alert_incidents']>
export type NoticeRow = Selectable<AlertsTables['alert_notices']>

export async function upsertRule(db: Db, row: RuleRow): Promise<void> {
  const { settings, updated_at } = row
  await db
    .insertInto('alert_rules')
    .values(row)
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name']).doUpdateSet({ settings, updated_at }))
    .execute()
}

export function listRules(db: Db, tenantId: string): Promise<RuleRow[]> {
  return db.selectFrom('alert_rules').selectAll().where('tenant_id', '=', tenantId).orderBy('name').execute()
}

export function listAllRules(db: Db): Promise<RuleRow[]> {
  return db.selectFrom('alert_rules').selectAll().execute()
}

export async function deleteRule(db: Db, tenantId: string, name: string): Promise<boolean> {
  const result = await db
    .deleteFrom('alert_rules')
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

export async function upsertContacts(db: Db, row: Insertable<AlertsTables['alert_contacts']>): Promise<void> {
  const { contacts, updated_at } = row
  await db
    .insertInto('alert_contacts')
    .values(row)
    .onConflict((conflict) => conflict.column('tenant_id').doUpdateSet({ contacts, updated_at }))
    .execute()
}

export async function findContacts(db: Db, tenantId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('alert_contacts')
    .select('contacts')
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()
  return row?.contacts
}

/** One evaluation at a time writes, in whichever process. */
export async function lockEvaluation(db: Db): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('alerts evaluation', 0))`.execute(db)
}

export function listOpenIncidents(db: Db): Promise<IncidentRow[]> {
  return db.selectFrom('alert_incidents').selectAll().where('resolved_at', 'is', null).execute()
}

export function insertIncidents(
  db: Db,
  rows: readonly Insertable<AlertsTables['alert_incidents']>[],
): Promise<IncidentRow[]> {
  if (rows.length === 0) return Promise.resolve([])
  return db
    .insertInto('alert_incidents')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .execute()
}

export async function setHealthy(
  db: Db,
  ids: readonly string[],
  healthy: 'more' | 'none',
  now: Date,
): Promise<void> {
  if (ids.length === 0) return
  await db
    .updateTable('alert_incidents')
    .set({ healthy: healthy === 'none' ? 0 : sql<number>`healthy + 1`, counted_at: now })
    .where('id', 'in', ids)
    .execute()
}

export function resolveIncidents(db: Db, ids: readonly string[], now: Date): Promise<IncidentRow[]> {
  if (ids.length === 0) return Promise.resolve([])
  return db
    .updateTable('alert_incidents')
    .set({ resolved_at: now, counted_at: now })
    .where('id', 'in', ids)
    .where('resolved_at', 'is', null)
    .returningAll()
    .execute()
}

export function findIncident(db: Db, tenantId: string, id: string): Promise<IncidentRow | undefined> {
  return db
    .selectFrom('alert_incidents')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
}

export interface IncidentFilter {
  tenantId: string
  state?: 'open' | 'resolved'
  before?: string
  limit: number
}

export function listIncidents(db: Db, filter: IncidentFilter): Promise<IncidentRow[]> {
  const { tenantId, state, before, limit } = filter
  let query = db
    .selectFrom('alert_incidents')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id', 'desc')
    .limit(limit)
  if (state !== undefined) query = query.where('resolved_at', state === 'open' ? 'is' : 'is not', null)
  if (before !== undefined) query = query.where('id', '<', before)
  return query.execute()
}

export function listNotices(db: Db, tenantId: string, incidentIds: readonly string[]): Promise<NoticeRow[]> {
  if (incidentIds.length === 0) return Promise.resolve([])
  return db
    .selectFrom('alert_notices')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('incident_id', 'in', incidentIds)
    .orderBy('told_at')
    .execute()
}

export async function findTold(
  db: Db,
  tenantId: string,
  incidentId: string,
  phase: Phase,
): Promise<Set<string>> {
  const rows = await listNotices(db, tenantId, [incidentId])
  return new Set(rows.filter((row) => row.phase === phase).map((row) => `${row.channel} ${row.address}`))
}

export async function insertNotice(db: Db, row: NoticeRow): Promise<void> {
  await db
    .insertInto('alert_notices')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function deleteIncidentsBefore(db: Db, before: Date): Promise<void> {
  await db.deleteFrom('alert_incidents').where('resolved_at', '<', before).execute()
}
