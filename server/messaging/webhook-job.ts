import type { Kysely } from 'kysely'
import { z } from 'zod'
import { openConnection, providerContext } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { type LoadedWebhook, recallWebhook, recordFact, type StoredWebhook } from '#webhooks/inbound'
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

/** Providers can be faster than their own answer to our call; what is still unknown after a minute is not ours. */
const laterMs = [5_000, 60_000]

/** Reads one stored webhook; each report of a batch is a fact of its own, taken once. */
export const readWebhook: JobDefinition<StoredWebhook> = {
  name: 'messaging.read_webhook',
  payload: z.strictObject({ webhook_id: z.string() }),
  attempts: 60,
  timeoutSeconds: 60,
  run: async (context, { webhook_id: webhookId }, { scope }) => {
    if (scope !== undefined) await readReports(context, scope, { webhookId, round: 0 })
  },
}

const LaterReports = z.strictObject({
  webhook_id: z.string(),
  indexes: z.array(z.number().int()),
  round: z.number().int(),
})

/** Reports about messages that nobody knew yet. */
export const readReportsLater: JobDefinition<z.infer<typeof LaterReports>> = {
  name: 'messaging.read_reports_later',
  payload: LaterReports,
  attempts: 60,
  timeoutSeconds: 60,
  run: async (context, { webhook_id: webhookId, indexes, round }, { scope }) => {
    if (scope !== undefined) await readReports(context, scope, { webhookId, indexes, round })
  },
}

export interface Origin {
  provider: string
  channel: Channel
  connectionId: string
  webhookId: string
}

export function originOf(row: LoadedWebhook['row']): Origin {
  return {
    provider: row.provider,
    channel: row.capability as Channel,
    connectionId: row.connection_id ?? '',
    webhookId: row.id,
  }
}

interface Reading {
  webhookId: string
  /** Which reports of the batch; all when absent. */
  indexes?: readonly number[]
  round: number
}

/** Takes every report it can: one that fails does not cost the others, and is tried again with them all, which they survive. */
async function readReports(context: Context, scope: TenantScope, reading: Reading): Promise<void> {
  const { row, webhook } = await recallWebhook(context, scope, reading.webhookId)
  const origin = originOf(row)
  const unmatched: number[] = []
  const failures: unknown[] = []
  for (const [index, report] of requireMessagingProvider(row.provider)
    .parse(webhook, row.received_at)
    .entries()) {
    if (reading.indexes !== undefined && !reading.indexes.includes(index)) continue
    try {
      if ((await takeReport(context, scope, origin, report)) === 'unmatched') unmatched.push(index)
    } catch (error) {
      failures.push(error)
    }
  }
  wakeWork('delivery')
  wakeWork('job')
  if (failures.length > 0) throw failures[0]
  await readLater(context, scope, reading, unmatched)
}

async function readLater(
  context: Context,
  scope: TenantScope,
  { webhookId, round }: Reading,
  indexes: readonly number[],
): Promise<void> {
  if (indexes.length === 0) return
  const waitMs = laterMs[round]
  if (waitMs === undefined) {
    context.log.info({ webhook_id: webhookId, reports: indexes.length }, 'reports match no message of ours')
    return
  }
  const now = context.now()
  const payload = { webhook_id: webhookId, indexes: [...indexes], round: round + 1 }
  await context.database.asTenant(scope, (db) =>
    enqueueJob(db, readReportsLater, payload, {
      scope,
      now,
      runAt: new Date(now.getTime() + waitMs),
      traceId: scope.traceId,
      key: `${webhookId} ${round}`,
    }),
  )
}

async function takeReport(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
): Promise<Applied | 'repeated'> {
  const complete = report.type === 'inbound' ? await fetchContent(context, scope, origin, report) : report
  return context.database.asTenant(scope, (db) => applyOnce(context, db, scope, origin, complete))
}

/** Takes a report unless it was taken before. One that matches no message is not used up. */
export async function applyOnce(
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
