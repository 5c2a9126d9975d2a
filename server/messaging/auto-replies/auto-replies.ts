import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import { Channel } from '../schema.ts'
import { OpeningHours } from './opening-hours.ts'
import { type AutoReplyRow, deleteReply, listReplies, upsertReply } from './queries.ts'

export const AutoReplyInput = z
  .strictObject({
    channel: Channel,
    keywords: z
      .array(z.string().min(1).max(100))
      .max(50)
      .default([])
      .meta({ description: 'Whole words or phrases, accents and case aside. None: every message.' }),
    body: z.string().min(1).max(4096).optional(),
    template: z
      .string()
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'Gets the variables name and contact.' }),
    hours: OpeningHours.optional().meta({ description: 'Answers only then. None: always.' }),
    max_per_hour: z
      .number()
      .int()
      .min(1)
      .max(60)
      .default(3)
      .meta({ description: 'Automatic replies of any rule to one contact.' }),
    priority: z
      .number()
      .int()
      .min(0)
      .max(1000)
      .default(100)
      .meta({ description: 'Lowest first; one rule answers.' }),
    active: z.boolean().default(true),
  })
  .refine((input) => (input.body === undefined) !== (input.template === undefined), {
    message: 'give either body or template',
    path: ['body'],
  })
export type AutoReplyInput = z.infer<typeof AutoReplyInput>

export const AutoReply = z.object({
  name: z.string(),
  channel: z.string(),
  keywords: z.array(z.string()),
  body: z.string().nullable(),
  template: z.string().nullable(),
  hours: z.record(z.string(), z.unknown()).nullable(),
  max_per_hour: z.number().int(),
  priority: z.number().int(),
  active: z.boolean(),
  updated_at: z.iso.datetime(),
})
export type AutoReply = z.infer<typeof AutoReply>

export async function saveAutoReply(
  context: Context,
  scope: TenantScope,
  name: string,
  input: AutoReplyInput,
): Promise<AutoReply> {
  const row = await context.database.asTenant(scope, (db) =>
    upsertReply(db, {
      tenant_id: scope.tenantId,
      name,
      channel: input.channel,
      keywords: input.keywords,
      body: input.body ?? null,
      template: input.template ?? null,
      hours: input.hours === undefined ? null : JSON.stringify(input.hours),
      max_per_hour: input.max_per_hour,
      priority: input.priority,
      active: input.active,
      updated_at: context.now(),
    }),
  )
  return present(row)
}

export async function getAutoReplies(context: Context, scope: TenantScope): Promise<AutoReply[]> {
  const rows = await context.database.asTenant(scope, (db) => listReplies(db, scope.tenantId))
  return rows.map(present)
}

export async function removeAutoReply(context: Context, scope: TenantScope, name: string): Promise<void> {
  const removed = await context.database.asTenant(scope, (db) => deleteReply(db, scope.tenantId, name))
  if (!removed) throw notFound('auto_reply', name)
}

function present(row: AutoReplyRow): AutoReply {
  return {
    name: row.name,
    channel: row.channel,
    keywords: row.keywords,
    body: row.body,
    template: row.template,
    hours: row.hours === null ? null : (JSON.parse(row.hours) as Record<string, unknown>),
    max_per_hour: row.max_per_hour,
    priority: row.priority,
    active: row.active,
    updated_at: row.updated_at.toISOString(),
  }
}
