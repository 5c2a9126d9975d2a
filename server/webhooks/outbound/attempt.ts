import type { Context } from '#core/context.ts'
import { noTimings, OutboundError, type OutboundTimings } from '#core/outbound.ts'
import { scrubText } from '#core/scrub.ts'
import type { OpenEndpoint } from './endpoints.ts'
import type { WholeEvent } from './queries.ts'
import { requestHeaders } from './requests/headers.ts'
import { hashBody, namesOf, type RequestRecord } from './requests/record.ts'
import { retryAfterMs } from './retry-schedule.ts'
import { signEvent } from './signing.ts'

const maxAnswerBytes = 16 * 1024
const shownAnswerLength = 1000

export interface AttemptReport {
  delivered: boolean
  status: number | null
  error: string | null
  response: string | null
  durationMs: number
  timings: OutboundTimings
  /** Null when nothing left. */
  request: RequestRecord | null
  /** Said by the receiver. */
  retryAfterMs?: number
  /** The receiver wants no more events (410). */
  gone: boolean
  /** The receiver was called: only then does it say something about the endpoint. */
  called: boolean
}

/** Posts one event once. Never throws: what went wrong is in the report. */
export async function attemptDelivery(
  context: Context,
  endpoint: OpenEndpoint,
  event: WholeEvent,
  /** Its place among all that the endpoint is sent; none for a test. */
  number?: number | null,
): Promise<AttemptReport> {
  const at = context.now()
  let request: RequestRecord | null = null
  try {
    const body = Buffer.from(event.body)
    request = recordRequest(event, body, endpoint, at)
    const { version, signature } = request
    const facts = {
      eventId: event.id,
      traceId: event.trace_id,
      version,
      number: number ?? null,
      at,
      signature,
    }
    const answer = await context.endpointOutbound.request({
      method: 'POST',
      url: endpoint.url,
      headers: { ...endpoint.headers, ...requestHeaders(facts) },
      body,
      timeoutMs: context.config.endpointTimeoutMs,
      maxResponseBytes: maxAnswerBytes,
    })
    const delivered = answer.status >= 200 && answer.status < 300
    const report: AttemptReport = {
      delivered,
      status: answer.status,
      error: delivered ? null : explainStatus(answer.status),
      response: showAnswer(answer.body, endpoint),
      durationMs: answer.durationMs,
      timings: answer.timings,
      request,
      gone: answer.status === 410,
      called: true,
    }
    const waitMs = delivered ? undefined : retryAfterMs(answer.headers['retry-after'], context.now())
    if (waitMs !== undefined) report.retryAfterMs = waitMs
    return report
  } catch (error) {
    const known = error instanceof OutboundError
    if (!known) context.log.error({ err: error, event_id: event.id }, 'delivery failed on our side')
    const message = known ? error.message : 'The delivery failed on our side and will be tried again.'
    if (!known) return failed(message)
    const { durationMs, timings, sent } = error
    return { ...failed(message), durationMs, timings, request: sent ? request : null, called: true }
  }
}

function recordRequest(event: WholeEvent, body: Buffer, endpoint: OpenEndpoint, at: Date): RequestRecord {
  return {
    at,
    version: event.version,
    signature: signEvent(event.id, body, endpoint.secrets, at),
    bodyHash: hashBody(event, body),
    headerNames: namesOf(endpoint.headers),
  }
}

/** The report of an attempt that called nobody. */
export function failed(error: string): AttemptReport {
  return {
    delivered: false,
    status: null,
    error,
    response: null,
    durationMs: 0,
    timings: noTimings,
    request: null,
    gone: false,
    called: false,
  }
}

function explainStatus(status: number): string {
  if (status >= 300 && status < 400)
    return `HTTP ${status}: redirects are not followed; register the final URL.`
  if (status === 410) return 'HTTP 410: the receiver wants no more events; the endpoint was disabled.'
  if (status === 429) return 'HTTP 429: the receiver asks for patience; the endpoint is paused.'
  return `HTTP ${status}`
}

function showAnswer(body: Buffer, endpoint: OpenEndpoint): string {
  if (body.length === 0) return ''
  const text = body.toString('utf8').replaceAll('\u0000', '')
  return scrubText(text, [...endpoint.secrets, ...Object.values(endpoint.headers)]).slice(
    0,
    shownAnswerLength,
  )
}
