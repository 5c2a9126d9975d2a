import type { Kysely } from 'kysely'
import type { HttpAnswer, OpenConnection, Provider, RawWebhook, Verification } from '#connections'
import type { Context } from '#core/context.ts'
import type { Database, Tables, TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { createGroup } from '#core/grouped.ts'
import { createId } from '#core/ids.ts'
import type { JobDefinition } from '#core/module.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { scrubHeaders } from '#core/scrub.ts'
import { systemErrorCode } from '#core/system-error.ts'
import { enqueueJobs, wakeWork } from '#jobs'
import { measureWebhook } from './metrics.ts'
import { findWebhook, type InboundWebhookRow, webhookInsertion } from './queries.ts'
import { sealRequest, toRawWebhook } from './sealed-request.ts'

/** Payload of the job that a module gives to take its webhooks over. */
export interface StoredWebhook {
  webhook_id: string
}

export interface Receiver<Credentials> {
  scope: TenantScope
  capability: string
  provider: Provider<Credentials>
  /** Those it may belong to, newest first. */
  connections: readonly OpenConnection<Credentials>[]
  job: JobDefinition<StoredWebhook>
}

/** Of a refused webhook no more is kept. */
export const maxRefusedBodyBytes = 4 * 1024

/**
 * Takes one request from a provider: handshake, or verify, check the owner, store the bytes and the job that
 * reads them in one commit, and answer. Refused ones are kept with the check that failed.
 * @throws PipeError 403 `webhook_refused`
 */
export async function receiveWebhook<Credentials>(
  context: Context,
  webhook: RawWebhook,
  receiver: Receiver<Credentials>,
): Promise<HttpAnswer> {
  const { connections, provider } = receiver
  const [newest] = connections
  if (newest === undefined) {
    throw new PipeError(
      'connection_missing',
      404,
      `This tenant has no ${provider.title} connection for ${receiver.capability}.`,
    )
  }
  const handshake = provider.handshake?.(webhook, newest.credentials)
  if (handshake !== undefined) {
    measureWebhook(context, provider.id, 'handshake')
    return handshake
  }
  const owner = connections.find((one) => inspect(webhook, receiver, one, context.now()) === undefined)
  if (owner === undefined) {
    const refusal = inspect(webhook, receiver, newest, context.now())
    if (refusal !== undefined) return refuse(context, webhook, receiver, newest, refusal)
  }
  const row = toRow(context, webhook, receiver, owner ?? newest)
  await storeWebhook(context, receiver.job, { row, scope: receiver.scope })
  rememberStored(context, row)
  measureWebhook(context, provider.id, 'stored')
  wakeWork('job')
  return provider.acknowledgement
}

async function refuse<Credentials>(
  context: Context,
  webhook: RawWebhook,
  receiver: Receiver<Credentials>,
  connection: OpenConnection<Credentials>,
  refusal: Refusal,
): Promise<never> {
  measureWebhook(context, receiver.provider.id, `refused_${refusal.check}`)
  if (mayKeepRefusal(receiver.scope.tenantId, context.now())) {
    const row = toRow(context, webhook, receiver, connection, refusal)
    await context.database.asSystem(async (db) => {
      const sealed = await sealRequest(context, db, row, webhook)
      await webhookInsertion([{ ...row, sealed_request: sealed }]).execute(db)
    })
  }
  throw new PipeError('webhook_refused', 403, refusal.reason, {
    errors: [{ field: refusal.check, message: refusal.reason }],
  })
}

const refusalsKeptPerMinute = 20
const refusals = new Map<string, number>()
let refusalsMinute = 0

/** Anybody may knock: so that nobody can fill the vault, a tenant's refused webhooks are kept up to a number a minute. */
function mayKeepRefusal(tenantId: string, now: Date): boolean {
  const minute = Math.floor(now.getTime() / 60_000)
  if (minute !== refusalsMinute) {
    refusals.clear()
    refusalsMinute = minute
  }
  const count = (refusals.get(tenantId) ?? 0) + 1
  refusals.set(tenantId, count)
  return count <= refusalsKeptPerMinute
}

export interface Refusal {
  check: string
  reason: string
}

/** Whether a webhook is certainly from one of these connections: no hint, and about what that one owns. */
export function isFromOneOf<Credentials>(
  webhook: RawWebhook,
  { provider, scope, connections }: Pick<Receiver<Credentials>, 'provider' | 'scope' | 'connections'>,
  now: Date,
): boolean {
  if (webhook.method !== 'POST') return false
  return connections.some(({ credentials }) => {
    const verification = provider.verify(webhook, credentials, now)
    const isCertain = verification.ok && verification.isHint !== true
    return isCertain && provider.owns(webhook, credentials, scope.tenantId)
  })
}

/** What speaks against a webhook, if anything does. */
export function inspect<Credentials>(
  webhook: RawWebhook,
  receiver: Pick<Receiver<Credentials>, 'provider' | 'scope'>,
  connection: OpenConnection<Credentials>,
  now: Date,
): Refusal | undefined {
  if (webhook.method !== 'POST')
    return { check: 'method', reason: 'Webhooks come by POST; this GET is no valid set-up request.' }
  const verification: Verification = receiver.provider.verify(webhook, connection.credentials, now)
  if (!verification.ok) return { check: verification.check, reason: verification.reason }
  if (!receiver.provider.owns(webhook, connection.credentials, receiver.scope.tenantId)) {
    return {
      check: 'owner',
      reason: `The payload is about another ${receiver.provider.title} account than this tenant's.`,
    }
  }
  return undefined
}

function toRow<Credentials>(
  context: Context,
  webhook: RawWebhook,
  receiver: Receiver<Credentials>,
  connection: OpenConnection<Credentials>,
  refusal?: Refusal,
): InboundWebhookRow {
  const target = webhook.publicUrl.slice(context.config.publicUrl.length)
  return {
    id: createId('whk', context.now()),
    tenant_id: receiver.scope.tenantId,
    capability: receiver.capability,
    provider: receiver.provider.id,
    connection_id: connection.id,
    state: refusal === undefined ? 'stored' : 'refused',
    failed_check: refusal?.check ?? null,
    reason: refusal?.reason ?? null,
    method: webhook.method,
    target:
      refusal === undefined
        ? target
        : target.replaceAll(/([?&][^=&]*(?:token|secret|key)[^=&]*=)[^&]*/gi, '$1[redacted]'),
    headers: JSON.stringify(scrubHeaders(webhook.headers)),
    body: refusal === undefined ? webhook.body : webhook.body.subarray(0, maxRefusedBodyBytes),
    trace_id: receiver.scope.traceId,
    received_at: context.now(),
    sealed_request: null,
    accepted_at: null,
  }
}

interface Arrival {
  row: InboundWebhookRow
  scope: TenantScope
}

type Job = JobDefinition<StoredWebhook>
type Store = (arrival: Arrival) => Promise<void>

const stores = new WeakMap<Context, Map<Job, Store>>()
/** Providers wait for seconds; a commit for each webhook would cost more than all the rest of it. */
const gapMs = 20

/** Webhooks for one job that arrive while a commit runs share the next one. */
function storeWebhook(context: Context, job: Job, arrival: Arrival): Promise<void> {
  const ofContext = stores.get(context) ?? new Map<Job, Store>()
  stores.set(context, ofContext)
  const store =
    ofContext.get(job) ??
    createGroup<Arrival, void>({
      maxSize: 200,
      gapMs,
      flush: (arrivals) => storeOnce(context, job, arrivals),
    })
  ofContext.set(job, store)
  return store(arrival)
}

/** A group whose statement failed is tried again one by one, also where only the answer of the database was lost. */
async function storeOnce(context: Context, job: Job, arrivals: readonly Arrival[]): Promise<void[]> {
  try {
    await storeArrivals(context, job, arrivals)
  } catch (error) {
    if (!(await isStored(context, arrivals, error))) throw error
  }
  return arrivals.map(() => undefined)
}

/** With their jobs in one statement. */
async function storeArrivals(context: Context, job: Job, arrivals: readonly Arrival[]): Promise<void> {
  const jobs = arrivals.map(({ row, scope }) => ({
    payload: { webhook_id: row.id },
    scope,
    traceId: row.trace_id,
  }))
  const insertion = webhookInsertion(arrivals.map(({ row }) => row))
  await enqueueJobs(context.database.system, job, jobs, context.now(), insertion)
}

const uniqueViolation = '23505'

/** Nobody else makes the id of a webhook. */
async function isStored(context: Context, arrivals: readonly Arrival[], error: unknown): Promise<boolean> {
  const [first] = arrivals
  if (first === undefined || arrivals.length > 1 || systemErrorCode(error) !== uniqueViolation) return false
  const { tenant_id: tenantId, id } = first.row
  return (await findWebhook(context.database.system, tenantId, id)) !== undefined
}

const mostRemembered = 500
const mostRememberedBytes = 16 * 1024
const rememberedMs = 10_000
const stored = new WeakMap<Database, Recent<string, InboundWebhookRow>>()

/** What was stored here is mostly read here, a moment later. */
function rememberStored({ database }: Context, row: InboundWebhookRow): void {
  if ((row.body?.length ?? 0) > mostRememberedBytes) return
  const recent = stored.get(database) ?? createRecent({ most: mostRemembered, forMs: rememberedMs })
  stored.set(database, recent)
  recent.set(row.id, row)
}

export interface LoadedWebhook {
  row: InboundWebhookRow
  webhook: RawWebhook
}

/** Without the request when that is past its retention. */
export interface RecordedWebhook {
  row: InboundWebhookRow
  webhook: RawWebhook | undefined
}

/**
 * `loadWebhook` for the job that takes it over: what was stored here a moment ago is not read back. It is taken once,
 * and where that fails read from then on.
 * @throws PipeError as that does
 */
export async function recallWebhook(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<LoadedWebhook> {
  const recent = stored.get(context.database)
  const row = recent?.get(id)
  const known = row?.tenant_id === scope.tenantId ? toRecord(context, row) : undefined
  if (known?.webhook === undefined) {
    return context.database.readAsTenant(scope, (db) => loadWebhook(context, db, scope, id))
  }
  recent?.forget(id)
  return { row: known.row, webhook: known.webhook }
}

/**
 * Reads a stored webhook back as it came.
 * @throws PipeError 404; 409 `webhook_request_gone`
 */
export async function loadWebhook(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
): Promise<LoadedWebhook> {
  const { row, webhook } = await findRecord(context, db, scope, id)
  if (webhook !== undefined) return { row, webhook }
  throw new PipeError(
    'webhook_request_gone',
    409,
    `Of the webhook ${id} only the record is left: its request is past the tenant's raw_retention_days. Let the provider send it once more.`,
  )
}

/** @throws PipeError 404 */
export async function findRecord(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
): Promise<RecordedWebhook> {
  const row = await findWebhook(db, scope.tenantId, id)
  if (row === undefined) throw notFound('webhook', id)
  return toRecord(context, row)
}

function toRecord(context: Context, row: InboundWebhookRow): RecordedWebhook {
  const { target, headers, body } = row
  if (target === null || headers === null || body === null) return { row, webhook: undefined }
  const request = { target, headers: JSON.parse(headers) as Record<string, string>, body }
  return { row, webhook: toRawWebhook(context, row.method, request) }
}
