import { isEmail } from '../addresses.ts'
import type { Fault } from '../faults.ts'
import { isObject, replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'

export type SendgridSend = {
  from: { email: string; name: string | null }
  subject: string | null
  text: string | null
  html: string | null
  templateId: string | null
  categories: string[]
  attachments: Array<{ filename: string; type: string; bytes: number }>
  headers: Record<string, unknown>
  sendAt: number | null
  isSandboxMode: boolean
  personalizations: Personalization[]
}

export type Personalization = {
  recipients: string[]
  subject: string | null
  customArgs: Record<string, string>
  templateData: Record<string, unknown>
}

type Problem = { message: string; field: string | null; help?: string | null }

const HELP = 'http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message'
const MAX_AHEAD_SECONDS = 72 * 3_600

export function sendgridError(
  status: number,
  problems: Problem[],
  headers: Record<string, string> = {},
): Reply {
  return replyJson(status, { errors: problems.map((problem) => ({ help: null, ...problem })) }, headers)
}

export function refuseKey(): Reply {
  return sendgridError(401, [
    { message: 'The provided authorization grant is invalid, expired, or revoked', field: null },
  ])
}

export function refuseSender(): Reply {
  const message =
    'The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity requirements'
  return sendgridError(403, [{ message, field: 'from' }])
}

/** The faults that have a body of SendGrid's own. */
export function refuseSendgrid(
  fault: Pick<Fault, 'name' | 'retryAfterSeconds'> & Partial<Fault>,
): Reply | null {
  const tooMany = [{ message: 'too many requests', field: null }]
  switch (fault.name) {
    case 'rate_limited': {
      const reset = String(Math.floor(Date.now() / 1_000) + fault.retryAfterSeconds)
      return sendgridError(429, tooMany, {
        'x-ratelimit-limit': '600',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': reset,
      })
    }
    case 'rate_limited_bare':
      return sendgridError(429, tooMany)
    case 'quota':
      return sendgridError(401, [{ message: 'Maximum credits exceeded', field: null }])
    case 'transient':
      return sendgridError(500, [{ message: 'Internal Server Error', field: null }])
    case 'unauthorized':
      return refuseKey()
    case 'error':
      return sendgridError(fault.code ?? 400, [{ message: 'Bad Request', field: null }])
    default:
      return null
  }
}

/** Checks a mail/send body; answers every fault found, as SendGrid does. */
export function readSendgridSend(
  body: Record<string, unknown> | null,
  now: Date,
): { send: SendgridSend } | { error: Reply } {
  if (!body) return { error: sendgridError(400, [{ message: 'Bad Request', field: null }]) }
  const problems: Problem[] = []
  const personalizations = readPersonalizations(body, problems)
  checkFrom(body, problems)
  checkSubject(body, problems)
  checkContent(body, problems)
  checkExtras(body, problems)
  checkSendAt(body['send_at'], now, problems)
  if (problems.length > 0) return { error: sendgridError(400, problems) }
  return { send: toSend(body, personalizations) }
}

function readPersonalizations(body: Record<string, unknown>, problems: Problem[]): Personalization[] {
  const list = body['personalizations']
  if (!Array.isArray(list) || list.length === 0) {
    problems.push({
      message: 'The personalizations field is required and must have at least one personalization.',
      field: 'personalizations',
      help: 'http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#-Personalizations-Errors',
    })
    return []
  }
  if (list.length > 1_000)
    problems.push({
      message: 'The personalizations field may not contain more than 1000 entries.',
      field: 'personalizations',
    })
  const shared = isObject(body['custom_args']) ? body['custom_args'] : {}
  return list.map((item, index) =>
    readPersonalization(isObject(item) ? item : {}, `personalizations.${index}`, shared, problems),
  )
}

function readPersonalization(
  item: Record<string, unknown>,
  field: string,
  shared: Record<string, unknown>,
  problems: Problem[],
): Personalization {
  if (!Array.isArray(item['to']) || item['to'].length === 0) {
    const message =
      'The to array is required for all personalization objects, and must have at least one email object with a valid email address.'
    problems.push({ message, field: `${field}.to`, help: `${HELP}.personalizations.to` })
  }
  const recipients = ['to', 'cc', 'bcc'].flatMap((kind) =>
    readRecipients(item[kind], `${field}.${kind}`, problems),
  )
  if (new Set(recipients.map((email) => email.toLowerCase())).size < recipients.length) {
    const message =
      'Each email address in the personalization block should be unique between to, cc, and bcc.'
    problems.push({ message, field })
  }
  const customArgs = { ...shared, ...(isObject(item['custom_args']) ? item['custom_args'] : {}) }
  if (Object.values(customArgs).some((value) => typeof value !== 'string')) {
    problems.push({ message: 'The custom_args values must be strings.', field: `${field}.custom_args` })
  }
  if (JSON.stringify(customArgs).length > 10_000) {
    problems.push({
      message: 'The combined size of custom_args may not exceed 10,000 bytes.',
      field: 'custom_args',
    })
  }
  return {
    recipients,
    subject: textOrNull(item['subject']),
    customArgs: Object.fromEntries(Object.entries(customArgs).map(([name, value]) => [name, textOf(value)])),
    templateData: isObject(item['dynamic_template_data']) ? item['dynamic_template_data'] : {},
  }
}

function readRecipients(list: unknown, field: string, problems: Problem[]): string[] {
  if (!Array.isArray(list)) return []
  return list.map((entry, index) => {
    const email: unknown = isObject(entry) ? entry['email'] : undefined
    if (!isEmail(email)) {
      problems.push({
        message: 'Does not contain a valid address.',
        field: `${field}.${index}.email`,
        help: `${HELP}.personalizations.to`,
      })
    }
    return String(email)
  })
}

function checkFrom(body: Record<string, unknown>, problems: Problem[]): void {
  const from = body['from']
  if (!isObject(from) || from['email'] === undefined) {
    const message =
      'The from object must be provided for every email send. It is an object that requires the email parameter, but may also contain a name parameter.  e.g. {"email" : "example@example.com"}  or {"email" : "example@example.com", "name" : "Example Recipient"}.'
    problems.push({ message, field: 'from.email', help: `${HELP}.from` })
  } else if (!isEmail(from['email'])) {
    problems.push({
      message: 'The from email does not contain a valid address.',
      field: 'from.email',
      help: `${HELP}.from`,
    })
  }
  const replyTo = body['reply_to']
  if (replyTo !== undefined && !(isObject(replyTo) && isEmail(replyTo['email']))) {
    problems.push({
      message: 'The reply_to email does not contain a valid address.',
      field: 'reply_to.email',
    })
  }
}

function checkSubject(body: Record<string, unknown>, problems: Problem[]): void {
  if (textOrNull(body['subject']) || body['template_id'] !== undefined) return
  const list: unknown[] = Array.isArray(body['personalizations']) ? body['personalizations'] : []
  if (list.length > 0 && list.every((item) => isObject(item) && textOrNull(item['subject']))) return
  const message =
    'The subject is required. You can get around this requirement if you use a template with a subject defined or if every personalization has a subject defined.'
  problems.push({ message, field: 'subject', help: `${HELP}.subject` })
}

function checkContent(body: Record<string, unknown>, problems: Problem[]): void {
  if (body['template_id'] !== undefined) {
    if (!/^d-[\w-]+$/.test(textOf(body['template_id'])))
      problems.push({ message: 'The template_id must be a valid GUID.', field: 'template_id' })
    return
  }
  const content = body['content']
  if (!Array.isArray(content) || content.length === 0) {
    const message =
      'Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block. We typically suggest both text/plain and text/html blocks are included, but only one block is required.'
    problems.push({ message, field: 'content', help: `${HELP}.content` })
    return
  }
  content.forEach((part: unknown, index) => {
    if (!isObject(part) || !textOrNull(part['type']))
      problems.push({ message: 'The content type is required.', field: `content.${index}.type` })
    else if (!textOrNull(part['value'])) {
      problems.push({
        message: 'The content value must be a string at least one character in length.',
        field: `content.${index}.value`,
        help: `${HELP}.content.value`,
      })
    }
  })
  const types = content.filter(isObject).map((part) => part['type'])
  if (types.includes('text/plain') && types.indexOf('text/plain') > 0) {
    const message =
      'If present, text/plain must be first, followed by text/html, followed by any other content.'
    problems.push({ message, field: 'content' })
  }
}

function checkExtras(body: Record<string, unknown>, problems: Problem[]): void {
  const attachments: unknown[] = Array.isArray(body['attachments']) ? body['attachments'] : []
  attachments.forEach((item, index) => {
    const content = isObject(item) ? item['content'] : undefined
    if (typeof content !== 'string' || content === '') {
      problems.push({ message: 'The attachment content is required.', field: `attachments.${index}.content` })
    } else if (!/^[A-Za-z0-9+/]+={0,2}$/.test(content)) {
      problems.push({
        message: 'The attachment content must be base64 encoded.',
        field: `attachments.${index}.content`,
      })
    }
    if (!isObject(item) || !textOrNull(item['filename'])) {
      problems.push({
        message: 'The attachment filename is required.',
        field: `attachments.${index}.filename`,
      })
    }
  })
  const categories: unknown[] = Array.isArray(body['categories']) ? body['categories'] : []
  if (categories.length > 10)
    problems.push({ message: 'You cannot have more than 10 categories.', field: 'categories' })
}

function checkSendAt(sendAt: unknown, now: Date, problems: Problem[]): void {
  if (sendAt === undefined) return
  const aheadSeconds = Number(sendAt) - now.getTime() / 1_000
  if (!Number.isInteger(sendAt))
    problems.push({ message: 'The send_at value must be a unix timestamp.', field: 'send_at' })
  else if (aheadSeconds > MAX_AHEAD_SECONDS) {
    problems.push({ message: 'Scheduling more than 72 hours in advance is forbidden.', field: 'send_at' })
  }
}

function toSend(body: Record<string, unknown>, personalizations: Personalization[]): SendgridSend {
  const content = (Array.isArray(body['content']) ? body['content'] : []).filter(isObject)
  const ofType = (type: string) => textOrNull(content.find((part) => part['type'] === type)?.['value'])
  const from = isObject(body['from']) ? body['from'] : {}
  const mode = isObject(body['mail_settings']) ? body['mail_settings']['sandbox_mode'] : undefined
  const attachments = (Array.isArray(body['attachments']) ? body['attachments'] : []).filter(isObject)
  return {
    from: { email: textOf(from['email']), name: textOrNull(from['name']) },
    subject: textOrNull(body['subject']),
    text: ofType('text/plain'),
    html: ofType('text/html'),
    templateId: textOrNull(body['template_id']),
    categories: (Array.isArray(body['categories']) ? body['categories'] : []).map(String),
    attachments: attachments.map((item) => ({
      filename: String(item['filename']),
      type: textOf(item['type'], 'application/octet-stream'),
      bytes: Buffer.byteLength(String(item['content']), 'base64'),
    })),
    headers: isObject(body['headers']) ? body['headers'] : {},
    sendAt: typeof body['send_at'] === 'number' ? body['send_at'] : null,
    isSandboxMode: isObject(mode) && mode['enable'] === true,
    personalizations,
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
