import type { Context } from '#core/context.ts'
import { OutboundError } from '#core/outbound.ts'
import { scrubText } from '#core/scrub.ts'
import type { OpenEndpoint } from './endpoints.ts'
import type { WholeEvent } from './queries.ts'
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
        ...(typeof number === 'number' && { 'webhook-sequence': String(number) }),
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
      called: true,
      ...(waitMs !== undefined && !delivered && { retryAfterMs: waitMs }),
    }
  } catch (error) {
    const known = error instanceof OutboundError
    if (!known) context.log.error({ err: error, event_id: event.id }, 'delivery failed on our side')
    const message = known ? error.message : 'The delivery failed on our side and will be tried again.'
    return { ...failed(message), durationMs: known ? error.durationMs : 0, called: known }
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
