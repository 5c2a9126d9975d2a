import { openConnectionsOfProvider, type RawWebhook } from '#connections'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import type { Module } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { findRecord, inspect, loadWebhook, type LoadedWebhook, maxRefusedBodyBytes } from './inbound.ts'
import { acceptWebhook, type FactRow, type InboundWebhookRow, listFactsOf } from './queries.ts'
import { findReader, type FollowedEvent, type ForeseenReport, type WebhookReader } from './reader.ts'
import { openRequest } from './sealed-request.ts'

/** What follows from a fact is told with it, or once its provider could be asked. */
const followingMs = 60 * 60 * 1000

export interface WebhookStory {
  row: InboundWebhookRow
  facts: FactRow[]
  events: FollowedEvent[]
}

/**
 * A webhook as it came, with what was taken from it and what followed.
 * @throws PipeError 404
 */
export async function readStory(
  context: Context,
  modules: readonly Module[],
  scope: TenantScope,
  id: string,
): Promise<WebhookStory> {
  const recorded = await context.database.readAsTenant(scope, (db) => findRecord(context, db, scope, id))
  const { row } = recorded
  if (row.state === 'refused') return { row, facts: [], events: [] }
  const reader = findReader(modules, row.capability)
  const facts = await listFacts(context, scope, id)
  const lastTaken = facts.at(-1)?.recorded_at ?? row.received_at
  const until = new Date(lastTaken.getTime() + followingMs)
  return { row, facts, events: await reader.followed(context, scope, recorded, until) }
}

export interface Replayed {
  row: InboundWebhookRow
  /** Taken from it before. */
  facts: FactRow[]
  reports: ForeseenReport[]
  jobId: string | undefined
}

/**
 * Reads a webhook again: tells what it says now and what would follow, and hands it to its module's job when it is
 * to be applied. A refused one must pass first.
 * @throws PipeError 404; 409 `webhook_request_gone`, `webhook_still_refused`, `webhook_incomplete`
 */
export async function replayWebhook(
  context: Context,
  modules: readonly Module[],
  scope: TenantScope,
  { id, apply }: { id: string; apply: boolean },
): Promise<Replayed> {
  const loaded = await load(context, scope, id)
  const reader = findReader(modules, loaded.row.capability)
  const passed =
    loaded.row.state === 'refused' ? await verifyAgain(context, scope, reader, loaded.row) : loaded
  const { row } = passed
  const facts = await listFacts(context, scope, id)
  const reports = await reader.foresee(context, scope, passed)
  if (!apply) return { row: loaded.row, facts, reports, jobId: undefined }
  const jobId = await takeAgain(context, scope, reader, passed)
  const { row: taken } = await load(context, scope, row.id)
  return { row: taken, facts, reports, jobId }
}

function load(context: Context, scope: TenantScope, id: string): Promise<LoadedWebhook> {
  return context.database.readAsTenant(scope, (db) => loadWebhook(context, db, scope, id))
}

function listFacts(context: Context, scope: TenantScope, id: string): Promise<FactRow[]> {
  return context.database.readAsTenant(scope, (db) => listFactsOf(db, scope.tenantId, id))
}

/** Under the webhook's own trace: what follows now belongs to the same story. */
async function takeAgain(
  context: Context,
  scope: TenantScope,
  reader: WebhookReader,
  { row }: LoadedWebhook,
): Promise<string | undefined> {
  const now = context.now()
  const { trace_id: traceId, connection_id: connectionId } = row
  const jobId = await context.database.asSystem(async (db) => {
    if (row.state === 'refused' && connectionId !== null) {
      await acceptWebhook(db, scope.tenantId, row.id, { connectionId, at: now })
    }
    return enqueueJob(db, reader.job, { webhook_id: row.id }, { scope, traceId, now })
  })
  wakeWork('job')
  return jobId
}

/** By the tenant's present secrets, at the time it came: a signature that was old then is too old now. */
async function verifyAgain(
  context: Context,
  scope: TenantScope,
  reader: WebhookReader,
  row: InboundWebhookRow,
): Promise<LoadedWebhook> {
  const provider = reader.findProvider(row.provider, row.capability)
  const { webhook, connections } = await context.database.readAsTenant(scope, async (db) => ({
    webhook: await openRequest(context, db, row),
    connections: await openConnectionsOfProvider(context, db, scope, row.capability, provider),
  }))
  if (webhook === undefined) throw incomplete('It came before signatures were kept.')
  if (isCut(webhook)) {
    throw incomplete(`Only the first ${maxRefusedBodyBytes} bytes of its body were kept.`)
  }
  const reasons: string[] = []
  for (const connection of connections) {
    const refusal = inspect(webhook, { provider, scope }, connection, row.received_at)
    if (refusal === undefined) return { row: { ...row, connection_id: connection.id }, webhook }
    reasons.push(refusal.reason)
  }
  throw new PipeError(
    'webhook_still_refused',
    409,
    `It does not pass now either: ${reasons[0] ?? `this tenant has no ${provider.title} connection for ${row.capability}.`}`,
  )
}

function incomplete(reason: string): PipeError {
  return new PipeError(
    'webhook_incomplete',
    409,
    `This refused webhook can't be verified again: ${reason} Let the provider send it once more.`,
  )
}

function isCut({ body, headers }: RawWebhook): boolean {
  return body.length === maxRefusedBodyBytes && Number(headers['content-length']) !== maxRefusedBodyBytes
}
