import { createRandomHex } from './ids.ts'

/** 32 hex digits, as W3C Trace Context writes them. */
export function createTraceId(): string {
  return createRandomHex()
}

/** The trace id of an incoming `traceparent`, or a new one when there is none or it is malformed. */
export function traceIdFrom(traceparent: string | undefined): string {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(traceparent ?? '')
  const traceId = match?.[1]
  return traceId === undefined || /^0+$/.test(traceId) ? createTraceId() : traceId
}
