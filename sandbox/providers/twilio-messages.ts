import { replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { setState } from '../world.ts'
import type { Message } from '../world.ts'
import type { Twilio, TwilioAccount } from './twilio-account.ts'
import { describeFailure } from './twilio-life.ts'
import { countSegments, twilioError } from './twilio-rules.ts'

/** Read, cancel, redact or delete one message. */
export function answerMessage(twilio: Twilio, message: Message, call: Call): Reply {
  if (call.method === 'GET') return replyJson(200, describeMessage(message))
  if (call.method === 'DELETE') {
    twilio.world.messages.delete(message.id)
    return { status: 204 }
  }
  if (call.method !== 'POST') return twilioError(20004)
  const form = new URLSearchParams(call.body.toString('utf8'))
  if (form.get('Status') === 'canceled') {
    if (message.state !== 'scheduled') return twilioError(30409)
    setState(message, 'canceled', twilio.world.now())
  }
  if (form.get('Body') === '') message.text = ''
  return replyJson(200, describeMessage(message))
}

export function listMessages(twilio: Twilio, account: TwilioAccount, call: Call): Reply {
  const size = Math.min(Number(call.query.get('PageSize') ?? 50) || 50, 1_000)
  const found = [...twilio.world.messages.values()].filter(
    (message) =>
      message.account === account.sid &&
      (!call.query.has('To') || message.to === call.query.get('To')) &&
      (!call.query.has('From') || message.from === call.query.get('From')),
  )
  const uri = `/2010-04-01/Accounts/${account.sid}/Messages.json`
  const messages = found.toReversed().slice(0, size).map(describeMessage)
  return replyJson(200, {
    messages,
    page: 0,
    page_size: size,
    start: 0,
    end: messages.length,
    uri,
    next_page_uri: null,
  })
}

/** The Message resource. */
export function describeMessage(message: Message): Record<string, unknown> {
  const uri = `/2010-04-01/Accounts/${message.account}/Messages/${message.id}`
  const media = message.details['media']
  const sentAt = message.history.find(({ state }) => state === 'sent' || state === 'received')?.at
  const errorCode = ['undelivered', 'failed'].includes(message.state) ? message.details['error_code'] : null
  return {
    sid: message.id,
    account_sid: message.account,
    messaging_service_sid: message.details['messaging_service_sid'] ?? null,
    from: message.from,
    to: message.to,
    body: message.text ?? '',
    status: message.state,
    direction: message.direction === 'inbound' ? 'inbound' : 'outbound-api',
    num_segments: String(countSegments(message.text ?? '')),
    num_media: String(Array.isArray(media) ? media.length : 0),
    price: sentAt && message.direction === 'outbound' ? '-0.00750' : null,
    price_unit: 'USD',
    error_code: errorCode,
    error_message: typeof errorCode === 'number' ? describeFailure(errorCode) : null,
    date_created: toRfc2822(message.created_at),
    date_sent: sentAt ? toRfc2822(sentAt) : null,
    date_updated: toRfc2822(message.history.at(-1)?.at ?? message.created_at),
    uri: `${uri}.json`,
    subresource_uris: { media: `${uri}/Media.json` },
    api_version: '2010-04-01',
  }
}

function toRfc2822(iso: string): string {
  return new Date(iso).toUTCString().replace('GMT', '+0000')
}
