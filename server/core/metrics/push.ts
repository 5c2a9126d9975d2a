import { JsonMetricsSerializer, ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer'
import type { Logger } from 'pino'
import { OutboundError, type Outbound } from '../outbound.ts'
import type { Metrics } from './metrics.ts'

export interface PushTarget {
  /** Base URL of an OTLP receiver; metrics go to `/v1/metrics` below it. */
  url: string
  headers: Readonly<Record<string, string>>
  protocol: 'http/protobuf' | 'http/json'
  everyMs: number
}

export interface Push {
  /** Sends once more what was measured, and no more after that. */
  stop(): Promise<void>
}

const timeoutMs = 5_000

/** Sends all that is measured to an OpenTelemetry receiver, again and again; a receiver that is away costs nothing but its data. */
export function startPush(
  target: PushTarget,
  { metrics, outbound, log }: { metrics: Metrics; outbound: Outbound; log: Logger },
): Push {
  let outage = false
  let sending: Promise<void> | undefined

  async function send(): Promise<void> {
    const problem = await sendOnce(target, metrics, outbound)
    if (problem !== undefined && !outage) log.warn({ problem }, 'metrics can not be sent; trying on')
    if (problem === undefined && outage) log.info('metrics are sent again')
    outage = problem !== undefined
    sending = undefined
  }

  const timer = setInterval(() => {
    sending ??= send()
  }, target.everyMs).unref()
  return {
    async stop() {
      clearInterval(timer)
      await sending
      await send()
    },
  }
}

/** @returns what went wrong. */
async function sendOnce(
  { url, headers, protocol }: PushTarget,
  metrics: Metrics,
  outbound: Outbound,
): Promise<string | undefined> {
  const asJson = protocol === 'http/json'
  const serializer = asJson ? JsonMetricsSerializer : ProtobufMetricsSerializer
  const body = serializer.serializeRequest(await metrics.collect())
  if (body === undefined) return 'nothing could be written'
  try {
    const answer = await outbound.request({
      method: 'POST',
      url: `${url}/v1/metrics`,
      headers: { ...headers, 'content-type': asJson ? 'application/json' : 'application/x-protobuf' },
      body: Buffer.from(body),
      timeoutMs,
    })
    return answer.status < 300 ? undefined : `HTTP ${answer.status}`
  } catch (error) {
    if (error instanceof OutboundError) return error.message
    throw error
  }
}
