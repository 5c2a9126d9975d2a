import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { createId, timeOfId } from '#core/ids.ts'
import type { EventType, Worker } from '#core/module.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import {
  changeSeries,
  type EndedClaim,
  type FinishedWork,
  openWorkLoop,
  type WorkItem,
  type WorkResult,
} from '#jobs'
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
  type DeliveryEndpointRow,
  finishDeliveries,
  isWhole,
  lockEndpoint,
  type NewAttemptRow,
  readTries,
  type Tries,
  updateEndpoint,
  type WholeEvent,
} from './queries.ts'
import { measureAttempt } from './metrics/deliveries.ts'
import { requestColumns } from './requests/record.ts'
import { nextWaitMs } from './retry-schedule.ts'
import { explainNoShape, shapeFor } from './versions/shape.ts'

/** Slow calls are prolonged while their process lives: a dead one is replaced after this. */
const leaseSeconds = 15
const pausePollMs = 5 * 60 * 1000
/** As long as retries would go on. */
const longestPauseMs = 3 * 24 * 60 * 60 * 1000
/** How long an endpoint is left alone that asks for patience without saying for how long. */
const throttleMs = 30_000
const leastThrottleMs = 1_000
/** After which what could not be read is looked at again. */
const unreadWaitMs = 5_000
/** After a gateway that could not reach the receiver. */
const gatewayPauseMs = 10_000

interface Dispatcher {
  context: Context
  /** PipeCore's own. */
  types: readonly EventType[]
  sources: DeliverySources
  open: ReturnType<typeof createEndpointOpener>
  /** Until when endpoints asked to be left alone, for what was claimed before they did. */
  patience: Recent<string, Date>
}

/** What became of a delivery, for the transaction that ends it. */
interface Delivered {
  report: AttemptReport
  /** How many posts there were, this one counted: claims of processes that died before they posted are none. */
  post: number
  eventId: string
  /** The endpoint was known to be unwell: a success is news. */
  wasUnwell: boolean
  outcome: AttemptRow['outcome']
}

/** The loop that delivers events; a lane is a tenant's share of an endpoint, so one that hangs holds up nobody else. */
export function createDispatcher(context: Context, types: readonly EventType[]): Worker {
  const dispatcher = {
    context,
    types,
    sources: createDeliverySources(context),
    open: createEndpointOpener(context),
    patience: createRecent<string, Date>({ most: 5_000, forMs: (leaseSeconds * 1000) / 2 }),
  }
  return openWorkLoop<Delivered>(context, {
    database: context.database,
    kind: 'delivery',
    leaseSeconds,
    log: context.log,
    now: context.now,
    expect: (items) => dispatcher.sources.expect(items),
    run: (item) => deliver(dispatcher, item),
    finish: (db, ended, now) => finish(context, db, ended, now),
    needsRecord: isTelling,
    record: (db, finished) => record(dispatcher, db, finished),
  })
}

async function deliver(dispatcher: Dispatcher, item: WorkItem): Promise<WorkResult<Delivered>> {
  const { context, sources } = dispatcher
  const source = sources.known(item) ?? (await sources.read(item).catch(() => undefined))
  // The database is away: that is nobody's failure.
  if (source === undefined) return postpone(new Date(context.now().getTime() + unreadWaitMs))
  const first = judge(dispatcher, source)
  const lacksShape = 'dead' in first && first.lacksShape === true
  const { endpoint, found } = lacksShape ? await judgeAnew(dispatcher, item) : { ...source, found: first }
  if ('waitUntil' in found) return postpone(found.waitUntil)
  const tries = item.attempt === 1 ? noTries : await readTries(context.database.system, item.ref, item.id)
  const isDead = 'dead' in found
  const report = isDead ? failed(found.dead) : await postEvent(dispatcher, found, item)
  const result: WorkResult<Delivered> = isDead
    ? { kind: 'dead', error: found.dead }
    : resultOf(report, tries, context.now())
  const outcome = outcomeOf(report, result)
  measureAttempt(context, item, outcome, report)
  result.detail = {
    report,
    post: tries.count + 1,
    eventId: item.ref,
    wasUnwell: (endpoint?.health ?? 'healthy') !== 'healthy',
    outcome,
  }
  return result
}

function postpone(runAt: Date): WorkResult<Delivered> {
  return { kind: 'retry', runAt, counts: false }
}

const noTries: Tries = { count: 0, since: null }

async function postEvent(
  { context, open, patience }: Dispatcher,
  { event, endpoint }: Deliverable,
  item: WorkItem,
): Promise<AttemptReport> {
  const opened = await open(endpoint)
  if (opened === undefined) return failed(unopened)
  const report = await attemptDelivery(context, opened, event, item.number)
  const pausedMs = pauseOf(report)
  if (pausedMs > 0) patience.set(endpoint.id, new Date(context.now().getTime() + pausedMs))
  return report
}

const unopened = 'The secret of the endpoint can not be opened with the master key PipeCore has.'

interface Deliverable {
  event: WholeEvent
  endpoint: DeliveryEndpointRow
}

type Judged = { dead: string; lacksShape?: true } | { waitUntil: Date } | Deliverable

/** A pin that was withdrawn a moment ago is not to bury what was published since. */
async function judgeAnew(
  dispatcher: Dispatcher,
  item: WorkItem,
): Promise<DeliverySource & { found: Judged }> {
  dispatcher.sources.forgetEndpoint(endpointOf(item))
  const fresh = await dispatcher.sources.read(item)
  return { ...fresh, found: judge(dispatcher, fresh) }
}

/** Whether it can be delivered now, and in which shape. */
function judge({ context, types, patience }: Dispatcher, { event, endpoint }: DeliverySource): Judged {
  if (event === undefined || endpoint === undefined)
    return { dead: 'The endpoint was deleted, or the event is past its retention.' }
  if (!isWhole(event)) return { dead: 'The body of the event is past its retention.' }
  if (endpoint.disabled_reason !== null)
    return { dead: `The endpoint is disabled: ${endpoint.disabled_reason}` }
  const now = context.now()
  const { health, paused_until: pausedUntil } = endpoint
  // It was claimed when the endpoint was not yet paused.
  if (health === 'open' && pausedUntil !== null && pausedUntil > now) return { waitUntil: pausedUntil }
  const asked = patience.get(endpoint.id)
  if (asked !== undefined && asked > now) return { waitUntil: asked }
  if (endpoint.active) {
    const shaped = shapeFor(endpoint.versions, event, types)
    return shaped === undefined
      ? { dead: explainNoShape(event, endpoint.versions), lacksShape: true }
      : { event: shaped, endpoint }
  }
  // Switching it off was a change of it.
  const isStale = now.getTime() - endpoint.updated_at.getTime() > longestPauseMs
  if (isStale) return { dead: 'The endpoint was switched off for too long.' }
  return { waitUntil: new Date(now.getTime() + pausePollMs) }
}

function resultOf(report: AttemptReport, { count, since }: Tries, now: Date): WorkResult<Delivered> {
  if (report.delivered) return { kind: 'done' }
  const error = report.error ?? 'failed'
  if (isThrottled(report)) {
    // Patience uses up no attempt, but has an end.
    const isStale = since !== null && now.getTime() - since.getTime() > longestPauseMs
    if (isStale) return { kind: 'dead', error }
    return { kind: 'retry', runAt: new Date(now.getTime() + throttleOf(report)), counts: true }
  }
  const scheduledMs = nextWaitMs(count + 1, Math.random())
  if (report.gone || scheduledMs === undefined) return { kind: 'dead', error }
  const waitMs = Math.max(scheduledMs, report.retryAfterMs ?? 0)
  return { kind: 'retry', runAt: new Date(now.getTime() + waitMs), counts: true }
}

function isThrottled({ status }: AttemptReport): boolean {
  return status === 429
}

function throttleOf({ retryAfterMs }: AttemptReport): number {
  return Math.max(retryAfterMs ?? throttleMs, leastThrottleMs)
}

function outcomeOf(report: AttemptReport, { kind }: WorkResult): AttemptRow['outcome'] {
  if (kind === 'done') return 'delivered'
  if (kind === 'dead') return 'dead'
  return isThrottled(report) ? 'throttled' : 'retry'
}

function finish(
  context: Context,
  db: Kysely<Tables>,
  ended: ReadonlyArray<EndedClaim<Delivered>>,
  now: Date,
): Promise<boolean[]> {
  const deliveries = ended.map(({ ending, finished }) => {
    return { ending, attempt: finished && toAttempt(context, finished) }
  })
  return finishDeliveries(db, deliveries, now)
}

/** What attempts say of their endpoints, in the transaction that ends them. */
async function record(
  { context, sources }: Dispatcher,
  db: Kysely<Tables>,
  finished: ReadonlyArray<FinishedWork<Delivered>>,
): Promise<void> {
  const telling = finished.filter(isTelling)
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
function isTelling({ result: { detail } }: FinishedWork<Delivered>): boolean {
  return detail !== undefined && detail.report.called && (!detail.report.delivered || detail.wasUnwell)
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
  if (details.some(({ report }) => report.gone)) {
    const reason = 'The receiver answered 410 Gone.'
    await updateEndpoint(db, endpointId, { active: false, disabled_reason: reason, updated_at: now })
    return
  }
  const pauses = details.map(({ report }) => pauseOf(report))
  const pausedMs = Math.max(...pauses)
  if (pausedMs > 0) await changeSeries(db, endpointId, { pausedUntil: new Date(now.getTime() + pausedMs) })
  const sightings = details
    .filter(({ report }) => !isThrottled(report))
    .map(({ report, eventId }) => {
      return { failed: !report.delivered, error: report.error, recordedAt: timeOfId(eventId) }
    })
  if (sightings.length > 0) await recordHealth(context, db, endpointId, sightings)
}

function pauseOf(report: AttemptReport): number {
  if (isThrottled(report)) return throttleOf(report)
  return report.status === 502 || report.status === 504 ? gatewayPauseMs : 0
}

function toAttempt(
  context: Context,
  { item, result, startedAt }: FinishedWork<Delivered>,
): NewAttemptRow | undefined {
  const { detail } = result
  if (detail === undefined) return undefined
  const { report, post, outcome } = detail
  return {
    id: createId('att', context.now()),
    delivery_id: item.id,
    event_id: item.ref,
    endpoint_id: endpointOf(item),
    tenant_id: item.tenantId ?? '',
    attempt: post,
    outcome,
    status: report.status,
    error: report.error,
    response: report.response,
    duration_ms: Math.round(report.durationMs),
    next_attempt_at: result.kind === 'retry' ? result.runAt : null,
    // The very moment that was signed: the headers are made from it again.
    attempted_at: report.request?.at ?? startedAt,
    number: item.number,
    lookup_ms: report.timings.lookupMs,
    connect_ms: report.timings.connectMs,
    first_byte_ms: report.timings.firstByteMs,
    ...requestColumns(report.request),
  }
}
