import type { z } from 'zod'
import { OutboundError } from '#core/outbound.ts'
import type { OutboundFailure, OutboundRequest } from '#core/outbound.ts'
import { scrubText } from '#core/scrub.ts'
import { mayBeUnstorable, toStorable } from '#core/storable-json.ts'
import type { ErrorKind, Outcome, ProviderContext, ProviderError } from './provider.ts'

export interface ProviderAnswer {
  status: number
  /** Lower-case names. */
  headers: Record<string, string>
  text: string
  receivedAt: Date
}

export interface ProviderCall<Answer> {
  /** The provider's title: opens every message. */
  title: string
  method: OutboundRequest['method']
  /** Path and query below the context's base URL. */
  path: string
  headers?: Record<string, string>
  body?: string | Buffer
  /** Reads a 2xx; undefined when it holds nothing usable. */
  read(answer: ProviderAnswer): Answer | undefined
  /** The call carries an idempotency key: repeating it as it is can't act twice. */
  repeatable?: boolean
  /** For answers longer than outbound's default allows. */
  maxAnswerBytes?: number
}

export type NotDone = Exclude<Outcome<unknown>, { outcome: 'done' }>

/** What an error of the provider means: a row of its error table. */
export type ErrorRule = readonly [kind: ErrorKind, retry: ProviderError['retry'], failover: boolean]

/** What the provider said about an error, as far as it could be read. */
export interface Told {
  code?: string | number | null
  message?: string | null
}

const maxMessageLength = 500
const minSecretLength = 6
const shortestWaitMs = 1_000
const longestWaitMs = 24 * 3600_000

/**
 * One HTTP call to a provider, ended as one of three outcomes; never throws. `classify` judges every
 * answer that is not 2xx. Messages are scrubbed of every credential of the context.
 */
export async function callProvider<Answer>(
  context: ProviderContext<unknown>,
  call: ProviderCall<Answer>,
  classify: (answer: ProviderAnswer) => NotDone,
): Promise<Outcome<{ answer: Answer }>> {
  const began = performance.now()
  const outcome = await attemptCall(context, call, classify)
  context.onCall?.({ outcome, durationMs: performance.now() - began })
  if (outcome.outcome === 'done') return outcome
  const secrets = listSecrets(context.credentials, call.headers)
  const { error } = outcome
  const told = `${call.title}: ${scrub(error.message, secrets)}`
  // The cut may go through a character of two halves.
  const message = told.slice(0, maxMessageLength).toWellFormed()
  return {
    outcome: outcome.outcome,
    error: { ...error, message, ...(error.code !== undefined && { code: scrub(error.code, secrets) }) },
  }
}

async function attemptCall<Answer>(
  context: ProviderContext<unknown>,
  call: ProviderCall<Answer>,
  classify: (answer: ProviderAnswer) => NotDone,
): Promise<Outcome<{ answer: Answer }>> {
  const retry = call.repeatable ? 'backoff' : 'never'
  try {
    const response = await context.outbound.request({
      method: call.method,
      url: context.baseUrl + call.path,
      headers: { accept: 'application/json', ...call.headers },
      ...(call.body !== undefined && { body: call.body }),
      timeoutMs: context.timeoutMs,
      ...(call.maxAnswerBytes !== undefined && { maxResponseBytes: call.maxAnswerBytes }),
    })
    const { status, headers } = response
    const answer = { status, headers, text: response.body.toString('utf8'), receivedAt: context.now() }
    if (status < 200 || status > 299) return classify(answer)
    const read = call.read(answer)
    if (read !== undefined) return { outcome: 'done', answer: read }
    return unknownOutcome(answer, { message: `answered HTTP ${status} with nothing usable in it` }, retry)
  } catch (error) {
    return transportOutcome(error, retry)
  }
}

/**
 * Certainly no effect. Without a rule the HTTP status decides; a `Retry-After` is obeyed when rate limited. Whatever
 * the provider says, the wait is between a second and a day.
 */
export function refusedOutcome(answer: ProviderAnswer, rule: ErrorRule | undefined, told: Told): NotDone {
  const [kind, retry, failover] = rule ?? readStatusRule(answer.status)
  const obeyed = kind === 'rate_limited' && retry === 'backoff' ? readRetryAfter(answer) : retry
  const error = describeError([kind, boundRetry(obeyed), failover], withDefaultMessage(answer, told))
  return { outcome: 'refused', error: { ...error, httpStatus: answer.status } }
}

function readRetryAfter(answer: ProviderAnswer): ProviderError['retry'] {
  const afterMs = readRetryAfterMs(answer)
  return afterMs === undefined ? 'backoff' : { afterMs }
}

function boundRetry(retry: ProviderError['retry']): ProviderError['retry'] {
  if (typeof retry !== 'object') return retry
  return { afterMs: Math.min(Math.max(retry.afterMs, shortestWaitMs), longestWaitMs) }
}

/** The request was read and nobody knows what became of it: only the same key may be sent again. */
export function unknownOutcome(
  answer: ProviderAnswer,
  told: Told,
  retry: ProviderError['retry'] = 'never',
): NotDone {
  const error = describeError(['transient', retry, false], withDefaultMessage(answer, told))
  return { outcome: 'unknown', error: { ...error, httpStatus: answer.status } }
}

/** Statuses after which a call that acts may have acted: 408 and every 5xx. */
export function isUncertain(status: number): boolean {
  return status >= 500 || status === 408
}

/** A `ProviderError` from a rule and what the provider said; its own words win over ours. */
export function describeError([kind, retry, failover]: ErrorRule, told: Told): ProviderError {
  const code = told.code === null || told.code === undefined ? undefined : String(told.code)
  const message = [told.message?.trim() || kindWords[kind], code && `(${code})`].filter(Boolean).join(' ')
  return { kind, retry, failover, ...(code !== undefined && { code }), message }
}

/** Certainly no effect: nothing was sent, or the answer says so in words of its own. */
export function refuse(kind: ErrorKind, message: string, code?: string): NotDone {
  return { outcome: 'refused', error: describeError([kind, 'never', false], { code, message }) }
}

/** An answer about something else never becomes a state of what was asked for. */
export function mismatch(message: string): NotDone {
  const error = describeError(['unknown', 'never', false], { code: 'mismatch', message })
  return { outcome: 'unknown', error }
}

/** Of a call that only prepares the one that acts: where it is not done, whatever became of it, nothing happened. */
export function refuseUnlessDone<Done>(outcome: Outcome<Done>): Outcome<Done> {
  if (outcome.outcome === 'done') return outcome
  const { error } = outcome
  return { outcome: 'refused', error: { ...error, retry: error.retry === 'never' ? 'never' : 'backoff' } }
}

/** Nobody knows yet: it is worth another look by then. */
export function lookAgain(message: string, afterMs: number): NotDone {
  return { outcome: 'unknown', error: describeError(['transient', { afterMs }, false], { message }) }
}

/** What a call brought, in our words; what is not done stays as it is. */
export function mapDone<Done extends object, Mapped extends object>(
  outcome: Outcome<Done>,
  map: (done: Done) => Mapped,
): Outcome<Mapped> {
  return outcome.outcome === 'done' ? { outcome: 'done', ...map(outcome) } : outcome
}

/** The next step, with what the first one brought; where that is not done there is no next one. */
export async function thenDone<Done extends object, Next extends object>(
  outcome: Outcome<Done> | Promise<Outcome<Done>>,
  next: (done: Done) => Outcome<Next> | Promise<Outcome<Next>>,
): Promise<Outcome<Next>> {
  const first = await outcome
  return first.outcome === 'done' ? next(first) : first
}

type ErrorRow = readonly [...ErrorRule, codes: ReadonlyArray<string | number>]

/** Error rules by the provider's code. A row is a rule and the codes it holds for. */
export function createErrorTable(rows: readonly ErrorRow[]): ReadonlyMap<string, ErrorRule> {
  return new Map(
    rows.flatMap(([kind, retry, failover, codes]) =>
      codes.map((code): [string, ErrorRule] => [String(code), [kind, retry, failover]]),
    ),
  )
}

/** What a schema reads of an answer. */
export interface AnswerSchema<Answer> {
  safeParse(answer: unknown): { data?: Answer | undefined }
}

/** `schema.transform()` for what a single call makes of its answer: a schema takes longer to make than to read with. */
export function mapped<Answer, Result>(
  schema: z.ZodType<Answer>,
  map: (answer: Answer) => Result,
): AnswerSchema<Result> {
  return {
    safeParse(answer) {
      const read = schema.safeParse(answer)
      return read.success ? { data: map(read.data) } : {}
    },
  }
}

/** A reader of JSON answers: undefined when the text is no JSON or does not fit the schema. */
export function readJson<Answer>(
  schema: AnswerSchema<Answer>,
): (answer: Pick<ProviderAnswer, 'text'>) => Answer | undefined {
  return (answer) => schema.safeParse(parseJson(answer.text)).data
}

/** As PostgreSQL can store it, without NUL and halves of characters; undefined for anything that is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return mayBeUnstorable(text) ? JSON.parse(text, toStorable) : JSON.parse(text)
  } catch {
    return undefined
  }
}

/** From `Retry-After` (seconds or a date), never negative; undefined when absent or unreadable. */
export function readRetryAfterMs(answer: ProviderAnswer): number | undefined {
  const text = answer.headers['retry-after']?.trim()
  if (!text) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000)
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - answer.receivedAt.getTime())
}

function withDefaultMessage(answer: ProviderAnswer, told: Told): Told {
  return { ...told, message: told.message || `answered HTTP ${answer.status} and gave no readable reason` }
}

function readStatusRule(status: number): ErrorRule {
  if (status < 400) return ['config', 'never', false]
  return statusRules[status] ?? (status >= 500 ? ['transient', 'backoff', true] : ['content', 'never', false])
}

const statusRules: Record<number, ErrorRule> = {
  401: ['auth', 'never', false],
  403: ['auth', 'never', false],
  404: ['config', 'never', false],
  405: ['config', 'never', false],
  406: ['config', 'never', false],
  410: ['config', 'never', false],
  429: ['rate_limited', 'backoff', true],
}

const kindWords: Record<ErrorKind, string> = {
  rate_limited: 'too many calls at once',
  transient: 'a passing fault at the provider',
  auth: 'the credentials were not accepted',
  account: 'the account may not do this',
  recipient: 'the recipient can not be reached',
  opted_out: 'the recipient has opted out',
  window_closed: 'the 24-hour window is closed; send a template',
  content: 'the request was not accepted',
  config: 'the connection is set up wrongly',
  state: 'its state does not allow this; it may already be done',
  unknown: 'the provider gave no known reason',
}

function transportOutcome(error: unknown, retry: ProviderError['retry']): NotDone {
  if (!(error instanceof OutboundError)) {
    return {
      outcome: 'unknown',
      error: describeError(['unknown', retry, false], { message: 'the call failed' }),
    }
  }
  const words = failureWords[error.failure]
  if (error.sent) {
    const message = `the request left, then ${words}: nobody knows whether it was carried out`
    return { outcome: 'unknown', error: describeError(['transient', retry, false], { message }) }
  }
  const rule: ErrorRule =
    error.failure === 'blocked' ? ['config', 'never', true] : ['transient', 'backoff', true]
  return { outcome: 'refused', error: describeError(rule, { message: `nothing was sent: ${words}` }) }
}

const failureWords: Record<OutboundFailure, string> = {
  blocked: 'its address is one that may not be called',
  lookup: 'its host name could not be resolved',
  connect: 'no connection could be made',
  tls: 'the secure connection failed',
  timeout: 'no answer came in time',
  reset: 'the connection broke',
}

interface Secret {
  value: string
  name: string
}

/** Every text among the credentials, and what the authorization header carries, longest first. */
function listSecrets(credentials: unknown, headers: Record<string, string> | undefined): Secret[] {
  const authorization = headers?.authorization?.split(' ').at(-1) ?? ''
  return [...listTexts(credentials, 'credential'), { value: authorization, name: 'authorization' }]
    .filter(({ value }) => value.length >= minSecretLength)
    .toSorted((a, b) => b.value.length - a.value.length)
}

function listTexts(value: unknown, name: string): Secret[] {
  if (typeof value === 'string') return [{ value, name }]
  if (Array.isArray(value)) return value.flatMap((item) => listTexts(item, name))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => listTexts(item, key))
}

/** What stands there as it was entered is named, so that the message stays readable; every other form is blanked. */
function scrub(text: string, secrets: readonly Secret[]): string {
  const named = secrets.reduce((left, { value, name }) => left.replaceAll(value, `<${name}>`), text)
  return scrubText(
    named,
    secrets.map(({ value }) => value),
  )
}
