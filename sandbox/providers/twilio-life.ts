import { sendCallback } from '../callbacks.ts'
import type { Callback } from '../callbacks.ts'
import type { Fault } from '../faults.ts'
import type { Step } from '../life.ts'
import { isWindowOpen } from '../world.ts'
import type { Message } from '../world.ts'
import { makeFormPost } from './twilio-account.ts'
import type { Twilio, TwilioAccount } from './twilio-account.ts'
import type { TwilioSend } from './twilio-rules.ts'

const CALLBACK_FAILURES: Partial<Record<Fault['name'], number>> = {
  failed: 30003,
  window_closed: 63016,
  pair_limit: 63018,
}

/** Sent, delivered and, on WhatsApp, read; failures come by callback after a 201. */
export function planTwilioSteps(
  twilio: Twilio,
  account: TwilioAccount,
  message: Message,
  send: TwilioSend,
  fault: Fault | null,
): Step[] {
  const isWhatsapp = message.channel === 'whatsapp'
  const step = (state: string, errorCode?: number): Step => {
    if (errorCode) message.details['error_code'] = errorCode
    return { state, report: () => reportStatus(twilio, account, message, send, { status: state, errorCode }) }
  }
  const failure = failureCode(twilio, message, send, fault)
  if (failure) {
    const isCarrier = failure < 60_000
    return isCarrier ? [step('sent'), step('undelivered', failure)] : [step('failed', failure)]
  }
  if (fault?.name === 'stuck') return [step('sent')]
  if (fault?.name === 'read_without_delivered') return [step('sent'), step('read')]
  return isWhatsapp ? [step('sent'), step('delivered'), step('read')] : [step('sent'), step('delivered')]
}

function failureCode(
  twilio: Twilio,
  message: Message,
  send: TwilioSend,
  fault: Fault | null,
): number | undefined {
  const asked = fault && CALLBACK_FAILURES[fault.name]
  if (asked) return fault.code ?? asked
  const isFreeText = message.channel === 'whatsapp' && !send.contentSid
  if (isFreeText && !isWindowOpen(twilio.world, 'twilio', send.from, message.to)) return 63016
  return undefined
}

type StatusReport = { status: string; errorCode?: number | undefined; messagingServiceSid?: string | null }

function reportStatus(
  twilio: Twilio,
  account: TwilioAccount,
  message: Message,
  send: TwilioSend,
  status: StatusReport,
): Callback | null {
  if (!send.statusCallback) return null
  const params = statusParams(account, message, { ...status, messagingServiceSid: send.messagingServiceSid })
  const post = { url: send.statusCallback, params, messageId: message.id, event: status.status }
  return sendCallback(twilio.world, makeFormPost(account, post))
}

type Addressed = Pick<Message, 'id' | 'from' | 'to' | 'channel'>

/** The form of a status callback. */
export function statusParams(
  account: TwilioAccount,
  message: Addressed,
  about: StatusReport,
): Array<[string, string]> {
  const { status, errorCode, messagingServiceSid } = about
  const params: Array<[string, string]> = [
    ['MessageSid', message.id],
    ['SmsSid', message.id],
    ['MessageStatus', status],
    ['SmsStatus', status],
    ['AccountSid', account.sid],
    ['From', message.from],
    ['To', message.to],
    ['ApiVersion', '2010-04-01'],
  ]
  if (messagingServiceSid) params.push(['MessagingServiceSid', messagingServiceSid])
  if (message.channel === 'whatsapp') {
    params.push(['ChannelPrefix', 'whatsapp'], ['ChannelToAddress', message.to.replace('whatsapp:', '')])
    if (status === 'read' || status === 'delivered') params.push(['EventType', status.toUpperCase()])
  }
  if (errorCode)
    params.push(
      ['ErrorCode', String(errorCode)],
      ['ErrorMessage', errorCode === 63016 ? '' : describeFailure(errorCode)],
    )
  return params
}

export function describeFailure(code: number): string {
  if (code === 30003) return 'Unreachable destination handset'
  return code === 63018 ? 'Rate limit exceeded for Channel' : `Message delivery failed (${code})`
}
