import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import { normalizeAddress } from '#messaging'
import { deleteRule, findContacts, listRules, type RuleRow, upsertContacts, upsertRule } from './queries.ts'
import { Contacts, RuleSettings } from './schema.ts'
import type { RuleKind } from './tables.ts'

const mostRules = 50

/** What every tenant has without saving anything. A saved rule of the same name takes its place. */
export const defaultRules: ReadonlyMap<string, RuleSettings> = new Map(
  (['provider_failing', 'endpoint_failing', 'backlog'] as const satisfies readonly RuleKind[]).map((kind) => [
    kind,
    RuleSettings.parse({ kind }),
  ]),
)

interface RuleView {
  name: string
  default: boolean
  settings: RuleSettings
}

export function readSettings({ settings }: RuleRow): RuleSettings {
  return RuleSettings.parse(JSON.parse(settings))
}

export async function getRules(context: Context, scope: TenantScope): Promise<RuleView[]> {
  const rows = await context.database.readAsTenant(scope, (db) => listRules(db, scope.tenantId))
  const saved = rows.map((row): RuleView => ({ name: row.name, default: false, settings: readSettings(row) }))
  const names = new Set(saved.map(({ name }) => name))
  const untouched = [...defaultRules].filter(([name]) => !names.has(name))
  return [...untouched.map(([name, settings]) => ({ name, default: true, settings })), ...saved]
}

/** @throws PipeError 422 when a default's name is given to another kind, or there are too many */
export async function saveRule(
  context: Context,
  scope: TenantScope,
  name: string,
  settings: RuleSettings,
): Promise<RuleView> {
  const standard = defaultRules.get(name)
  if (standard !== undefined && standard.kind !== settings.kind) {
    throw invalidRequest(`The rule ${name} is of the kind ${standard.kind}; choose another name.`, [
      { field: 'kind', message: `must be ${standard.kind} under this name` },
    ])
  }
  await context.database.asTenant(scope, async (db) => {
    const others = (await listRules(db, scope.tenantId)).filter((row) => row.name !== name)
    if (others.length >= mostRules) throw invalidRequest(`A tenant has at most ${mostRules} rules.`, [])
    const row = {
      tenant_id: scope.tenantId,
      name,
      settings: JSON.stringify(settings),
      updated_at: context.now(),
    }
    await upsertRule(db, row)
  })
  return { name, default: false, settings }
}

/** A default comes back as it was. @throws PipeError 404 */
export async function removeRule(context: Context, scope: TenantScope, name: string): Promise<void> {
  const isDeleted = await context.database.asTenant(scope, (db) => deleteRule(db, scope.tenantId, name))
  if (!isDeleted) throw notFound('rule', name)
}

export async function getContacts(context: Context, scope: TenantScope): Promise<Contacts> {
  const text = await context.database.readAsTenant(scope, (db) => findContacts(db, scope.tenantId))
  return text === undefined ? { contacts: [] } : Contacts.parse(JSON.parse(text))
}

/** @throws PipeError `request_invalid` with every address that can't be written to */
export async function saveContacts(
  context: Context,
  scope: TenantScope,
  { contacts }: Contacts,
): Promise<Contacts> {
  const read = contacts.map((contact) => ({
    contact,
    found: normalizeAddress(contact.channel, contact.address),
  }))
  const errors = read.flatMap(({ found }, index) =>
    'problem' in found ? [{ field: `contacts.${index}.address`, message: found.problem }] : [],
  )
  if (errors.length > 0) throw invalidRequest('These contacts can not be written to; see errors.', errors)
  const normal = read.map(({ contact, found }) => ({
    ...contact,
    ...('address' in found && { address: found.address }),
  }))
  const saved = { contacts: normal }
  const row = { tenant_id: scope.tenantId, contacts: JSON.stringify(saved), updated_at: context.now() }
  await context.database.asTenant(scope, (db) => upsertContacts(db, row))
  return saved
}
