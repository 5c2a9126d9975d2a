import type { Fault } from '../faults.ts'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { isPossiblePhoneNumber } from 'libphonenumber-js/min'

export type TwilioSend = {
  to: string
  from: string | null
  messagingServiceSid: string | null
  body: string | null
  mediaUrls: string[]
  contentSid: string | null
  contentVariables: Record<string, string>
  statusCallback: string | null
  sendAt: Date | null
}

const errors: Record<number, [status: number, message: string]> = {
  20001: [400, 'Invalid parameter'],
  20003: [401, 'Authenticate'],
  20004: [405, 'Method not allowed'],
  20404: [404, 'The requested resource was not found'],
  20429: [429, 'Too Many Requests'],
  20500: [500, 'Internal Server Error'],
  21211: [400, "Invalid 'To' Phone Number"],
  21212: [400, "Invalid 'From' Phone Number"],
  21266: [400, "'To' and 'From' number cannot be the same"],
  21408: [403, 'Permission to send an SMS has not been enabled for the region indicated by the To number'],
  21603: [400, "A 'From' phone number is required."],
  21604: [400, "A 'To' phone number is required."],
  21606: [
    400,
    "The 'From' phone number provided is not a valid message-capable Twilio phone number for this destination/account",
  ],
  21608: [400, 'The number is unverified. Trial accounts cannot send messages to unverified numbers'],
  21609: [400, "The 'StatusCallback' URL is not a valid URL."],
  21610: [400, 'Attempt to send to unsubscribed recipient'],
  21611: [429, "This 'From' number has exceeded the maximum number of queued messages"],
  21612: [400, "The 'To' phone number is not currently reachable using the 'From' phone number via SMS"],
  21614: [400, "'To' number is not a valid mobile number"],
  21617: [400, 'The concatenated message body exceeds the 1600 character limit'],
  21619: [400, 'A text message body or media urls must be specified.'],
  21620: [400, 'Invalid media URL(s)'],
  21623: [400, 'Number of media files exceeds allowed limit'],
  21655: [400, 'The ContentSid is Invalid'],
  21656: [400, 'The Content Variables parameter is invalid.'],
  21910: [400, "Invalid 'From' and 'To' pair. 'From' and 'To' should be of the same channel"],
  30409: [400, 'Cannot cancel this message because it is not cancelable.'],
  35114: [400, 'Scheduling does not support this timestamp'],
  35115: [400, 'SendAt must be more than 300 seconds and at most 35 days in the future'],
  35118: [400, 'MessagingServiceSid is required to schedule a message'],
  63038: [429, 'Account exceeded the daily messages limit'],
}

/** Twilio's own test numbers. */
const magicTo: Record<string, number> = {
  '+15005550001': 21211,
  '+15005550002': 21612,
  '+15005550003': 21408,
  '+15005550004': 21610,
  '+15005550009': 21614,
}
const magicFrom: Record<string, number> = {
  '+15005550001': 21212,
  '+15005550007': 21606,
  '+15005550008': 21611,
}

export function twilioError(code: number, message?: string, headers: Record<string, string> = {}): Reply {
  const [status, text] = errors[code] ?? [400, `Error ${code}`]
  const body = {
    code,
    message: message ?? text,
    more_info: `https://www.twilio.com/docs/errors/${code}`,
    status,
  }
  return replyJson(status, body, headers)
}

/** The faults that have a body of Twilio's own. */
export function refuseTwilio(
  fault: Pick<Fault, 'name' | 'retryAfterSeconds'> & Partial<Fault>,
): Reply | null {
  switch (fault.name) {
    case 'rate_limited':
      return twilioError(20429, undefined, { 'retry-after': String(fault.retryAfterSeconds) })
    case 'rate_limited_bare':
      return twilioError(20429)
    case 'transient':
      return twilioError(20500)
    case 'unauthorized':
      return twilioError(20003)
    case 'quota':
      return twilioError(63038)
    case 'opted_out':
      return twilioError(21610)
    case 'error':
      return twilioError(fault.code ?? 20001)
    default:
      return null
  }
}

/** Checks every field the way Twilio does and answers its first complaint. */
export function readSend(form: URLSearchParams, now: Date): { send: TwilioSend } | { error: Reply } {
  const send: TwilioSend = {
    to: form.get('To') ?? '',
    from: form.get('From') || null,
    messagingServiceSid: form.get('MessagingServiceSid') || null,
    body: form.get('Body'),
    mediaUrls: form.getAll('MediaUrl'),
    contentSid: form.get('ContentSid') || null,
    contentVariables: {},
    statusCallback: form.get('StatusCallback') || null,
    sendAt: null,
  }
  const error = checkAddresses(send) ?? checkContent(send, form) ?? checkDelivery(send, form, now)
  return error ? { error } : { send }
}

function checkAddresses(send: TwilioSend): Reply | null {
  const { to, from } = send
  if (!to) return twilioError(21604)
  if (!from && !send.messagingServiceSid) return twilioError(21603)
  if (send.messagingServiceSid && !/^MG[0-9a-f]{32}$/i.test(send.messagingServiceSid)) {
    return twilioError(20404, `The requested resource ${send.messagingServiceSid} was not found`)
  }
  const magic = magicTo[to] ?? magicFrom[from ?? '']
  if (magic) return twilioError(magic)
  if (!isPhone(to) || !isPossiblePhoneNumber(to.replace(/^whatsapp:/, '')))
    return twilioError(21211, `Invalid 'To' Phone Number: ${hideDigits(to)}`)
  if (!from) return null
  const isWhatsapp = to.startsWith('whatsapp:')
  if (from.startsWith('whatsapp:') !== isWhatsapp) return twilioError(21910)
  if (!isPhone(from) && (isWhatsapp || !isShortSender(from)))
    return twilioError(21212, `Invalid 'From' Phone Number: ${from}`)
  return from === to ? twilioError(21266) : null
}

function checkContent(send: TwilioSend, form: URLSearchParams): Reply | null {
  if (!send.body && send.mediaUrls.length === 0 && !send.contentSid) return twilioError(21619)
  if ((send.body ?? '').length > 1_600) return twilioError(21617)
  if (send.mediaUrls.length > 10) return twilioError(21623)
  if (send.mediaUrls.some((url) => !isHttpUrl(url))) return twilioError(21620)
  if (!send.contentSid) return null
  if (!/^HX[0-9a-f]{32}$/i.test(send.contentSid)) return twilioError(21655)
  const variables = readVariables(form.get('ContentVariables'))
  if (!variables) return twilioError(21656)
  send.contentVariables = variables
  return null
}

function checkDelivery(send: TwilioSend, form: URLSearchParams, now: Date): Reply | null {
  if (send.statusCallback && !isHttpUrl(send.statusCallback)) return twilioError(21609)
  const validity = form.get('ValidityPeriod')
  if (validity !== null && !(Number(validity) >= 1 && Number(validity) <= 36_000)) {
    return twilioError(20001, 'ValidityPeriod must be between 1 and 36000')
  }
  if (form.get('ScheduleType') !== 'fixed') return null
  if (!send.messagingServiceSid) return twilioError(35118)
  const sendAt = new Date(form.get('SendAt') ?? '')
  if (Number.isNaN(sendAt.getTime())) return twilioError(35114)
  const aheadSeconds = (sendAt.getTime() - now.getTime()) / 1_000
  if (aheadSeconds <= 300 || aheadSeconds > 35 * 86_400) return twilioError(35115)
  send.sendAt = sendAt
  return null
}

/** E.164 in shape, with or without the channel. */
function isPhone(address: string): boolean {
  return /^(whatsapp:)?\+[1-9]\d{6,14}$/.test(address)
}

/** A short code or an alphanumeric sender. */
function isShortSender(from: string): boolean {
  return /^\d{3,8}$/.test(from) || (/^[A-Za-z0-9 ]{1,11}$/.test(from) && /[A-Za-z]/.test(from))
}

function hideDigits(phone: string): string {
  return phone.replace(/\d{4}$/, 'XXXX')
}

function isHttpUrl(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
}

function readVariables(json: string | null): Record<string, string> | null {
  if (json === null || json === '') return {}
  try {
    const value: unknown = JSON.parse(json)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
    const entries = Object.entries(value)
    return entries.every(([, text]) => typeof text === 'string')
      ? (Object.fromEntries(entries) as Record<string, string>)
      : null
  } catch {
    return null
  }
}

const GSM = /^[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà^{}\\[\]~|€]*$/

/** SMS segments: 160 or 153 GSM-7 characters, 70 or 67 UCS-2 units. */
export function countSegments(text: string): number {
  const isGsm = GSM.test(text)
  const length = isGsm ? text.length + (text.match(/[\^{}\\[\]~|€]/g)?.length ?? 0) : text.length
  const [single, many] = isGsm ? [160, 153] : [70, 67]
  return length <= single ? 1 : Math.ceil(length / many)
}
