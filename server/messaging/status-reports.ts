import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { recordEvents, type NewEvent } from '#webhooks/outbound'
import { eventAbout, traceOf } from './events.ts'
import {
  findMessage,
  findMessageByProviderId,
  insertReport,
  lockMessage,
  lockMessageByProviderId,
  type MessageRow,
  updateMessage,
} from './message-queries.ts'
import type { Channel, ConsentReport, EngagementReport, StatusReport } from './providers/provider.ts'
import { advances } from './status.ts'
import { lift, suppress } from './suppressions.ts'

/** `unmatched`: no message of this tenant is known by these ids, perhaps not yet. */
export type Applied = 'applied' | 'late' | 'unmatched'

interface About {
  messageId?: string
  providerMessageId?: string
}

/** The message a report is about, locked. */
export function lockReportedMessage(
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  about: About,
): Promise<MessageRow | undefined> {
  return lookUp(db, scope, provider, about, { byId: lockMessage, byProviderId: lockMessageByProviderId })
}

export function findReportedMessage(
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  about: About,
): Promise<MessageRow | undefined> {
  return lookUp(db, scope, provider, about, { byId: findMessage, byProviderId: findMessageByProviderId })
}

/** Our own id counts only when it names a message of this tenant at this provider. */
async function lookUp(
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  about: About,
  { byId, byProviderId }: { byId: typeof findMessage; byProviderId: typeof findMessageByProviderId },
): Promise<MessageRow | undefined> {
  if (about.messageId !== undefined) {
    const row = await byId(db, scope.tenantId, about.messageId)
    if (row !== undefined && row.provider === provider && row.direction === 'out') return row
  }
  if (about.providerMessageId === undefined) return undefined
  return byProviderId(db, scope.tenantId, provider, about.providerMessageId)
}

/** Moves a message on by what its provider reports; what comes late is noted and changes nothing. */
export async function applyStatus(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  report: StatusReport,
  webhookId: string | null,
): Promise<Applied> {
  const message = await lockReportedMessage(db, scope, provider, report)
  if (message === undefined) return 'unmatched'
  const applied = advances(message.channel, message.status, report.status)
  await insertReport(db, {
    id: createId('rep', context.now()),
    tenant_id: scope.tenantId,
    message_id: message.id,
    status: report.status,
    detail: report.detail ?? report.error?.message ?? null,
    applied,
    webhook_id: webhookId,
    reported_at: report.at,
    received_at: context.now(),
  })
  const change = { ...learnedFrom(message, report), ...(applied && advancedBy(message, report)) }
  if (Object.keys(change).length > 0) await updateMessage(db, scope.tenantId, message.id, change)
  if (report.suppress !== undefined) {
    await optOut(context, db, scope, message, {
      address: message.to_address,
      reason: report.suppress,
      at: report.at,
    })
  }
  if (!applied) return 'late'
  // The tenant was told when we took the message.
  if (report.status === 'queued' || report.status === 'scheduled') return 'applied'
  const { error } = report
  const extra =
    report.status === 'failed'
      ? { error: error === undefined ? null : { kind: error.kind, code: error.code, message: error.message } }
      : {}
  const event = eventAbout({ ...message, ...change }, report.status, report.at, extra)
  await recordEvents(db, traceOf(scope, message), [event], context.now())
  return 'applied'
}

/** Facts that hold whatever the order reports come in. */
function learnedFrom(message: MessageRow, report: StatusReport): Partial<MessageRow> {
  return {
    ...(message.provider_message_id === null &&
      report.providerMessageId !== undefined && { provider_message_id: report.providerMessageId }),
    ...(report.cost !== undefined && {
      cost_amount: report.cost.amount,
      cost_currency: report.cost.currency,
    }),
    ...(report.status === 'sent' && message.sent_at === null && { sent_at: report.at }),
    ...(report.status === 'delivered' && message.delivered_at === null && { delivered_at: report.at }),
  }
}

function advancedBy(message: MessageRow, report: StatusReport): Partial<MessageRow> {
  const failed = report.status === 'failed'
  return {
    status: report.status,
    detail: report.detail ?? null,
    error: failed && report.error !== undefined ? JSON.stringify(report.error) : null,
    ...(failed && { failed_at: report.at }),
    ...(report.status === 'read' && {
      read_at: report.at,
      // WhatsApp leaves `delivered` out when a message is read at once.
      delivered_at: message.delivered_at ?? report.at,
    }),
  }
}

export async function applyEngagement(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  report: EngagementReport,
): Promise<Applied> {
  const message = await lockReportedMessage(db, scope, provider, report)
  if (message === undefined) return 'unmatched'
  const event = eventAbout(message, report.engagement, report.at, {
    machine: report.machine,
    url: report.url ?? null,
  })
  await recordEvents(db, traceOf(scope, message), [event], context.now())
  if (report.engagement === 'complained') {
    await optOut(context, db, scope, message, {
      address: message.to_address,
      reason: 'complained',
      at: report.at,
    })
  }
  return 'applied'
}

export async function applyConsent(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  channel: Channel,
  report: ConsentReport,
): Promise<void> {
  const message = await lockReportedMessage(db, scope, provider, report)
  const place = { channel, provider, id: message?.id ?? null }
  if (report.consent === 'out') {
    await recordOptOut(context, db, scope, place, {
      address: report.recipient,
      reason: report.reason,
      at: report.at,
    })
  } else
    await recordOptIn(context, db, scope, place, {
      address: report.recipient,
      reason: report.reason,
      at: report.at,
    })
}

interface Place {
  channel: Channel
  provider: string
  id: string | null
}

interface Choice {
  address: string
  reason: ConsentReport['reason']
  at: Date
}

function optOut(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  message: MessageRow,
  choice: Choice,
): Promise<void> {
  const place = { channel: message.channel, provider: message.provider, id: message.id }
  return recordOptOut(context, db, traceOf(scope, message), place, choice)
}

export async function recordOptOut(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  place: Place,
  choice: Choice,
): Promise<void> {
  const entry = {
    channel: place.channel,
    address: choice.address,
    reason: choice.reason,
    provider: place.provider,
  }
  const isNew = await suppress(
    db,
    scope,
    { ...entry, ...(place.id !== null && { messageId: place.id }) },
    choice.at,
  )
  if (isNew) await recordEvents(db, scope, [consentEvent('opted_out', place, choice)], context.now())
}

export async function recordOptIn(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  place: Place,
  choice: Choice,
): Promise<void> {
  const wasOut = await lift(db, scope, { channel: place.channel, ...choice })
  if (wasOut) await recordEvents(db, scope, [consentEvent('opted_in', place, choice)], context.now())
}

function consentEvent(name: 'opted_out' | 'opted_in', place: Place, choice: Choice): NewEvent {
  return {
    type: `message.${name}`,
    entity: place.id ?? choice.address,
    occurredAt: choice.at,
    data: {
      channel: place.channel,
      address: choice.address,
      reason: choice.reason,
      provider: place.provider,
      message_id: place.id,
    },
  }
}
