import { z } from 'zod'
import type { CallbackInput } from '../callbacks.ts'
import { pickFault, pickLookupFault, playAfter, playBefore } from '../faults.ts'
import type { Fault } from '../faults.ts'
import { replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { startLife } from '../life.ts'
import { takeRate } from '../rates.ts'
import { addMessage, runAt } from '../world.ts'
import type { Message, World } from '../world.ts'
import { inputError } from './simulator.ts'
import type { AccountView, Simulator } from './simulator.ts'
import { createHexId, ensureAccount, makeFormPost } from './twilio-account.ts'
import type { Twilio, TwilioAccount } from './twilio-account.ts'
import { answerContent } from './twilio-content.ts'
import { inboundSchema, receiveTwilio } from './twilio-inbound.ts'
import { planTwilioSteps, statusParams } from './twilio-life.ts'
import { answerMessage, describeMessage, listMessages } from './twilio-messages.ts'
import { readSend, refuseTwilio, twilioError } from './twilio-rules.ts'
import type { TwilioSend } from './twilio-rules.ts'

const API = '/2010-04-01'

export function createTwilio(world: World): Simulator {
  const twilio: Twilio = { world, accounts: new Map(), media: new Map() }
  return {
    id: 'twilio',
    title: 'Twilio',
    answer: (call) => answerTwilio(twilio, call),
    putAccount: async (sid, input) => putAccount(twilio, sid, input),
    listAccounts: () => [...twilio.accounts.values()].map(viewAccount),
    receive: async (input) => receiveTwilio(twilio, inboundSchema.parse(input)),
    sample: (account, url) => sample(twilio, account, url),
    clear() {
      twilio.media.clear()
      for (const account of twilio.accounts.values()) account.optedOut.clear()
    },
    clearAccounts: () => twilio.accounts.clear(),
  }
}

const accountSchema = z.strictObject({
  token: z.string().min(1).optional(),
  webhook_url: z.url().optional(),
  sms_webhook_url: z.url().optional(),
  whatsapp_webhook_url: z.url().optional(),
})

function putAccount(twilio: Twilio, sid: string, input: unknown): AccountView {
  const change = accountSchema.parse(input)
  const account = ensureAccount(twilio, sid)
  account.token = change.token ?? account.token
  account.smsWebhookUrl = change.sms_webhook_url ?? change.webhook_url ?? account.smsWebhookUrl
  account.whatsappWebhookUrl = change.whatsapp_webhook_url ?? change.webhook_url ?? account.whatsappWebhookUrl
  return viewAccount(account)
}

function viewAccount(account: TwilioAccount): AccountView {
  return {
    provider: 'twilio',
    account: account.sid,
    auth_token: account.token,
    sms_webhook_url: account.smsWebhookUrl,
    whatsapp_webhook_url: account.whatsappWebhookUrl,
  }
}

async function answerTwilio(twilio: Twilio, call: Call): Promise<Reply> {
  const requestId = { 'twilio-request-id': createHexId('RQ') }
  const reply = await routeTwilio(twilio, call)
  return { ...reply, headers: { ...requestId, ...reply.headers } }
}

async function routeTwilio(twilio: Twilio, call: Call): Promise<Reply> {
  const [, sid, rest = ''] = new RegExp(`^${API}/Accounts/([^/]+?)(?:\\.json|(/.*))$`).exec(call.path) ?? []
  const account = authenticate(twilio, call, sid)
  if (!account) return twilioError(20003)
  const isSend = call.method === 'POST' && rest === '/Messages.json'
  if (!isSend) {
    const early = await playBefore(pickLookupFault(twilio.world, 'twilio'), refuseTwilio)
    if (early) return early
  }
  if (isSend) return sendMessage(twilio, account, call)
  if (sid === undefined) return answerContent(account, call) ?? notFound(call)
  if (rest === '' && call.method === 'GET') return replyJson(200, describeAccount(account))
  if (rest === '/Messages.json' && call.method === 'GET') return listMessages(twilio, account, call)
  const [, media] = /^\/Messages\/[^/]+\/Media\/(ME[0-9a-f]+)$/.exec(rest) ?? []
  if (media) return answerMedia(twilio, media) ?? notFound(call)
  const [, messageSid] = /^\/Messages\/([^/]+)\.json$/.exec(rest) ?? []
  const message = messageSid === undefined ? undefined : twilio.world.messages.get(messageSid)
  if (!message || message.account !== account.sid) return notFound(call)
  return answerMessage(twilio, message, call)
}

/** Basic user and password: the account's own, or an API key of it. The first token seen is the account's. */
function authenticate(twilio: Twilio, call: Call, sid: string | undefined): TwilioAccount | null {
  const [, encoded = ''] = /^Basic (.+)$/i.exec(call.headers['authorization'] ?? '') ?? []
  const [, user = '', password = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
  if (!password || /invalid/i.test(user + password)) return null
  const isKey = user.startsWith('SK')
  const name = sid ?? (isKey ? accountOfKey(twilio, user) : user)
  if (!name?.startsWith('AC') || (!isKey && user !== name)) return null
  const account = ensureAccount(twilio, name)
  if (isKey) {
    if (!account.apiKeys.has(user)) account.apiKeys.set(user, password)
    return account.apiKeys.get(user) === password ? account : null
  }
  account.token ??= password
  return account.token === password ? account : null
}

function accountOfKey(twilio: Twilio, key: string): string | undefined {
  return [...twilio.accounts.values()].find((account) => account.apiKeys.has(key))?.sid
}

async function sendMessage(twilio: Twilio, account: TwilioAccount, call: Call): Promise<Reply> {
  const { world } = twilio
  const form = new URLSearchParams(call.body.toString('utf8'))
  const to = form.get('To') ?? ''
  const from = form.get('From') ?? form.get('MessagingServiceSid') ?? ''
  const channel = to.startsWith('whatsapp:') ? 'whatsapp' : 'sms'
  const reference = readReference(form.get('StatusCallback'))
  const fault = pickFault(world, { provider: 'twilio', channel, to, from, reference })
  const early = await playBefore(fault, refuseTwilio)
  if (early) return early
  if (!takeRate(world, 'twilio', account.sid))
    return refuseTwilio({ name: 'rate_limited', retryAfterSeconds: 1 })!
  const checked = readSend(form, world.now())
  if ('error' in checked) return checked.error
  if (account.optedOut.has(`${from} ${to}`)) return twilioError(21610)
  const message = take(twilio, account, checked.send, { channel, reference, fault })
  const reply = replyJson(201, describeMessage(message))
  if (checked.send.sendAt) schedule(twilio, account, message, checked.send, fault)
  else await startLife(world, message, fault, planTwilioSteps(twilio, account, message, checked.send, fault))
  return playAfter(fault, reply)
}

function readReference(statusCallback: string | null): string | null {
  if (!statusCallback || !URL.canParse(statusCallback)) return null
  return new URL(statusCallback).searchParams.get('mid')
}

type Taking = { channel: 'sms' | 'whatsapp'; reference: string | null; fault: Fault | null }

function take(twilio: Twilio, account: TwilioAccount, send: TwilioSend, taking: Taking): Message {
  const sid = createHexId(send.mediaUrls.length > 0 ? 'MM' : 'SM')
  return addMessage(twilio.world, {
    id: sid,
    effect_id: sid,
    provider: 'twilio',
    account: account.sid,
    channel: taking.channel,
    direction: 'outbound',
    from: send.from ?? send.messagingServiceSid ?? '',
    to: send.to,
    subject: null,
    text: send.body ?? renderTemplate(account, send),
    html: null,
    details: {
      media: send.mediaUrls,
      ...(send.contentSid ? { template: send.contentSid, variables: send.contentVariables } : {}),
      messaging_service_sid: send.messagingServiceSid,
      status_callback: send.statusCallback,
    },
    reference: taking.reference,
    state: send.sendAt ? 'scheduled' : send.messagingServiceSid ? 'accepted' : 'queued',
    fault: taking.fault?.name ?? null,
  })
}

function renderTemplate(account: TwilioAccount, send: TwilioSend): string | null {
  const body = account.templates.get(send.contentSid ?? '')?.body
  return body?.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => send.contentVariables[name] ?? '') ?? null
}

function schedule(
  twilio: Twilio,
  account: TwilioAccount,
  message: Message,
  send: TwilioSend,
  fault: Fault | null,
): void {
  const readDue = () => (message.state === 'scheduled' ? send.sendAt!.getTime() : null)
  const start = () =>
    void startLife(twilio.world, message, fault, planTwilioSteps(twilio, account, message, send, fault))
  runAt(twilio.world, readDue, start)
}

function sample(twilio: Twilio, sid: string | undefined, url: string | undefined): CallbackInput {
  const account = sid === undefined ? twilio.accounts.values().next().value : twilio.accounts.get(sid)
  if (!account) throw inputError('account', 'no such account')
  const target = url ?? account.smsWebhookUrl ?? account.whatsappWebhookUrl
  if (!target) throw inputError('url', 'this account has no webhook: say where to')
  const invented = {
    id: createHexId('SM'),
    from: '+15005550006',
    to: '+56912345678',
    channel: 'sms' as const,
  }
  const params = statusParams(account, invented, { status: 'delivered' })
  return makeFormPost(account, { url: target, params, messageId: invented.id, event: 'delivered' })
}

function describeAccount(account: TwilioAccount): Record<string, unknown> {
  return {
    sid: account.sid,
    friendly_name: 'Sandbox account',
    status: 'active',
    type: 'Full',
    owner_account_sid: account.sid,
  }
}

function answerMedia(twilio: Twilio, id: string): Reply | null {
  const media = twilio.media.get(id)
  return media ? { status: 200, headers: { 'content-type': media.contentType }, body: media.bytes } : null
}

function notFound(call: Call): Reply {
  return twilioError(20404, `The requested resource ${call.path} was not found`)
}
