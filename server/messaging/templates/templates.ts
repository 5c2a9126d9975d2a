import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import type { ChosenTemplate } from '../content.ts'
import type { TemplateChoice } from '../schema.ts'
import {
  clearDefault,
  deleteTemplate,
  listLocales,
  listTemplates,
  type TemplateRow,
  upsertTemplate,
} from './queries.ts'
import { listPlaceholders, renderBodies } from './rendering.ts'

const ProviderReference = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(512)
    .meta({ description: "Meta's template name, Twilio's HX…, SendGrid's d-…, Resend's id." }),
  language: z.string().max(20).optional().meta({ description: "Meta's language code, such as es_CL." }),
})

export const TemplateInput = z
  .strictObject({
    subject: z.string().max(998).optional(),
    text: z.string().max(65_536).optional(),
    html: z.string().max(1_000_000).optional(),
    variables: z
      .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a plain name'))
      .max(100)
      .optional()
      .meta({
        description:
          'In the order the providers count them. Default: as they first stand in subject, text, html.',
      }),
    references: z.record(z.string(), ProviderReference).default({}),
    default: z.boolean().default(false).meta({ description: 'Used when no locale fits.' }),
  })
  .refine((input) => input.text !== undefined || input.html !== undefined, {
    message: 'needs text, html or both',
    path: ['text'],
  })
export type TemplateInput = z.infer<typeof TemplateInput>

export const Template = z.object({
  name: z.string(),
  locale: z.string(),
  subject: z.string().nullable(),
  text: z.string().nullable(),
  html: z.string().nullable(),
  variables: z.array(z.string()),
  references: z.record(z.string(), z.object({ name: z.string(), language: z.string().optional() })),
  default: z.boolean(),
  warnings: z.array(z.string()).meta({ description: 'What the lint found.' }),
  updated_at: z.iso.datetime(),
})
export type Template = z.infer<typeof Template>

export const Preview = z.object({
  locale: z.string(),
  subject: z.string().nullable(),
  text: z.string().nullable(),
  html: z.string().nullable(),
  missing: z.array(z.string()).meta({ description: 'Variables that got no value: a send would be refused.' }),
  unknown: z.array(z.string()).meta({ description: 'Values for variables the template does not have.' }),
})
export type Preview = z.infer<typeof Preview>

/** Saves one locale; the first locale of a template is its default until another is. */
export async function saveTemplate(
  context: Context,
  scope: TenantScope,
  name: string,
  locale: string,
  input: TemplateInput,
): Promise<Template> {
  const variables = input.variables ?? listPlaceholders(input)
  return context.database.asTenant(scope, async (db) => {
    const others = (await listLocales(db, scope.tenantId, name)).filter((row) => row.locale !== locale)
    const isDefault = input.default || others.every((row) => !row.is_default)
    const row = await upsertTemplate(db, {
      tenant_id: scope.tenantId,
      name,
      locale,
      subject: input.subject ?? null,
      text_body: input.text ?? null,
      html_body: input.html ?? null,
      variables,
      provider_references: JSON.stringify(input.references),
      is_default: isDefault,
      updated_at: context.now(),
    })
    if (isDefault) await clearDefault(db, scope.tenantId, name, locale)
    return present(row, others)
  })
}

export async function getTemplates(context: Context, scope: TenantScope): Promise<Template[]> {
  const rows = await context.database.asTenant(scope, (db) => listTemplates(db, scope.tenantId))
  return rows.map((row) =>
    present(
      row,
      rows.filter((other) => other.name === row.name && other !== row),
    ),
  )
}

/** @throws PipeError 404 */
export async function getTemplate(context: Context, scope: TenantScope, name: string): Promise<Template[]> {
  const rows = await context.database.asTenant(scope, (db) => listLocales(db, scope.tenantId, name))
  if (rows.length === 0) throw notFound('template', name)
  return rows.map((row) =>
    present(
      row,
      rows.filter((other) => other !== row),
    ),
  )
}

export async function removeTemplate(
  context: Context,
  scope: TenantScope,
  name: string,
  locale: string,
): Promise<void> {
  const removed = await context.database.asTenant(scope, (db) =>
    deleteTemplate(db, scope.tenantId, name, locale),
  )
  if (!removed) throw notFound('template', `${name}/${locale}`)
}

export async function previewTemplate(
  context: Context,
  scope: TenantScope,
  choice: TemplateChoice,
): Promise<Preview> {
  const row = await context.database.asTenant(scope, (db) => pickLocale(db, scope, choice))
  const bodies = renderBodies(bodiesOf(row), choice.variables)
  return {
    locale: row.locale,
    subject: bodies.subject ?? null,
    text: bodies.text ?? null,
    html: bodies.html ?? null,
    missing: missingVariables(row, choice.variables),
    unknown: Object.keys(choice.variables).filter((name) => !neededVariables(row).includes(name)),
  }
}

/**
 * The template in the nearest locale with its variables filled in.
 * @throws PipeError `request_invalid` for an unknown template or naming every variable without a value
 */
export async function chooseTemplate(
  db: Kysely<Tables>,
  scope: TenantScope,
  choice: TemplateChoice,
): Promise<ChosenTemplate> {
  const row = await pickLocale(db, scope, choice)
  const missing = missingVariables(row, choice.variables)
  if (missing.length > 0) {
    throw invalidRequest(
      `The template ${choice.name} (${row.locale}) needs values for ${missing.join(', ')}.`,
      missing.map((name) => ({ field: `template.variables.${name}`, message: 'is missing' })),
    )
  }
  return {
    name: row.name,
    locale: row.locale,
    variables: row.variables.map((name) => ({ name, value: choice.variables[name] ?? '' })),
    references: referencesOf(row),
    ...renderBodies(bodiesOf(row), choice.variables),
  } as ChosenTemplate
}

/** `es-CL` falls back to `es`, to another Spanish, then to the template's default. */
async function pickLocale(
  db: Kysely<Tables>,
  scope: TenantScope,
  choice: TemplateChoice,
): Promise<TemplateRow> {
  const rows = await listLocales(db, scope.tenantId, choice.name)
  const wanted = normalizeLocale(choice.locale ?? '')
  const language = wanted.split('-')[0] ?? ''
  const locale = (row: TemplateRow) => normalizeLocale(row.locale)
  const chosen =
    rows.find((row) => locale(row) === wanted) ??
    rows.find((row) => locale(row) === language) ??
    rows.find((row) => language !== '' && locale(row).startsWith(`${language}-`)) ??
    rows[0]
  if (chosen !== undefined) return chosen
  throw invalidRequest(
    `There is no template ${choice.name}. Save it with PUT /messaging/templates/${scope.tenantId}/${choice.name}/:locale.`,
    [{ field: 'template.name', message: 'names no template' }],
  )
}

function normalizeLocale(locale: string): string {
  return locale.toLowerCase().replaceAll('_', '-')
}

function neededVariables(row: TemplateRow): string[] {
  return [...new Set([...row.variables, ...listPlaceholders(bodiesOf(row))])]
}

function missingVariables(row: TemplateRow, given: Readonly<Record<string, string>>): string[] {
  return neededVariables(row).filter((name) => given[name] === undefined)
}

function lint(row: TemplateRow, others: readonly TemplateRow[]): string[] {
  const used = listPlaceholders(bodiesOf(row))
  const undeclared = used.filter((name) => !row.variables.includes(name))
  const unused = row.variables.filter((name) => !used.includes(name))
  const own = new Set(neededVariables(row))
  const elsewhere = others.flatMap((other) =>
    neededVariables(other)
      .filter((name) => !own.has(name))
      .map((name) => `The locale ${other.locale} uses {{${name}}}, this one does not.`),
  )
  return [
    ...undeclared.map(
      (name) =>
        `{{${name}}} is used but not among the declared variables: providers' templates will not get it.`,
    ),
    ...unused.map((name) => `The variable ${name} is declared but never used in the text.`),
    ...elsewhere,
  ]
}

function bodiesOf(row: TemplateRow) {
  return {
    subject: row.subject ?? undefined,
    text: row.text_body ?? undefined,
    html: row.html_body ?? undefined,
  }
}

function referencesOf(row: TemplateRow): Template['references'] {
  return JSON.parse(row.provider_references) as Template['references']
}

function present(row: TemplateRow, others: readonly TemplateRow[]): Template {
  return {
    name: row.name,
    locale: row.locale,
    subject: row.subject,
    text: row.text_body,
    html: row.html_body,
    variables: row.variables,
    references: referencesOf(row),
    default: row.is_default,
    warnings: lint(row, others),
    updated_at: row.updated_at.toISOString(),
  }
}
