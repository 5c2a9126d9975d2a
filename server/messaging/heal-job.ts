import { z } from 'zod'
import { openConnection, providerContext } from '#connections'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { findMessage, lockMessage, updateMessage } from './message-queries.ts'
import { messagingWebhookUrl, requireMessagingProvider } from './provider-registry.ts'
import type { StatusReport } from './providers/provider.ts'
import { applyStatus } from './status-reports.ts'

export const HealRef = z.strictObject({ message_id: z.string(), round: z.number().int() })

const minute = 60 * 1000
const waitsMs = [2 * minute, 10 * minute, 60 * minute, 6 * 60 * minute, 24 * 60 * minute]

/**
 * Looks after a message whose send ended unknown. It asks the provider when its id is known; otherwise the
 * callback that carries our id is waited for. The message is never sent again.
 */
export const healMessage: JobDefinition<z.infer<typeof HealRef>> = {
  name: 'messaging.heal_message',
  payload: HealRef,
  attempts: 10,
  timeoutSeconds: 60,
  run: async (context, { message_id: messageId, round }, { scope }) => {
    if (scope === undefined) return
    const message = await context.database.asTenant(scope, (db) => findMessage(db, scope.tenantId, messageId))
    if (message === undefined || message.status !== 'unknown') return
    const found = await askProvider(context, scope, messageId)
    await context.database.asTenant(scope, async (db) => {
      if (
        found !== undefined &&
        (await applyStatus(context, db, scope, message.provider, found, null)) === 'applied'
      )
        return
      const waitMs = waitsMs[round - 1]
      const now = context.now()
      if (waitMs === undefined) {
        const detail =
          'No callback and no trace at the provider within a day; it may or may not have arrived.'
        const current = await lockMessage(db, scope.tenantId, messageId)
        if (current?.status === 'unknown') await updateMessage(db, scope.tenantId, messageId, { detail })
        return
      }
      const runAt = new Date(now.getTime() + waitMs)
      await enqueueJob(
        db,
        healMessage,
        { message_id: messageId, round: round + 1 },
        { scope, now, runAt, traceId: message.trace_id },
      )
    })
    wakeWork('delivery')
  },
}

async function askProvider(
  context: Context,
  scope: TenantScope,
  messageId: string,
): Promise<StatusReport | undefined> {
  const question = await context.database.asTenant(scope, async (db) => {
    const message = await findMessage(db, scope.tenantId, messageId)
    if (message?.provider_message_id == null) return undefined
    const connection = await openConnection(
      context,
      db,
      scope,
      message.connection_id,
      requireMessagingProvider,
    )
    const webhookUrl = messagingWebhookUrl(
      context.config.publicUrl,
      scope.tenantId,
      message.channel,
      message.provider,
    )
    return {
      providerMessageId: message.provider_message_id,
      context: providerContext(context, connection, webhookUrl),
      provider: message.provider,
    }
  })
  if (question === undefined) return undefined
  const report = await requireMessagingProvider(question.provider).lookup?.(
    question.providerMessageId,
    question.context,
  )
  return report === undefined ? undefined : { ...report, messageId }
}
