import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { readEventsOf } from '#webhooks/outbound'
import { type MessageContent, showContent } from './content.ts'
import {
  findContent,
  findMessage,
  listAttempts,
  listMessages,
  listReports,
  type MessageRow,
} from './message-queries.ts'
import type { LogQuery, Message, MessageStory } from './schema.ts'

/** @throws PipeError 404 */
export async function getMessage(context: Context, scope: TenantScope, id: string): Promise<Message> {
  const row = await context.database.asTenant(scope, (db) => findMessage(db, scope.tenantId, id))
  if (row === undefined) throw notFound('message', id)
  return presentMessage(row)
}

/** The whole story of a message: calls to the provider, its reports, our events and their deliveries. */
export async function getMessageStory(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<MessageStory> {
  return context.database.asTenant(scope, async (db) => {
    const row = await findMessage(db, scope.tenantId, id)
    if (row === undefined) throw notFound('message', id)
    const attempts = await listAttempts(db, scope.tenantId, id)
    const reports = await listReports(db, scope.tenantId, id)
    return {
      ...presentMessage(row),
      content: showContent(await findContent<MessageContent>(db, scope.tenantId, id)),
      attempts: attempts.map((attempt) => ({
        attempt: attempt.attempt,
        provider: attempt.provider,
        connection_id: attempt.connection_id,
        outcome: attempt.outcome,
        error: readError(attempt.error),
        answer:
          attempt.answer_status === null
            ? null
            : { status: attempt.answer_status, text: attempt.answer ?? '' },
        provider_message_id: attempt.provider_message_id,
        started_at: attempt.started_at.toISOString(),
        duration_ms: attempt.duration_ms,
      })),
      reports: reports.map((report) => ({
        status: report.status,
        detail: report.detail,
        applied: report.applied,
        webhook_id: report.webhook_id,
        reported_at: report.reported_at.toISOString(),
        received_at: report.received_at.toISOString(),
      })),
      events: await readEventsOf(db, scope, id),
    }
  })
}

export async function getMessageLog(
  context: Context,
  scope: TenantScope,
  query: LogQuery,
): Promise<Page<Message>> {
  const { since, until, cursor, limit, ...filter } = query
  const rows = await context.database.asTenant(scope, (db) =>
    listMessages(db, scope.tenantId, {
      ...filter,
      since: since === undefined ? undefined : new Date(since),
      until: until === undefined ? undefined : new Date(until),
      before: decodeCursor(cursor),
      limit: limit + 1,
    }),
  )
  return toPage(rows, limit, presentMessage)
}

export function presentMessage(row: MessageRow): Message {
  const time = (date: Date | null) => date?.toISOString() ?? null
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    direction: row.direction,
    channel: row.channel,
    provider: row.provider,
    to: row.to_address,
    from: row.from_address,
    status: row.status,
    detail: row.detail,
    error: readError(row.error),
    template: row.template,
    reference: row.reference,
    tags: row.tags,
    auto_reply: row.auto_reply,
    provider_message_id: row.provider_message_id,
    cost:
      row.cost_amount === null || row.cost_currency === null
        ? null
        : { amount: row.cost_amount, currency: row.cost_currency },
    trace_id: row.trace_id,
    send_at: time(row.send_at),
    created_at: row.created_at.toISOString(),
    sent_at: time(row.sent_at),
    delivered_at: time(row.delivered_at),
    read_at: time(row.read_at),
    failed_at: time(row.failed_at),
  }
}

function readError(text: string | null): Message['error'] {
  if (text === null) return null
  const { kind, code, message } = JSON.parse(text) as NonNullable<Message['error']>
  return { kind, ...(code !== undefined && { code }), message }
}
