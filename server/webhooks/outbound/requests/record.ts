import { hash } from 'node:crypto'
import type { AttemptRow, EventRow, NewAttemptRow, WholeEvent } from '../queries.ts'
import { requestHeaders } from './headers.ts'
import type { SentRequest, Timings } from './schema.ts'

/** What is stored of a request: the rest follows from the event and its attempt. */
export interface RequestRecord {
  at: Date
  version: number
  signature: string
  /** In hex. */
  bodyHash: string
  /** Of the endpoint's own headers. */
  headerNames: string | null
}

/** An event that goes to several endpoints is read once and hashed once. */
const hashes = new WeakMap<WholeEvent, string>()

/** SHA-256 of the bytes that are sent, in hex. */
export function hashBody(event: WholeEvent, body: Buffer): string {
  const known = hashes.get(event)
  if (known !== undefined) return known
  const made = hash('sha256', body, 'hex')
  hashes.set(event, made)
  return made
}

export function namesOf(headers: Record<string, string>): string | null {
  return Object.keys(headers).join(' ').toLowerCase() || null
}

type RequestColumns = Pick<NewAttemptRow, 'body_sha256' | 'version' | 'signature' | 'header_names'>

export function requestColumns(request: RequestRecord | null): RequestColumns {
  return {
    body_sha256: request?.bodyHash ?? null,
    version: request?.version ?? null,
    signature: request?.signature ?? null,
    header_names: request?.headerNames ?? null,
  }
}

/** Null of an attempt of which nothing left, and of those from before requests were recorded. */
export function presentRequest(event: EventRow, row: AttemptRow): SentRequest | null {
  const { body_sha256: bodyHash, signature, header_names: names } = row
  if (bodyHash === null || signature === null) return null
  const facts = {
    eventId: event.id,
    traceId: event.trace_id,
    version: row.version ?? event.version,
    number: row.number,
    at: row.attempted_at,
    signature,
  }
  return {
    headers: requestHeaders(facts),
    header_names: names?.split(' ') ?? [],
    body_sha256: bodyHash.toString('hex'),
  }
}

export function presentTimings(row: AttemptRow): Timings {
  return { lookup_ms: row.lookup_ms, connect_ms: row.connect_ms, first_byte_ms: row.first_byte_ms }
}
