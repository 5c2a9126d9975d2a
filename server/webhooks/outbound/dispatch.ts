import type { Context } from '#core/context.ts'
import { PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import type { Worker } from '#core/module.ts'
import { OutboundError } from '#core/outbound.ts'
import { scrubText } from '#core/scrub.ts'
import { createWorkLoop, type FinishedWork, type WorkItem, type WorkResult } from '#jobs'
import { type OpenEndpoint, openEndpoint } from './endpoints.ts'
import {
  type AttemptRow,
  countAttempts,
  type EventRow,
  findDelivery,
  insertAttempts,
  updateEndpoint,
} from './queries.ts'
import { nextWaitMs, retryAfterMs } from './retry-schedule.ts'
import { signEvent } from './signing.ts'

const maxAnswerBytes = 16 * 1024
const shownAnswerLength = 1000
/** Slow calls are prolonged while their process lives: a dead one is replaced after this. */
const leaseSeconds = 15
const pausePollMs = 5 * 60 * 1000
/** As long as retries would go on. */
const longestPauseMs = 3 * 24 * 60 * 60 * 1000

export interface AttemptReport {
  delivered: boolean
  status: number | null
  error: string | null
  response: string | null
  durationMs: number
  /** Said by the receiver. */
  retryAfterMs?: number
  /** The receiver wants no more events (410). */
  gone: boolean
}

/** Posts one event once. Never throws: what went wrong is in the report. */
export async function attemptDelivery(
  context: Context,
  endpoint: OpenEndpoint,
  event: EventRow,
): Promise<AttemptReport> {
  const startedAt = context.now()
  try {
    const answer = await context.endpointOutbound.request({
      method: 'POST',
      url: endpoint.url,
      headers: {
        ...endpoint.headers,
        'content-type': 'application/json',
        'user-agent': 'PipeCore',
        traceparent: `00-${event.trace_id}-${event.trace_id.slice(0, 16)}-01`,
        ...signEvent(event.id, event.body, endpoint.secrets, startedAt),
      },
      body: event.body,
      timeoutMs: context.config.endpointTimeoutMs,
      maxResponseBytes: maxAnswerBytes,
    })
    const delivered = answer.status >= 200 && answer.status < 300
    const waitMs = retryAfterMs(answer.headers['retry-after'], context.now())
    return {
      delivered,
      status: answer.status,
      error: delivered ? null : explainStatus(answer.status),
      response: showAnswer(answer.body, endpoint),
      durationMs: answer.durationMs,
      gone: answer.status === 410,
      ...(waitMs !== undefined && !delivered && { retryAfterMs: waitMs }),
    }
  } catch (error) {
    const known = error instanceof OutboundError
    if (!known) context.log.error({ err: error, event_id: event.id }, 'delivery failed on our side')
    return {
      delivered: false,
      status: null,
      error: known ? error.message : 'The delivery failed on our side and will be tried again.',
      response: null,
      durationMs: known ? error.durationMs : 0,
      gone: false,
    }
  }
}

function explainStatus(status: number): string {
  if (status >= 300 && status < 400)
    return `HTTP ${status}: redirects are not followed; register the final URL.`
  if (status === 410) return 'HTTP 410: the receiver wants no more events; the endpoint was disabled.'
  return `HTTP ${status}`
}

function showAnswer(body: Buffer, endpoint: OpenEndpoint): string {
  const text = body.toString('utf8').replaceAll('\u0000', '')
  return scrubText(text, [...endpoint.secrets, ...Object.values(endpoint.headers)]).slice(
    0,
    shownAnswerLength,
  )
}

/** The loop that delivers events; a lane is an endpoint, so one that hangs holds up nobody else. */
export function createDispatcher(context: Context): Worker {
  return createWorkLoop<CountedReport>({
    database: context.database,
    kind: 'delivery',
    leaseSeconds,
    log: context.log,
    now: context.now,
    run: (item) => deliver(context, item),
    record: async (db, finished) => {
      await insertAttempts(
        db,
        finished.flatMap((work) => toAttempt(context, work)),
      )
      for (const { item, result } of finished) {
        if (result.detail?.gone !== true) continue
        const reason = 'The receiver answered 410 Gone.'
        await updateEndpoint(db, item.lane, {
          active: false,
          disabled_reason: reason,
          updated_at: context.now(),
        })
      }
    },
  })
}

/** With how many posts there were, this one counted: claims of processes that died before they posted are none. */
interface CountedReport extends AttemptReport {
  post: number
}

async function deliver(context: Context, item: WorkItem): Promise<WorkResult<CountedReport>> {
  const { system } = context.database
  const post = item.attempt === 1 ? 1 : (await countAttempts(system, item.ref, item.id)) + 1
  const { result, report } = await tryDelivery(context, item, post)
  return report === undefined ? result : { ...result, detail: { ...report, post } }
}

interface Tried {
  result: WorkResult<CountedReport>
  report?: AttemptReport
}

async function tryDelivery(context: Context, item: WorkItem, post: number): Promise<Tried> {
  const found = await findDelivery(context.database.system, item.ref, item.lane)
  if (found?.endpoint === undefined)
    return undeliverable('The endpoint was deleted, or the event is past its retention.')
  const { event, endpoint } = found
  const now = context.now()
  if (endpoint.disabled_reason !== null)
    return undeliverable(`The endpoint is disabled: ${endpoint.disabled_reason}`)
  if (!endpoint.active) {
    const isStale = now.getTime() - event.occurred_at.getTime() > longestPauseMs
    if (isStale) return undeliverable('The endpoint was switched off for too long.')
    return { result: { kind: 'retry', runAt: new Date(now.getTime() + pausePollMs), counts: false } }
  }
  const open = await openEndpoint(context, endpoint).catch((error: unknown) => {
    if (error instanceof PipeError) return undefined
    throw error
  })
  const report = open === undefined ? unopened : await attemptDelivery(context, open, event)
  return { result: resultOf(report, post, now), report }
}

const unopened: AttemptReport = {
  delivered: false,
  status: null,
  error: 'The secret of the endpoint can not be opened with the master key PipeCore has.',
  response: null,
  durationMs: 0,
  gone: false,
}

function undeliverable(error: string): Tried {
  const report = { delivered: false, status: null, error, response: null, durationMs: 0, gone: false }
  return { result: { kind: 'dead', error }, report }
}

function resultOf(report: AttemptReport, post: number, now: Date): WorkResult<CountedReport> {
  if (report.delivered) return { kind: 'done' }
  const scheduledMs = nextWaitMs(post, Math.random())
  if (report.gone || scheduledMs === undefined) return { kind: 'dead', error: report.error ?? 'failed' }
  const waitMs = Math.max(scheduledMs, report.retryAfterMs ?? 0)
  return { kind: 'retry', runAt: new Date(now.getTime() + waitMs), counts: true }
}

function toAttempt(context: Context, { item, result, startedAt }: FinishedWork<CountedReport>): AttemptRow[] {
  const report = result.detail
  if (report === undefined) return []
  const row: AttemptRow = {
    id: createId('att', context.now()),
    delivery_id: item.id,
    event_id: item.ref,
    endpoint_id: item.lane,
    tenant_id: item.tenantId ?? '',
    attempt: report.post,
    outcome: result.kind === 'done' ? 'delivered' : result.kind,
    status: report.status,
    error: report.error,
    response: report.response,
    duration_ms: Math.round(report.durationMs),
    next_attempt_at: result.kind === 'retry' ? result.runAt : null,
    attempted_at: startedAt,
  }
  return [row]
}
