import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { wakeWork } from '#jobs'
import { recordEvents } from '#webhooks/outbound'
import { eventAbout, traceOf } from './events.ts'
import { presentMessage } from './message-log.ts'
import { listAttempts, lockMessage, updateMessage } from './message-queries.ts'
import type { Message } from './schema.ts'

/** @throws PipeError `message_under_way` (409) once a provider was called */
export async function cancelMessage(context: Context, scope: TenantScope, id: string): Promise<Message> {
  const canceled = await context.database.asTenant(scope, async (db) => {
    const message = await lockMessage(db, scope.tenantId, id)
    if (message === undefined) throw notFound('message', id)
    if (message.status === 'canceled') return presentMessage(message)
    const called = await listAttempts(db, scope.tenantId, id)
    const waiting = message.status === 'scheduled' || message.status === 'queued'
    if (!waiting || called.length > 0) {
      throw new PipeError(
        'message_under_way',
        409,
        `The message is ${message.status} and can not be canceled any more.`,
      )
    }
    const row = { ...message, status: 'canceled' as const }
    await updateMessage(db, scope.tenantId, id, { status: 'canceled' })
    await recordEvents(
      db,
      traceOf(scope, message),
      [eventAbout(row, 'canceled', context.now())],
      context.now(),
    )
    return presentMessage(row)
  })
  wakeWork('delivery')
  return canceled
}
