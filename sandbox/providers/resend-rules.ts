import { parseMailbox } from '../addresses.ts'
import type { Fault } from '../faults.ts'
import { isObject, replyJson, replyProxyHtml } from '../http.ts'
import type { Reply } from '../http.ts'

export type ResendSend = {
  from: string
  fromEmail: string
  to: string[]
  cc: string[]
  bcc: string[]
  replyTo: string[]
  subject: string
  html: string | null
  text: string | null
  template: { id: string; variables: Record<string, unknown> } | null
  headers: Record<string, unknown>
  tags: Record<string, string>
  attachments: string[]
  scheduledAt: string | null
}

const statusOf: Record<string, number> = {
  invalid_idempotency_key: 400,
  validation_error: 422,
  missing_required_field: 422,
  invalid_attachment: 422,
  invalid_from_address: 422,
  invalid_parameter: 422,
  missing_api_key: 401,
  restricted_api_key: 401,
  invalid_api_key: 403,
  not_found: 404,
  method_not_allowed: 405,
  concurrent_idempotent_requests: 409,
  invalid_idempotent_request: 409,
  rate_limit_exceeded: 429,
  daily_quota_exceeded: 429,
  monthly_quota_exceeded: 429,
  security_error: 451,
  internal_server_error: 500,
  application_error: 500,
}

const MAX_BYTES = 40 * 1024 * 1024

export function resendError(
  name: string,
  message: string,
  status = statusOf[name] ?? 400,
  headers: Record<string, string> = {},
): Reply {
  return replyJson(status, { statusCode: status, name, message }, headers)
}

export function rateHeaders(remaining: number): Record<string, string> {
  return {
    'ratelimit-policy': '5;w=1',
    'ratelimit-limit': '5',
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': '1',
  }
}

/** The faults that have a body of Resend's own. */
export function refuseResend(
  fault: Pick<Fault, 'name' | 'retryAfterSeconds'> & Partial<Fault>,
): Reply | null {
  const tooMany =
    'Too many requests. You can only make 5 requests per second. See rate limit response headers for more information. Or contact support to increase rate limit.'
  switch (fault.name) {
    case 'rate_limited':
      return resendError('rate_limit_exceeded', tooMany, 429, {
        ...rateHeaders(0),
        'retry-after': String(fault.retryAfterSeconds),
      })
    case 'rate_limited_bare':
      return resendError('rate_limit_exceeded', tooMany)
    case 'quota':
      return resendError('daily_quota_exceeded', 'You have reached your daily email sending quota.')
    case 'transient':
      return resendError('internal_server_error', 'An unexpected error occurred.')
    case 'unauthorized':
      return resendError('invalid_api_key', 'API key is invalid')
    case 'too_large':
      return replyProxyHtml(413, 'Request Entity Too Large')
    case 'error':
      return resendError('application_error', 'An unexpected error occurred.', fault.code ?? 500)
    default:
      return null
  }
}

/** Checks one email as Resend does and answers its first complaint. */
export function readResendSend(
  body: Record<string, unknown> | null,
  now: Date,
): { send: ResendSend } | { error: Reply } {
  if (!body) return { error: resendError('validation_error', 'The request body is not valid JSON.', 400) }
  const error =
    checkRequired(body) ??
    checkAddresses(body) ??
    checkTags(body) ??
    checkAttachments(body) ??
    checkSchedule(body, now)
  return error ? { error } : { send: toSend(body) }
}

function checkRequired(body: Record<string, unknown>): Reply | null {
  const template = body['template']
  if (template !== undefined) {
    if (!isObject(template) || typeof template['id'] !== 'string') return missing('template.id')
    if (body['html'] !== undefined || body['text'] !== undefined) {
      return resendError('validation_error', 'You cannot use `html` or `text` together with `template`.')
    }
    return isFilled(body['to']) ? null : missing('to')
  }
  for (const field of ['from', 'to', 'subject']) if (!isFilled(body[field])) return missing(field)
  if (!isFilled(body['html']) && !isFilled(body['text'])) {
    return resendError('missing_required_field', 'Missing `html` or `text` field.')
  }
  return null
}

function missing(field: string): Reply {
  return resendError('missing_required_field', `Missing \`${field}\` field.`)
}

function checkAddresses(body: Record<string, unknown>): Reply | null {
  const format =
    'The email address needs to follow the `email@example.com` or `Name <email@example.com>` format.'
  if (body['from'] !== undefined && (typeof body['from'] !== 'string' || !parseMailbox(body['from']))) {
    return resendError('validation_error', `Invalid \`from\` field. ${format}`)
  }
  for (const field of ['to', 'cc', 'bcc', 'reply_to']) {
    const list = toList(body[field])
    if (list.some((address) => typeof address !== 'string' || !parseMailbox(address))) {
      return resendError('validation_error', `Invalid \`${field}\` field. ${format}`)
    }
    if (list.length > 50)
      return resendError('validation_error', `The \`${field}\` field can have at most 50 addresses.`)
  }
  return null
}

function checkTags(body: Record<string, unknown>): Reply | null {
  const { tags } = body
  if (tags === undefined) return null
  if (!Array.isArray(tags)) return resendError('validation_error', 'The `tags` field must be an array.')
  const areGood = tags.every((tag) => isObject(tag) && isTagPart(tag['name']) && isTagPart(tag['value']))
  return areGood
    ? null
    : resendError(
        'validation_error',
        'Tags should only contain ASCII letters, numbers, underscores, or dashes.',
      )
}

function isTagPart(value: unknown): boolean {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{1,256}$/.test(value)
}

function checkAttachments(body: Record<string, unknown>): Reply | null {
  const { attachments } = body
  if (attachments === undefined) return null
  if (!Array.isArray(attachments))
    return resendError('invalid_attachment', 'The `attachments` field must be an array.')
  let bytes = 0
  for (const item of attachments as unknown[]) {
    if (!isObject(item) || (!isFilled(item['content']) && !isFilled(item['path']))) {
      return resendError('invalid_attachment', 'Attachment must have either a `content` or `path`.')
    }
    if (!isFilled(item['filename']) && !isFilled(item['path']))
      return resendError('invalid_attachment', 'Attachment must have a `filename`.')
    bytes += typeof item['content'] === 'string' ? item['content'].length : 0
  }
  return bytes > MAX_BYTES ? resendError('validation_error', 'The email is larger than 40MB.') : null
}

function checkSchedule(body: Record<string, unknown>, now: Date): Reply | null {
  const at = body['scheduled_at']
  if (at === undefined || at === null) return null
  const time = typeof at === 'string' ? Date.parse(at) : Number.NaN
  if (Number.isNaN(time))
    return resendError('validation_error', 'Invalid `scheduled_at` field: use ISO 8601.')
  const aheadDays = (time - now.getTime()) / 86_400_000
  return aheadDays > 30
    ? resendError('validation_error', '`scheduled_at` can be at most 30 days in the future.')
    : null
}

function toSend(body: Record<string, unknown>): ResendSend {
  const text = (name: string) => (typeof body[name] === 'string' ? body[name] : null)
  const list = (name: string) => toList(body[name]).map(String)
  const tags = (Array.isArray(body['tags']) ? body['tags'] : []).filter(isObject)
  const attachments = (Array.isArray(body['attachments']) ? body['attachments'] : []).filter(isObject)
  const template = isObject(body['template']) ? body['template'] : null
  const from = text('from') ?? 'template@sandbox.example'
  return {
    from,
    fromEmail: parseMailbox(from)!.email,
    to: list('to'),
    cc: list('cc'),
    bcc: list('bcc'),
    replyTo: list('reply_to'),
    subject: text('subject') ?? '',
    html: text('html'),
    text: text('text'),
    template: template && {
      id: String(template['id']),
      variables: isObject(template['variables']) ? template['variables'] : {},
    },
    headers: isObject(body['headers']) ? body['headers'] : {},
    tags: Object.fromEntries(tags.map((tag) => [String(tag['name']), String(tag['value'])])),
    attachments: attachments.map((item) => String(item['filename'] ?? item['path'])),
    scheduledAt: text('scheduled_at'),
  }
}

function toList(value: unknown): unknown[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value]
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : typeof value === 'string' && value !== ''
}
