import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import type { Worker } from '#core/module.ts'
import { changeSeries, type FinishedWork, openWorkLoop, type WorkItem, type WorkResult } from '#jobs'
import { attemptDelivery, type AttemptReport, failed } from './attempt.ts'
import {
  createDeliverySources,
  createEndpointOpener,
  type DeliverySource,
  type DeliverySources,
  endpointOf,
} from './delivery-source.ts'
import { recordHealth } from './health-record.ts'
import {
  type AttemptRow,
  countAttempts,
  type DeliveryEndpointRow,
  insertAttempts,
  lockEndpoint,
  type NewAttemptRow,
  updateEndpoint,
  type WholeEvent,
} from './queries.ts'
import { nextWaitMs } from './retry-schedule.ts'

/** Slow calls are prolonged while their process lives: a dead one is replaced after this. */
const leaseSeconds = 15
const pausePollMs = 5 * 60 * 1000
/** As long as retries would go on. */
const longestPauseMs = 3 * 24 * 60 * 60 * 1000
/** How long an endpoint is left alone that asks for patience without saying for how long. */
const throttleMs = 30_000
/** After a gateway that could not reach the receiver. */
const gatewayPauseMs = 10_000

interface Dispatcher {
  context: Context
  sources: DeliverySources
  open: ReturnType<typeof createEndpointOpener>
}

/** What became of a delivery, for the transaction that ends it. */
interface Delivered extends AttemptReport {
  /** How many posts there were, this one counted: claims of processes that died before they posted are none. */
  post: number
  recordedAt: Date
  /** The endpoint was known to be unwell: a success is news. */
  wasUnwell: boolean
  outcome: AttemptRow['outcome']
}

/** The loop that delivers events; a lane is a tenant's share of an endpoint, so one that hangs holds up nobody else. */
export function createDispatcher(context: Context): Worker {
  const dispatcher = {
    context,
    sources: createDeliverySources(context),
    open: createEndpointOpener(context),
  }
  return openWorkLoop<Delivered>(context, {
    database: context.database,
    kind: 'delivery',
    leaseSeconds,
    log: context.log,
    now: context.now,
    expect: (items) => dispatcher.sources.expect(items),
    run: (item) => deliver(dispatcher, item),
    record: (db, finished) => record(dispatcher, db, finished),
  })
}

async function deliver(dispatcher: Dispatcher, item: WorkItem): Promise<WorkResult<Delivered>> {
  const { context } = dispatcher
  const { event, endpoint } = await dispatcher.sources.read(item)
  const post = item.attempt === 1 ? 1 : (await countAttempts(context.database.system, item.ref, item.id)) + 1
  const facts = {
    post,
    recordedAt: event?.occurred_at ?? item.runAt,
    wasUnwell: (endpoint?.health ?? 'healthy') !== 'healthy',
  }
  const found = judge(context, { event, endpoint })
  if ('dead' in found) {
    const detail = { ...failed(found.dead), ...facts, outcome: 'dead' as const }
    return { kind: 'dead', error: found.dead, detail }
  }
  if ('waitUntil' in found) return { kind: 'retry', runAt: found.waitUntil, counts: false }
  const now = context.now()
  const open = await dispatcher.open(found.endpoint)
  const report =
    open === undefined ? failed(unopened) : await attemptDelivery(context, open, found.event, item.number)
  const result = resultOf(report, post, { now, event: found.event })
  return { ...result, detail: { ...report, ...facts, outcome: outcomeOf(report, result) } }
}

const unopened = 'The secret of the endpoint can not be opened with the master key PipeCore has.'

type Judged = { dead: string } | { waitUntil: Date } | { event: WholeEvent; endpoint: DeliveryEndpointRow }

/** Whether it can be delivered now. */
function judge(context: Context, { event, endpoint }: DeliverySource): Judged {
  if (event === undefined || endpoint === undefined)
    return { dead: 'The endpoint was deleted, or the event is past its retention.' }
  if (event.body === null) return { dead: 'The body of the event is past its retention.' }
  if (endpoint.disabled_reason !== null)
    return { dead: `The endpoint is disabled: ${endpoint.disabled_reason}` }
  const now = context.now()
  const { health, paused_until: pausedUntil } = endpoint
  // It was claimed when the endpoint was not yet paused.
  if (health === 'open' && pausedUntil !== null && pausedUntil > now) return { waitUntil: pausedUntil }
  if (endpoint.active) return { event: { ...event, body: event.body }, endpoint }
  const isStale = now.getTime() - event.occurred_at.getTime() > longestPauseMs
  if (isStale) return { dead: 'The endpoint was switched off for too long.' }
  return { waitUntil: new Date(now.getTime() + pausePollMs) }
}

interface Moment {
  now: Date
  event: WholeEvent
}

function resultOf(report: AttemptReport, post: number, { now, event }: Moment): WorkResult<Delivered> {
  if (report.delivered) return { kind: 'done' }
  const error = report.error ?? 'failed'
  if (isThrottled(report)) {
    // Patience uses up no attempt, but has an end.
    const isStale = now.getTime() - event.occurred_at.getTime() > longestPauseMs
    if (isStale) return { kind: 'dead', error }
    return { kind: 'retry', runAt: new Date(now.getTime() + throttleOf(report)), counts: true }
  }
  const scheduledMs = nextWaitMs(post, Math.random())
  if (report.gone || scheduledMs === undefined) return { kind: 'dead', error }
  const waitMs = Math.max(scheduledMs, report.retryAfterMs ?? 0)
  return { kind: 'retry', runAt: new Date(now.getTime() + waitMs), counts: true }
}

function isThrottled({ status }: AttemptReport): boolean {
  return status === 429
}

function throttleOf({ retryAfterMs }: AttemptReport): number {
  return retryAfterMs ?? throttleMs
}

function outcomeOf(report: AttemptReport, { kind }: WorkResult): AttemptRow['outcome'] {
  if (kind === 'done') return 'delivered'
  if (kind === 'dead') return 'dead'
  return isThrottled(report) ? 'throttled' : 'retry'
}

/** Attempts, and what they say of their endpoints, in the transaction that ends them. */
async function record(
  { context, sources }: Dispatcher,
  db: Kysely<Tables>,
  finished: ReadonlyArray<FinishedWork<Delivered>>,
): Promise<void> {
  const rows = finished.flatMap((work) => toAttempt(context, work))
  await insertAttempts(db, rows)
  const telling = finished.filter(({ result: { detail } }) => detail !== undefined && isTelling(detail))
  const byEndpoint = Map.groupBy(telling, ({ item }) => endpointOf(item))
  // In one order, so that two transactions never wait for each other in a circle.
  for (const endpointId of [...byEndpoint.keys()].toSorted()) {
    sources.forgetEndpoint(endpointId)
    await recordOf(
      context,
      db,
      endpointId,
      (byEndpoint.get(endpointId) ?? []).flatMap(({ result }) => result.detail ?? []),
    )
  }
}

/** Most attempts say nothing new: a success at an endpoint that is well. */
function isTelling({ called, delivered, wasUnwell }: Delivered): boolean {
  return called && (!delivered || wasUnwell)
}

async function recordOf(
  context: Context,
  db: Kysely<Tables>,
  endpointId: string,
  details: readonly Delivered[],
): Promise<void> {
  const now = context.now()
  // First, as whoever changes an endpoint does: two that lock in different orders wait for each other in a circle.
  if ((await lockEndpoint(db, endpointId)) === undefined) return
  if (details.some(({ gone }) => gone)) {
    const reason = 'The receiver answered 410 Gone.'
    await updateEndpoint(db, endpointId, { active: false, disabled_reason: reason, updated_at: now })
    return
  }
  const pauses = details.map(pauseOf)
  const pausedMs = Math.max(...pauses)
  if (pausedMs > 0) await changeSeries(db, endpointId, { pausedUntil: new Date(now.getTime() + pausedMs) })
  const sightings = details
    .filter((detail) => !isThrottled(detail))
    .map(({ delivered, error, recordedAt }) => ({ failed: !delivered, error, recordedAt }))
  if (sightings.length > 0) await recordHealth(context, db, endpointId, sightings)
}

function pauseOf(report: Delivered): number {
  if (isThrottled(report)) return throttleOf(report)
  return report.status === 502 || report.status === 504 ? gatewayPauseMs : 0
}

function toAttempt(context: Context, { item, result, startedAt }: FinishedWork<Delivered>): NewAttemptRow[] {
  const report = result.detail
  if (report === undefined) return []
  const row: NewAttemptRow = {
    id: createId('att', context.now()),
    delivery_id: item.id,
    event_id: item.ref,
    endpoint_id: endpointOf(item),
    tenant_id: item.tenantId ?? '',
    attempt: report.post,
    outcome: report.outcome,
    status: report.status,
    error: report.error,
    response: report.response,
    duration_ms: Math.round(report.durationMs),
    next_attempt_at: result.kind === 'retry' ? result.runAt : null,
    attempted_at: startedAt,
    number: item.number,
  }
  return [row]
}
