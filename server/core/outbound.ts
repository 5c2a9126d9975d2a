import { validateHeaderName, validateHeaderValue, type IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { urlProblem, type AddressPolicy } from './address-guard.ts'
import { type Bag, createBag } from './bag.ts'
import { createCappedBody } from './capped-body.ts'
import { createDial, DialError, type DialTimings, notDialled } from './connection-dial.ts'
import { createConnectionPool, type ConnectionPool, type LentConnection } from './connection-pool.ts'
import { createPublicLookup, createSystemLookup, type NameLookup } from './name-lookup.ts'
import { createRecent } from './recent.ts'
import { systemErrorCode } from './system-error.ts'

export interface OutboundRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  headers?: Record<string, string>
  body?: string | Buffer
  /** Whole call: look-up, connect, send, answer. */
  timeoutMs: number
  /** The rest of a longer answer is dropped, not read into memory. Default 1 MiB. */
  maxResponseBytes?: number
}

export interface OutboundResponse {
  status: number
  /** Lower-case names; repeated headers joined by `, `. */
  headers: Record<string, string>
  body: Buffer
  truncated: boolean
  durationMs: number
  timings: OutboundTimings
}

/** Rounded, within `durationMs`, which also counts the wait for a free connection and the rest of the answer. */
export interface OutboundTimings extends DialTimings {
  /** From the moment the request left until the head of the answer was there. */
  firstByteMs: number | null
}

export const noTimings: OutboundTimings = { ...notDialled, firstByteMs: null }

export type OutboundFailure = 'blocked' | 'lookup' | 'connect' | 'tls' | 'timeout' | 'reset'

/** How far a call got. */
interface Course {
  /** False only when it is certain that no byte of the request left: such a call had no effect. */
  sent: boolean
  durationMs: number
  timings: OutboundTimings
}

const notBegun: Course = { sent: false, durationMs: 0, timings: noTimings }

export class OutboundError extends Error implements Course {
  readonly failure: OutboundFailure
  readonly sent: boolean
  readonly durationMs: number
  readonly timings: OutboundTimings

  constructor(failure: OutboundFailure, message: string, { sent, durationMs, timings }: Course) {
    super(message)
    this.name = 'OutboundError'
    this.failure = failure
    this.sent = sent
    this.durationMs = durationMs
    this.timings = timings
  }
}

export interface Outbound {
  request(request: OutboundRequest): Promise<OutboundResponse>
  close(): Promise<void>
}

export interface OutboundCall {
  method: string
  origin: string
  /** Without the query, which may hold credentials. */
  path: string
  status?: number
  failure?: OutboundFailure
  durationMs: number
}

export interface OutboundOptions extends AddressPolicy {
  userAgent?: string
  /** Calls to one origin that are under way at once; the others wait within their own time limit. Default 64. */
  maxConnectionsPerOrigin?: number
  onCall?: (call: OutboundCall) => void
  /** Default: DNS alone, or this machine's own look-up when private addresses are allowed. */
  names?: NameLookup
}

const defaultMaxResponseBytes = 1024 * 1024
const maxHeaderBytes = 16 * 1024
const maxOrigins = 500
const stopping = 'PipeCore is stopping'

/**
 * The only way out of PipeCore: it checks the address it dials, ends on time, follows no redirect, reads no
 * proxy setting, repeats nothing and decompresses nothing. Throws only OutboundError.
 */
export function createOutbound(options: OutboundOptions): Outbound {
  const { allowPrivateAddresses } = options
  const names = options.names ?? (allowPrivateAddresses ? createSystemLookup() : createPublicLookup())
  const exchanges: Exchanges = {
    pool: createConnectionPool({
      dial: createDial({ allowPrivateAddresses, names }),
      maxConnectionsPerOrigin: options.maxConnectionsPerOrigin ?? 64,
      maxOrigins,
      maxHeaderBytes,
    }),
    open: createBag(),
    closed: false,
  }

  return {
    async request(request) {
      const target = findTarget(request.url)
      const report = (result: Pick<OutboundCall, 'status' | 'failure' | 'durationMs'>) =>
        options.onCall?.({ method: request.method, origin: target.origin, path: target.path, ...result })
      try {
        const message = prepareMessage(request, target, options.userAgent ?? 'PipeCore')
        if (exchanges.closed) throw createError('connect', target, stopping, notBegun)
        const response = await exchange(exchanges, message)
        report({ status: response.status, durationMs: response.durationMs })
        return response
      } catch (error) {
        if (error instanceof OutboundError) report({ failure: error.failure, durationMs: error.durationMs })
        throw error
      }
    },
    async close() {
      exchanges.closed = true
      for (const stop of exchanges.open.items()) stop()
      names.cancel()
      await exchanges.pool.close()
    },
  }
}

interface Exchanges {
  pool: ConnectionPool
  open: Bag<() => void>
  closed: boolean
}

interface Message {
  method: OutboundRequest['method']
  target: Target
  headers: Record<string, string>
  body: string | Buffer | undefined
  timeoutMs: number
  maxResponseBytes: number
}

/** One call from queue to answer. Whatever ends it first wins; a connection is only kept after a whole answer. */
function exchange(exchanges: Exchanges, message: Message): Promise<OutboundResponse> {
  return new Promise((resolve, reject) => {
    let connection: LentConnection | undefined
    let sent = false
    let sentAt = 0
    let firstByteMs: number | null = null
    let settled = false
    let head: { status: number; headers: Record<string, string> } = { status: 0, headers: {} }
    let leaveQueue: (() => void) | undefined
    const body = createCappedBody(message.maxResponseBytes)
    const startedAt = performance.now()
    const course = (): Course => ({
      sent,
      durationMs: Math.round(performance.now() - startedAt),
      timings: { ...(connection?.dialled ?? notDialled), firstByteMs },
    })

    const settle = (fate: 'keep' | 'end', finish: () => void) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      close()
      leaveQueue?.()
      finish()
      connection?.giveBack(fate)
    }
    const fail = (failure: OutboundFailure, words: string) =>
      settle('end', () => reject(createError(failure, message.target, words, course())))
    const answer = (fate: 'keep' | 'end') =>
      settle(fate, () => {
        const { durationMs, timings } = course()
        resolve({ ...head, body: body.read(), truncated: fate === 'end', durationMs, timings })
      })
    const stop = () => fail(sent ? 'reset' : 'connect', stopping)
    const timer = setTimeout(
      () => fail('timeout', `${sent ? 'nothing complete' : 'not connected'} within ${message.timeoutMs} ms`),
      message.timeoutMs,
    )
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {
        if (sent) fail('reset', 'the connection was lost')
        sent = true
        sentAt = performance.now()
      },
      onResponseStart(_controller, status, headers) {
        firstByteMs ??= Math.round(performance.now() - sentAt)
        if (status >= 200) head = { status, headers: joinHeaders(headers) }
      },
      onResponseData(_controller, chunk) {
        if (!body.append(chunk)) answer('end')
      },
      onResponseEnd: () => answer('keep'),
      onResponseError(_controller, error) {
        const reason = explainFailure(error, sent)
        fail(reason.failure, reason.words)
      },
    }

    const close = exchanges.open.add(stop)
    leaveQueue = exchanges.pool.borrow(message.target.origin, (lent) => {
      connection = lent
      lent.client.dispatch(describeDispatch(message), handler)
    })
  })
}

function describeDispatch({ method, target, headers, body }: Message): Dispatcher.DispatchOptions {
  return { method, path: target.path + target.query, headers, body: body ?? null }
}

/** Where a URL leads; empty when it must not be called. */
interface Target {
  origin: string
  path: string
  query: string
  /** Why it must not be called. */
  problem: string | undefined
}

/** Most calls go where others went before, and reading a URL takes longer than finding what it said. */
const targets = createRecent<string, Target>({ most: 2_000, forMs: 10 * 60_000 })

function findTarget(text: string): Target {
  const known = targets.get(text)
  if (known !== undefined) return known
  const url = URL.canParse(text) ? new URL(text) : undefined
  const problem = url ? urlProblem(url) : 'The URL is not valid.'
  const target =
    url && !problem
      ? { origin: url.origin, path: url.pathname, query: url.search, problem }
      : { origin: '', path: '', query: '', problem }
  targets.set(text, target)
  return target
}

/** Throws OutboundError `blocked` for a request that must not or cannot be sent. */
function prepareMessage(request: OutboundRequest, target: Target, userAgent: string): Message {
  if (target.problem) throw new OutboundError('blocked', `Refused to call: ${target.problem}`, notBegun)
  const headers: Record<string, string> = { 'user-agent': userAgent }
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const refusal = headerProblem(name, value)
    if (refusal) throw createError('blocked', target, refusal, notBegun)
    headers[name.toLowerCase()] = value
  }
  headers['accept-encoding'] = 'identity'
  return {
    method: request.method,
    target,
    headers,
    body: request.body,
    timeoutMs: request.timeoutMs,
    maxResponseBytes: request.maxResponseBytes ?? defaultMaxResponseBytes,
  }
}

/** They shape the message or the connection itself. */
const ownHeader =
  /^(host|connection|content-length|transfer-encoding|upgrade|keep-alive|expect|te|trailer|proxy-.*)$/i

/** Why a request cannot carry this header; names it but never shows its value. */
export function headerProblem(name: string, value: string): string | undefined {
  const problem = headerNameProblem(name)
  if (problem) return problem
  try {
    validateHeaderValue(name, value)
  } catch {
    return `the value of the header ${JSON.stringify(name)} has characters that a header cannot carry`
  }
  return undefined
}

const goodNames = new Set<string>()
const mostGoodNames = 1_000

function headerNameProblem(name: string): string | undefined {
  if (goodNames.has(name)) return undefined
  if (ownHeader.test(name)) return `the header ${JSON.stringify(name)} is set by PipeCore alone`
  try {
    validateHeaderName(name)
  } catch {
    return `${JSON.stringify(name)} is not a header name`
  }
  if (goodNames.size < mostGoodNames) goodNames.add(name)
  return undefined
}

function createError(failure: OutboundFailure, { origin }: Target, words: string, course: Course) {
  const what =
    failure === 'blocked' ? 'Refused to call' : course.sent ? 'No whole answer from' : 'No connection to'
  return new OutboundError(failure, `${what} ${origin}: ${words}.`, course)
}

function explainFailure(error: Error, sent: boolean): { failure: OutboundFailure; words: string } {
  if (error instanceof DialError) return { failure: error.failure, words: error.message }
  const code = systemErrorCode(error) ?? 'unknown'
  if (code === 'UND_ERR_INVALID_ARG') return { failure: 'blocked', words: 'the request is malformed' }
  return {
    failure: sent ? 'reset' : 'connect',
    words: brokenAnswers[code] ?? `the connection broke (${code})`,
  }
}

const brokenAnswers: Record<string, string> = {
  UND_ERR_SOCKET: 'the connection was closed before the answer was complete',
  UND_ERR_HEADERS_OVERFLOW: `the answer's headers are larger than ${maxHeaderBytes} bytes`,
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer does not have the length it announced',
}

function joinHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const joined: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name] ?? ''
    joined[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return joined
}
