import type { Kysely } from 'kysely'
import { z } from 'zod'
import { openConnection, providerContext } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { loadWebhook, recordFact, type StoredWebhook } from '#webhooks/inbound'
import { recordEvents } from '#webhooks/outbound'
import { receiveMessage } from './inbound-messages.ts'
import { messagingWebhookUrl, requireMessagingProvider } from './provider-registry.ts'
import type { Channel, InboundMessage, ProviderReport } from './providers/provider.ts'
import {
  type Applied,
  applyConsent,
  applyEngagement,
  applyStatus,
  lockReportedMessage,
} from './status-reports.ts'

const laterMs = [2, 10, 60, 600, 3600].map((seconds) => seconds * 1000)

/** Reads one stored webhook; each report of a batch is a fact of its own, taken once. */
export const readWebhook: JobDefinition<StoredWebhook> = {
  name: 'messaging.read_webhook',
  payload: z.strictObject({ webhook_id: z.string() }),
  attempts: 60,
  timeoutSeconds: 60,
  run: async (context, { webhook_id: webhookId }, { scope }) => {
    if (scope === undefined) return
    const { row, webhook } = await context.database.asTenant(scope, (db) =>
      loadWebhook(context, db, scope, webhookId),
    )
    const provider = requireMessagingProvider(row.provider)
    const origin = {
      provider: row.provider,
      channel: row.capability as Channel,
      connectionId: row.connection_id ?? '',
      webhookId,
    }
    for (const [index, report] of provider.parse(webhook).entries()) {
      await takeReport(context, scope, origin, report, { index, round: 1 })
    }
  },
}

const LaterRef = z.strictObject({ webhook_id: z.string(), index: z.number().int(), round: z.number().int() })

/** A report about a message nobody knew yet: providers can be faster than their own answer to our call. */
export const readReportLater: JobDefinition<z.infer<typeof LaterRef>> = {
  name: 'messaging.read_report_later',
  payload: LaterRef,
  attempts: 60,
  timeoutSeconds: 60,
  run: async (context, { webhook_id: webhookId, index, round }, { scope }) => {
    if (scope === undefined) return
    const { row, webhook } = await context.database.asTenant(scope, (db) =>
      loadWebhook(context, db, scope, webhookId),
    )
    const report = requireMessagingProvider(row.provider).parse(webhook)[index]
    const origin = {
      provider: row.provider,
      channel: row.capability as Channel,
      connectionId: row.connection_id ?? '',
      webhookId,
    }
    if (report !== undefined) await takeReport(context, scope, origin, report, { index, round })
  },
}

export interface Origin {
  provider: string
  channel: Channel
  connectionId: string
  webhookId: string
}

async function takeReport(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
  place: { index: number; round: number },
): Promise<void> {
  const complete = report.type === 'inbound' ? await fetchContent(context, scope, origin, report) : report
  await context.database.asTenant(scope, async (db) => {
    const applied = await applyOnce(context, db, scope, origin, complete)
    if (applied !== 'unmatched') return
    const waitMs = laterMs[place.round - 1]
    if (waitMs === undefined) {
      context.log.warn(
        { webhook_id: origin.webhookId, provider: origin.provider, index: place.index },
        'report matches no message',
      )
      return
    }
    const now = context.now()
    const payload = { webhook_id: origin.webhookId, index: place.index, round: place.round + 1 }
    await enqueueJob(db, readReportLater, payload, {
      scope,
      now,
      runAt: new Date(now.getTime() + waitMs),
      traceId: scope.traceId,
    })
  })
  wakeWork('delivery')
  wakeWork('job')
}

/** Takes a report unless it was taken before. One that matches no message is not used up. */
async function applyOnce(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
): Promise<Applied | 'repeated'> {
  const matched = await isMatched(db, scope, origin, report)
  if (!matched) return 'unmatched'
  const fact = {
    tenantId: scope.tenantId,
    provider: origin.provider,
    key: report.key,
    webhookId: origin.webhookId,
  }
  if (!(await recordFact(db, fact))) return 'repeated'
  return apply(context, db, scope, origin, report)
}

async function apply(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
): Promise<Applied> {
  switch (report.type) {
    case 'status':
      return applyStatus(context, db, scope, origin.provider, report, origin.webhookId)
    case 'engagement':
      return applyEngagement(context, db, scope, origin.provider, report)
    case 'consent':
      await applyConsent(context, db, scope, origin.provider, origin.channel, report)
      return 'applied'
    case 'inbound':
      await receiveMessage(context, db, scope, origin, report)
      return 'applied'
    case 'account': {
      const data = {
        provider: origin.provider,
        channel: origin.channel,
        subject: report.subject,
        detail: report.detail,
      }
      const event = { type: 'provider.reported', entity: origin.connectionId, occurredAt: report.at, data }
      await recordEvents(db, scope, [event], context.now())
      return 'applied'
    }
  }
}

async function isMatched(
  db: Kysely<Tables>,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
): Promise<boolean> {
  if (report.type !== 'status' && report.type !== 'engagement') return true
  return (await lockReportedMessage(db, scope, origin.provider, report)) !== undefined
}

async function fetchContent(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  message: InboundMessage,
): Promise<InboundMessage> {
  const provider = requireMessagingProvider(origin.provider)
  if (message.fetchContent !== true || provider.fetchInbound === undefined) return message
  const connection = await context.database.asTenant(scope, (db) =>
    openConnection(context, db, scope, origin.connectionId, requireMessagingProvider),
  )
  const webhookUrl = messagingWebhookUrl(
    context.config.publicUrl,
    scope.tenantId,
    origin.channel,
    origin.provider,
  )
  return provider.fetchInbound(message, providerContext(context, connection, webhookUrl))
}
