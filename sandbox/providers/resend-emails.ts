import { isObject, readJsonObject, replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { setState } from '../world.ts'
import type { Message } from '../world.ts'
import type { Resend, ResendAccount } from './resend-account.ts'
import { resendError } from './resend-rules.ts'

/** Read, reschedule or cancel one email. */
export function answerEmail(resend: Resend, account: ResendAccount, call: Call): Reply {
  const [, , id = '', verb] = call.path.split('/')
  const message = resend.world.messages.get(id)
  if (!message || message.account !== account.name || message.direction !== 'outbound')
    return resendError('not_found', 'Email not found')
  if (call.method === 'GET' && verb === undefined) return replyJson(200, describe(message))
  if (call.method === 'PATCH' && verb === undefined) {
    const at = readJsonObject(call)?.['scheduled_at']
    if (typeof at !== 'string' || Number.isNaN(Date.parse(at)))
      return resendError('validation_error', 'Invalid `scheduled_at` field: use ISO 8601.')
    if (message.state !== 'scheduled')
      return resendError('validation_error', 'Only scheduled emails can be updated.')
    message.details['scheduled_at'] = at
    return replyJson(200, { object: 'email', id })
  }
  if (call.method !== 'POST' || verb !== 'cancel')
    return resendError('method_not_allowed', 'This endpoint does not support this method.')
  if (message.state !== 'scheduled')
    return resendError('validation_error', 'Only scheduled emails can be canceled.')
  setState(message, 'canceled', resend.world.now())
  return replyJson(200, { object: 'email', id })
}

function describe(message: Message): Record<string, unknown> {
  const { details } = message
  const tags = isObject(details['tags'])
    ? Object.entries(details['tags']).map(([name, value]) => ({ name, value }))
    : []
  return {
    object: 'email',
    id: message.id,
    message_id: `<${message.id}@sandbox.example>`,
    to: details['to'],
    from: message.from,
    created_at: message.created_at,
    subject: message.subject,
    html: message.html,
    text: message.text,
    cc: details['cc'],
    bcc: details['bcc'],
    reply_to: details['reply_to'],
    last_event: message.history.at(-1)?.state ?? message.state,
    scheduled_at: details['scheduled_at'],
    tags,
  }
}
