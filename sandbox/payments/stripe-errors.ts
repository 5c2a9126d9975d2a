import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import type { PaymentFault } from './payment-faults.ts'
import type { CardFailure, StripeObject } from './stripe-objects.ts'

export type StripeErrorBody = {
  type: 'api_error' | 'card_error' | 'idempotency_error' | 'invalid_request_error'
  message: string
  code?: string
  param?: string
} & Record<string, unknown>

/** A call that Stripe refuses. */
export class StripeError extends Error {
  status: number
  body: StripeErrorBody
  headers: Record<string, string>
  /** The parameters were at fault: nothing began, so an idempotency key is not used up. */
  isValidation: boolean

  constructor(
    status: number,
    body: StripeErrorBody,
    options: { headers?: Record<string, string>; isValidation?: boolean } = {},
  ) {
    super(body.message)
    this.status = status
    this.body = body
    this.headers = options.headers ?? {}
    this.isValidation = options.isValidation ?? false
  }
}

export function replyError(
  { status, body, headers }: StripeError,
  requestId: string,
  livemode: boolean,
): Reply {
  const mode = livemode ? '' : 'test/'
  const links = {
    ...(body.code === undefined
      ? {}
      : { doc_url: `https://stripe.com/docs/error-codes/${body.code.replaceAll('_', '-')}` }),
    request_log_url: `https://dashboard.stripe.com/${mode}logs/${requestId}`,
  }
  return replyJson(status, { error: { ...links, ...body } }, headers)
}

type Details = { code?: string; param?: string } & Record<string, unknown>

export function invalidRequest(message: string, details: Details = {}): StripeError {
  return new StripeError(400, { type: 'invalid_request_error', message, ...details })
}

/** 404 for what the path names, 400 for what a parameter names. */
export function resourceMissing(kind: string, id: string, param = 'id'): StripeError {
  const status = param === 'id' || param === 'intent' ? 404 : 400
  const message = `No such ${kind}: '${id}'`
  return new StripeError(status, { type: 'invalid_request_error', code: 'resource_missing', message, param })
}

/** 402, with the intent as it was left. */
export function cardRefused(failure: CardFailure, intent?: StripeObject): StripeError {
  return new StripeError(402, { ...failure, ...(intent ? { [intent.object]: structuredClone(intent) } : {}) })
}

/** What the state of an intent does not allow. */
export function unexpectedState(intent: StripeObject, message: string): StripeError {
  const code = `${intent.object}_unexpected_state`
  return invalidRequest(message, { code, [intent.object]: structuredClone(intent) })
}

export function invalidKey(key: string): StripeError {
  const message = `Invalid API Key provided: ${maskKey(key)}`
  return new StripeError(401, { type: 'invalid_request_error', message })
}

export function noKey(): StripeError {
  const message =
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
  return new StripeError(
    401,
    { type: 'invalid_request_error', message },
    {
      headers: { 'www-authenticate': 'Bearer realm="Stripe"' },
    },
  )
}

export function noAccess(key: string, accountId: string): StripeError {
  const message = `The provided key '${maskKey(key)}' does not have access to account '${accountId}' (or that account does not exist). Application access may have been revoked.`
  return new StripeError(403, { type: 'invalid_request_error', code: 'account_invalid', message })
}

export function noPermission(key: string, accountId: string): StripeError {
  const message = `The provided key '${maskKey(key)}' does not have the required permissions for this endpoint on account '${accountId}'.`
  return new StripeError(403, { type: 'invalid_request_error', message })
}

export function unknownUrl(method: string, path: string): StripeError {
  const message = `Unrecognized request URL (${method}: ${path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/.`
  return new StripeError(404, { type: 'invalid_request_error', message })
}

export function keyInUse(key: string): StripeError {
  const message = `There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): ${key}. Please try again later.`
  return new StripeError(
    409,
    { type: 'idempotency_error', code: 'idempotency_key_in_use', message },
    {
      headers: { 'stripe-should-retry': 'true' },
    },
  )
}

export function keyReused(key: string): StripeError {
  const message = `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`
  return new StripeError(400, { type: 'idempotency_error', message })
}

/** The faults that Stripe words itself; null for those that let the call through. */
export function faultError(fault: PaymentFault, key: string): StripeError | null {
  if (fault.name === 'unauthorized') return invalidKey(key)
  if (fault.name === 'transient') {
    const message = 'Sorry! There was an error while talking to one of our backends. We have been notified.'
    return new StripeError(500, { type: 'api_error', message })
  }
  if (fault.name !== 'rate_limited') return null
  const message =
    'Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits.'
  return new StripeError(
    429,
    { type: 'invalid_request_error', code: 'rate_limit', message },
    {
      headers: {
        'retry-after': String(fault.retryAfterSeconds),
        'stripe-rate-limited-reason': 'global-rate',
      },
    },
  )
}

/** `sk_test_abcdefgh1234` as `sk_test_********1234`. */
function maskKey(key: string): string {
  const [, prefix = '', rest = key] = /^([a-z]+_(?:test|live)_)(.*)$/.exec(key) ?? []
  return prefix + '*'.repeat(Math.max(4, Math.min(rest.length - 4, 20))) + rest.slice(-4)
}
