import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { JobDefinition } from '#core/module.ts'
import type { MessagingTables } from './tables.ts'

const dayMs = 24 * 60 * 60 * 1000
const attachmentsKeptDays = 7
const batch = 500
const nothing = z.strictObject({})

type Db = Kysely<MessagingTables>

/** Messages go after PIPECORE_MESSAGES_KEPT_DAYS, the bytes of attachments a week after they were accepted. */
export const forgetMessages: JobDefinition<z.infer<typeof nothing>> = {
  name: 'messaging.forget_messages',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 900,
  schedule: '52 2 * * *',
  run: async (context) => {
    const { system } = context.database
    await untilNoneLeft(() => deleteMessages(system, daysAgo(context, context.config.messagesKeptDays)))
    const old = daysAgo(context, attachmentsKeptDays)
    await untilNoneLeft(() => dropAttachments(system, old, new Date(old.getTime() - 2 * dayMs)))
  },
}

function daysAgo(context: Context, days: number): Date {
  return new Date(context.now().getTime() - days * dayMs)
}

async function untilNoneLeft(work: () => Promise<number>): Promise<void> {
  while ((await work()) === batch);
}

async function deleteMessages(db: Db, before: Date): Promise<number> {
  const { rows } = await sql`
    delete from messages where id in (
      select id from messages where created_at < ${before} and status not in ('queued', 'scheduled') limit ${batch})
    returning id`.execute(db)
  return rows.length
}

/** Looks at two days, so that a run that was missed is made up for. */
async function dropAttachments(db: Db, before: Date, after: Date): Promise<number> {
  const { rows } = await sql`
    update message_contents c
       set content = (c.content::jsonb || jsonb_build_object('attachments', (
             select coalesce(jsonb_agg(a - 'contentBase64' || '{"contentBase64": ""}'), '[]')
               from jsonb_array_elements(c.content::jsonb -> 'attachments') a)))::text
      from (
        select m.tenant_id, m.id from messages m join message_contents mc on mc.tenant_id = m.tenant_id and mc.message_id = m.id
         where m.created_at < ${before} and m.created_at >= ${after} and m.status not in ('queued', 'scheduled')
           and mc.content ~ '"contentBase64": ?"[^"]' limit ${batch}) old
     where c.tenant_id = old.tenant_id and c.message_id = old.id
    returning c.message_id`.execute(db)
  return rows.length
}
