import { randomBytes } from 'node:crypto'
import type { Fault } from '../faults.ts'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'

type Known = { status: number; title: string; details: string; isTransient?: boolean; subcode?: number }

const errors: Record<number, Known> = {
  2: { status: 503, title: 'API Service', details: 'Service temporarily unavailable', isTransient: true },
  4: { status: 400, title: 'API Too Many Calls', details: 'The app has reached its API call rate limit' },
  10: {
    status: 403,
    title: 'Permission Denied',
    details: 'Application does not have permission for this action',
  },
  33: {
    status: 400,
    title: 'Parameter value is not valid',
    details: 'The business phone number has been deleted',
  },
  100: { status: 400, title: 'Invalid parameter', details: 'Invalid parameter' },
  130429: { status: 429, title: 'Rate limit hit', details: 'Cloud API message throughput has been reached' },
  131000: {
    status: 500,
    title: 'Something went wrong',
    details: 'Message failed to send due to an unknown error',
    isTransient: true,
  },
  131008: {
    status: 400,
    title: 'Required parameter is missing',
    details: 'The request is missing a required parameter',
  },
  131009: {
    status: 400,
    title: 'Parameter value is not valid',
    details: 'One or more parameter values are invalid',
  },
  131021: {
    status: 400,
    title: 'Recipient cannot be sender',
    details: 'Sender and recipient phone number is the same',
  },
  131026: { status: 400, title: 'Message undeliverable', details: 'Unable to deliver message' },
  131047: {
    status: 400,
    title: 'Re-engagement message',
    details:
      'Message failed to send because more than 24 hours have passed since the customer last replied to this number.',
  },
  131048: {
    status: 400,
    title: 'Spam rate limit hit',
    details: 'Too many previous messages from this number were blocked or flagged as spam',
  },
  131049: {
    status: 400,
    title: 'Message not delivered',
    details: 'This message was not delivered to maintain healthy ecosystem engagement.',
  },
  131050: {
    status: 400,
    title: 'User stopped marketing messages',
    details: 'The recipient has chosen to stop receiving marketing messages on WhatsApp from your business',
  },
  131051: {
    status: 400,
    title: 'Unsupported message type',
    details: 'Message type is not currently supported',
  },
  131053: {
    status: 400,
    title: 'Media upload error',
    details: 'Unable to upload the media used in the message',
  },
  131056: {
    status: 400,
    title: 'Pair rate limit hit',
    details: 'Too many messages sent from the sender to the same recipient in a short period of time',
  },
  131057: {
    status: 400,
    title: 'Account in maintenance mode',
    details: 'Business Account is in maintenance mode',
    isTransient: true,
  },
  131062: {
    status: 400,
    title: 'Business-scoped user id not supported',
    details: 'This message cannot be sent to a business-scoped user id',
  },
  132000: {
    status: 400,
    title: 'Number of parameters does not match the expected number of params',
    details: 'Template parameter count mismatch',
  },
  132001: {
    status: 404,
    title: 'Template name does not exist in the translation',
    details: 'The template does not exist in the specified language or has not been approved',
  },
  132015: { status: 400, title: 'Template is paused', details: 'Template is paused due to low quality' },
}

/** The Graph API's error body. */
export function metaError(code: number, details?: string): Reply {
  const known = errors[code] ?? { status: 400, title: `Error ${code}`, details: `Error ${code}` }
  const error = {
    message: code === 100 ? `(#100) ${details ?? known.details}` : `(#${code}) ${known.title}`,
    type: 'OAuthException',
    code,
    ...(code === 100
      ? {}
      : { error_data: { messaging_product: 'whatsapp', details: details ?? known.details } }),
    ...(known.isTransient ? { is_transient: true } : {}),
    fbtrace_id: traceId(),
  }
  return replyJson(known.status, { error })
}

/** `errors[]` of a failed status. */
export function webhookError(code: number): Record<string, unknown> {
  const known = errors[code] ?? { title: `Error ${code}`, details: `Error ${code}` }
  return {
    code,
    title: known.title,
    message: known.title,
    error_data: { details: known.details },
    href: 'https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/',
  }
}

export function refuseToken(isMissing: boolean): Reply {
  const error = isMissing
    ? { message: 'An access token is required to request this resource.', type: 'OAuthException', code: 104 }
    : { message: 'Invalid OAuth access token - Cannot parse access token', type: 'OAuthException', code: 190 }
  return replyJson(401, { error: { ...error, fbtrace_id: traceId() } })
}

export function refuseObject(id: string, verb: string): Reply {
  const message = `Unsupported ${verb} request. Object with ID '${id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation.`
  const error = { message, type: 'GraphMethodException', code: 100, error_subcode: 33, fbtrace_id: traceId() }
  return replyJson(400, { error })
}

/** The faults that have a body of Meta's own. */
export function refuseMeta(fault: Pick<Fault, 'name' | 'retryAfterSeconds'> & Partial<Fault>): Reply | null {
  switch (fault.name) {
    case 'rate_limited': {
      const reply = metaError(130429)
      return { ...reply, headers: { ...reply.headers, 'retry-after': String(fault.retryAfterSeconds) } }
    }
    case 'rate_limited_bare':
      return metaError(130429)
    case 'transient':
      return metaError(131000)
    case 'unauthorized':
      return refuseToken(false)
    case 'quota':
      return metaError(131048)
    case 'opted_out':
      return metaError(131050)
    case 'window_closed':
      return metaError(131047)
    case 'pair_limit':
      return metaError(131056)
    case 'error':
      return metaError(fault.code ?? 131000)
    default:
      return null
  }
}

export function traceId(): string {
  return `A${randomBytes(16).toString('base64url')}`
}
