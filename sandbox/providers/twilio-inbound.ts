import { z } from 'zod'
import { sendCallback } from '../callbacks.ts'
import { sameAddress } from '../faults.ts'
import { addMessage, openWindow } from '../world.ts'
import { inboundMediaSchema, inputError, mediaBytes } from './simulator.ts'
import type { Received } from './simulator.ts'
import { createHexId, makeFormPost } from './twilio-account.ts'
import type { Twilio, TwilioAccount } from './twilio-account.ts'
import { countSegments } from './twilio-rules.ts'

export const inboundSchema = z.strictObject({
  /** `+56…` for SMS, `whatsapp:+56…` for WhatsApp. */
  from: z.string().min(1),
  to: z.string().min(1),
  account: z.string().optional(),
  /** Where to, when the account has no webhook of its own. */
  webhook_url: z.url().optional(),
  text: z.string().default(''),
  media: z.array(inboundMediaSchema).max(10).default([]),
  button: z.strictObject({ text: z.string(), payload: z.string() }).optional(),
  location: z
    .strictObject({
      latitude: z.number(),
      longitude: z.number(),
      address: z.string().optional(),
      label: z.string().optional(),
    })
    .optional(),
  reply_to: z.string().optional(),
  profile_name: z.string().optional(),
  /** A WhatsApp user without a phone number. */
  external_user_id: z.string().optional(),
  /** Any further parameter, exactly as given. */
  params: z.record(z.string(), z.string()).default({}),
})

type Inbound = z.infer<typeof inboundSchema>

const STOP_WORDS = new Set(['STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT'])
const START_WORDS = new Set(['START', 'YES', 'UNSTOP'])

/** A customer writes to one of the account's senders. */
export async function receiveTwilio(twilio: Twilio, inbound: Inbound): Promise<Received> {
  const { world } = twilio
  const channel = inbound.to.startsWith('whatsapp:') ? 'whatsapp' : 'sms'
  const account = findAccount(twilio, inbound)
  if (account.token === null) {
    throw inputError('account', 'its Auth Token is not known yet: set token, or send something first')
  }
  const sid = createHexId(inbound.media.length > 0 ? 'MM' : 'SM')
  const text = inbound.button?.text ?? inbound.text
  addMessage(world, {
    id: sid,
    effect_id: sid,
    provider: 'twilio',
    account: account.sid,
    channel,
    direction: 'inbound',
    from: inbound.from,
    to: inbound.to,
    subject: null,
    text,
    html: null,
    details: { media: inbound.media.map((media) => media.content_type), ...inbound.location },
    reference: null,
    state: 'received',
    fault: null,
  })
  if (channel === 'whatsapp') openWindow(world, 'twilio', inbound.to, inbound.from)
  if (channel === 'sms') applyOptOut(account, inbound)
  const own = channel === 'whatsapp' ? account.whatsappWebhookUrl : account.smsWebhookUrl
  const url = inbound.webhook_url ?? own
  if (!url) return { message_ids: [sid], callback: null }
  const params = [...baseParams(account, sid, inbound), ...mediaParams(twilio, account, sid, inbound)]
  if (channel === 'whatsapp') params.push(...whatsappParams(inbound))
  params.push(...Object.entries(inbound.params))
  const post = makeFormPost(account, { url, params, messageId: sid, event: 'inbound' })
  return { message_ids: [sid], callback: sendCallback(world, post) }
}

/** The account named, else the one that last sent from this number, else the only one. */
function findAccount(twilio: Twilio, inbound: Inbound): TwilioAccount {
  const account =
    inbound.account === undefined ? guessAccount(twilio, inbound) : twilio.accounts.get(inbound.account)
  if (account) return account
  throw inputError('account', 'no such account: name an Account SID known here')
}

function guessAccount(twilio: Twilio, inbound: Inbound): TwilioAccount | undefined {
  const sent = [...twilio.world.messages.values()].findLast(
    (message) =>
      message.provider === 'twilio' &&
      message.direction === 'outbound' &&
      sameAddress(message.from, inbound.to),
  )
  return (
    twilio.accounts.get(sent?.account ?? '') ??
    (twilio.accounts.size === 1 ? twilio.accounts.values().next().value : undefined)
  )
}

/** Twilio blocks a long code for a customer who wrote STOP, before anybody else hears of it. */
function applyOptOut(account: TwilioAccount, inbound: Inbound): void {
  const word = inbound.text.trim().toUpperCase()
  const pair = `${inbound.to} ${inbound.from}`
  if (STOP_WORDS.has(word)) account.optedOut.add(pair)
  if (START_WORDS.has(word)) account.optedOut.delete(pair)
}

function baseParams(account: TwilioAccount, sid: string, inbound: Inbound): Array<[string, string]> {
  const text = inbound.button?.text ?? inbound.text
  return [
    ['ToCountry', ''],
    ['ToState', ''],
    ['ToCity', ''],
    ['ToZip', ''],
    ['FromCountry', ''],
    ['FromState', ''],
    ['FromCity', ''],
    ['FromZip', ''],
    ['MessageSid', sid],
    ['SmsSid', sid],
    ['SmsMessageSid', sid],
    ['SmsStatus', 'received'],
    ['AccountSid', account.sid],
    ['From', inbound.from],
    ['To', inbound.to],
    ['Body', text],
    ['NumSegments', String(countSegments(text))],
    ['NumMedia', String(inbound.media.length)],
    ['ApiVersion', '2010-04-01'],
  ]
}

function mediaParams(
  twilio: Twilio,
  account: TwilioAccount,
  sid: string,
  inbound: Inbound,
): Array<[string, string]> {
  return inbound.media.flatMap((media, index) => {
    const id = createHexId('ME')
    twilio.media.set(id, { contentType: media.content_type, bytes: mediaBytes(media) })
    const url = `${twilio.world.url}/twilio/2010-04-01/Accounts/${account.sid}/Messages/${sid}/Media/${id}`
    return [
      [`MediaUrl${index}`, url],
      [`MediaContentType${index}`, media.content_type],
    ] satisfies Array<[string, string]>
  })
}

function whatsappParams(inbound: Inbound): Array<[string, string]> {
  const phone = inbound.from.replace(/^whatsapp:\+?/, '')
  const params: Array<[string, string]> = [['ProfileName', inbound.profile_name ?? 'Customer']]
  if (inbound.external_user_id) params.push(['ExternalUserId', inbound.external_user_id])
  else params.push(['WaId', phone])
  params.push([
    'MessageType',
    inbound.button ? 'button' : inbound.location ? 'location' : inbound.media.length > 0 ? 'image' : 'text',
  ])
  if (inbound.button)
    params.push(['ButtonText', inbound.button.text], ['ButtonPayload', inbound.button.payload])
  if (inbound.reply_to)
    params.push(['OriginalRepliedMessageSid', inbound.reply_to], ['OriginalRepliedMessageSender', inbound.to])
  if (!inbound.location) return params
  params.push(
    ['Latitude', String(inbound.location.latitude)],
    ['Longitude', String(inbound.location.longitude)],
  )
  if (inbound.location.address) params.push(['Address', inbound.location.address])
  if (inbound.location.label) params.push(['Label', inbound.location.label])
  return params
}
