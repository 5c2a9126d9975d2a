export interface HeaderFacts {
  eventId: string
  traceId: string
  /** Of the event's type, which the body has. */
  version: number
  /** Its place among all that the endpoint is sent; none for a test. */
  number: number | null
  at: Date
  signature: string
}

/** What PipeCore itself sets: made here to be sent, and made again from what was stored to be shown. */
export function requestHeaders(facts: HeaderFacts): Record<string, string> {
  const { eventId, traceId, version, number, at, signature } = facts
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'user-agent': 'PipeCore',
    traceparent: `00-${traceId}-${traceId.slice(0, 16)}-01`,
    'webhook-version': String(version),
  }
  if (number !== null) headers['webhook-sequence'] = String(number)
  return Object.assign(headers, webhookHeaders(eventId, at, signature))
}

/** Those of Standard Webhooks. */
export function webhookHeaders(eventId: string, at: Date, signature: string): Record<string, string> {
  return {
    'webhook-id': eventId,
    'webhook-timestamp': String(toSeconds(at)),
    'webhook-signature': signature,
  }
}

export function toSeconds(at: Date): number {
  return Math.floor(at.getTime() / 1000)
}
