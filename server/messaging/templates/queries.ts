import type { Kysely, Selectable } from 'kysely'
import type { MessagingTables } from '../tables.ts'

type Db = Kysely<MessagingTables>
export type TemplateRow = Selectable<MessagingTables['message_templates']>

/** Every locale of a template, the default first. */
export function listLocales(db: Db, tenantId: string, name: string): Promise<TemplateRow[]> {
  return db
    .selectFrom('message_templates')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .orderBy('is_default', 'desc')
    .orderBy('created_at')
    .execute()
}

export function listTemplates(db: Db, tenantId: string): Promise<TemplateRow[]> {
  return db
    .selectFrom('message_templates')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('name')
    .orderBy('locale')
    .execute()
}

export function upsertTemplate(db: Db, row: Omit<TemplateRow, 'created_at'>): Promise<TemplateRow> {
  const { tenant_id: _tenant, name: _name, locale: _locale, ...change } = row
  return db
    .insertInto('message_templates')
    .values(row)
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name', 'locale']).doUpdateSet(change))
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function clearDefault(
  db: Db,
  tenantId: string,
  name: string,
  keptLocale: string,
): Promise<void> {
  await db
    .updateTable('message_templates')
    .set({ is_default: false })
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .where('locale', '!=', keptLocale)
    .execute()
}

export async function deleteTemplate(
  db: Db,
  tenantId: string,
  name: string,
  locale: string,
): Promise<boolean> {
  const row = await db
    .deleteFrom('message_templates')
    .where('tenant_id', '=', tenantId)
    .where('name', '=', name)
    .where('locale', '=', locale)
    .returning('name')
    .executeTakeFirst()
  return row !== undefined
}
