import { createHash } from 'node:crypto'
import { z } from 'zod'
import { callProvider, createErrorTable, describeError, equalText, isUncertain, readJson } from '#connections'
import { optionalNumber, optionalText, readWebhookForm, refusedOutcome, secretField } from '#connections'
import { unknownOutcome, verifySignature } from '#connections'
import type { CheckResult, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import type { ProviderError, RawWebhook, Verification } from '#connections'
import { checkCommand, refuseCommand } from './command-check.ts'
import { patternField } from './credential-fields.ts'
import { describeLocation, readMediaKind } from './inbound-content.ts'
import type { Channel, Cost, InboundMessage, MessagingProvider, ProviderReport } from './provider.ts'
import type { SendCommand, Sent, StatusReport } from './provider.ts'
import { listTwilioSignatures, readSignedForm } from './twilio-signature.ts'

const facts = {
  id: 'twilio',
  title: 'Twilio',
  baseUrl: 'https://api.twilio.com',
  channels: ['whatsapp', 'sms'],
  capabilities: {
    idempotency: undefined,
    templates: true,
    media: true,
    attachments: false,
    maxTextLength: { whatsapp: 1600, sms: 1600 },
  },
  acknowledgement: { status: 200, contentType: 'text/xml', body: '<Response/>' },
} satisfies Partial<MessagingProvider>

const maxMedia = 10

const credentials = z
  .strictObject({
    accountSid: patternField('Account SID of the account or subaccount.', /^AC[\w.-]+$/, 'Begins with AC.'),
    authToken: secretField('Auth Token of the same account. Twilio signs its webhooks with it.'),
    previousAuthToken: secretField('Former Auth Token: webhooks signed with it still pass.').optional(),
    whatsappNumber: patternField(
      'WhatsApp sender.',
      /^(whatsapp:)?\+[1-9]\d{6,14}$/,
      'Write the number as +14155238886 or whatsapp:+14155238886.',
    ).optional(),
    phoneNumber: patternField(
      'SMS sender: number, short code or sender name.',
      /^((whatsapp:)?\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11})$/,
      'Write a number as +14155238886, a short code, or a sender name of up to 11 letters and digits.',
    ).optional(),
    messagingServiceSid: patternField(
      'Messaging Service that SMS go out from; wins over phoneNumber.',
      /^MG[\w.-]+$/,
      'Begins with MG.',
    ).optional(),
    apiKeySid: patternField('API key to send with.', /^SK[\w.-]+$/, 'Begins with SK.').optional(),
    apiKeySecret: secretField('Secret of the API key.').optional(),
  })
  .refine((value) => value.whatsappNumber || value.phoneNumber || value.messagingServiceSid, {
    path: ['phoneNumber'],
    error: 'Give a sender: whatsappNumber, phoneNumber or messagingServiceSid.',
    when: isObject,
  })
  .refine((value) => (value.apiKeySid === undefined) === (value.apiKeySecret === undefined), {
    path: ['apiKeySecret'],
    error: 'apiKeySid and apiKeySecret go together: give both or none.',
    when: isObject,
  })

/** Lets a rule across fields speak although a single field is wrong, so that all faults come at once. */
function isObject({ value }: { value: unknown }): boolean {
  return typeof value === 'object' && value !== null
}

type Credentials = z.output<typeof credentials>
type Context = ProviderContext<Credentials>

const messageAnswer = z.looseObject({
  sid: z.string().min(1),
  status: z.string(),
  to: optionalText,
  date_updated: optionalText,
  error_code: optionalNumber,
  error_message: optionalText,
  price: optionalText,
  price_unit: optionalText,
})
type MessageAnswer = z.output<typeof messageAnswer>

const accountAnswer = z.looseObject({ friendly_name: optionalText, status: z.string(), type: optionalText })
const errorAnswer = z.looseObject({ code: optionalNumber, message: optionalText })

function sender(account: Credentials, channel: Channel): string {
  if (channel === 'whatsapp') return stripPrefix(account.whatsappNumber ?? '')
  return account.messagingServiceSid ?? stripPrefix(account.phoneNumber ?? '')
}

async function send(command: SendCommand, context: Context): Promise<Outcome<Sent>> {
  const refused = checkCommand(command, facts) ?? checkContent(command, context.credentials)
  if (refused) return refused
  const outcome = await callTwilio(
    context,
    '/Messages.json',
    readJson(messageAnswer),
    writeForm(command, context),
  )
  if (outcome.outcome !== 'done') return outcome
  const { answer } = outcome
  const status = statuses.get(answer.status)?.status ?? 'queued'
  if (status === 'failed') return { outcome: 'refused', error: describeFailure(answer) }
  const isWaiting = status === 'queued' || status === 'scheduled'
  return {
    outcome: 'done',
    providerMessageId: answer.sid,
    status: isWaiting ? 'queued' : 'sent',
    ...readCost(answer),
  }
}

function checkContent(command: SendCommand, account: Credentials): NotDone | undefined {
  if (sender(account, command.channel) === '') {
    const field = command.channel === 'whatsapp' ? 'whatsappNumber' : 'phoneNumber or messagingServiceSid'
    return refuseCommand('config', `Add ${field} to this Twilio connection to send ${command.channel}.`, true)
  }
  if (command.template) {
    if (/^HX[\w.-]+$/.test(command.template.name)) return undefined
    return refuseCommand('content', 'A Twilio template is named by its Content SID, which begins with HX.')
  }
  if (command.media.length > maxMedia) {
    return refuseCommand('content', `Twilio carries at most ${maxMedia} media in one message.`)
  }
  if (writeBody(command) !== '' || command.media.length > 0) return undefined
  return refuseCommand('content', 'The message has neither text nor media nor template.')
}

function writeForm(command: SendCommand, { credentials: account, webhookUrl }: Context): string {
  const prefix = command.channel === 'whatsapp' ? 'whatsapp:' : ''
  const joint = webhookUrl.includes('?') ? '&' : '?'
  const form = new URLSearchParams({
    To: prefix + command.to,
    StatusCallback: `${webhookUrl}${joint}mid=${encodeURIComponent(command.messageId)}`,
  })
  const from = sender(account, command.channel)
  if (from === account.messagingServiceSid) form.set('MessagingServiceSid', from)
  else form.set('From', prefix + from)
  if (command.template) {
    form.set('ContentSid', command.template.name)
    form.set('ContentVariables', writeVariables(command.template.variables))
  } else {
    if (writeBody(command) !== '') form.set('Body', writeBody(command))
    for (const media of command.media) form.append('MediaUrl', media.url)
  }
  return form.toString().replaceAll('+', '%20')
}

/** Twilio has no caption per media: captions follow the text. */
function writeBody({ text, media }: SendCommand): string {
  return [text, ...media.map(({ caption }) => caption)].filter(Boolean).join('\n')
}

/** Twilio's usual variables are `{{1}}`, `{{2}}`…: names that are no numbers go by their place. */
function writeVariables(variables: ReadonlyArray<{ name: string; value: string }>): string {
  const isNumbered = variables.every(({ name }) => /^\d+$/.test(name))
  const pairs = variables.map(({ name, value }, index) => [isNumbered ? name : String(index + 1), value])
  return JSON.stringify(Object.fromEntries(pairs))
}

async function lookup(providerMessageId: string, context: Context): Promise<StatusReport | undefined> {
  const path = `/Messages/${encodeURIComponent(providerMessageId)}.json`
  const outcome = await callTwilio(context, path, readJson(messageAnswer))
  if (outcome.outcome !== 'done') return undefined
  const { answer } = outcome
  const at = new Date(answer.date_updated ?? '')
  const report = reportStatus(answer, Number.isNaN(at.getTime()) ? context.now() : at)
  return report && { ...report, ...readCost(answer) }
}

async function check(context: Context): Promise<CheckResult> {
  const { apiKeySid, apiKeySecret, ...main } = context.credentials
  const outcome = await callTwilio({ ...context, credentials: main }, '.json', readJson(accountAnswer))
  if (outcome.outcome !== 'done') return { ok: false, notes: [outcome.error.message] }
  const { friendly_name: name, status, type } = outcome.answer
  const notes = [`Twilio knows the account ${JSON.stringify(name ?? '')}; it is ${status}.`]
  if (status !== 'active') notes.push('Only an active account can send: look into the Twilio console.')
  if (type === 'Trial') notes.push('It is a trial account: it can only send to verified numbers.')
  if (apiKeySid === undefined || apiKeySecret === undefined) return { ok: status === 'active', notes }
  // The account call wants the Auth Token, so the key that sends is tried on its own.
  const key = await callTwilio(context, '/Messages.json?PageSize=1', () => true)
  const isAccepted = key.outcome === 'done'
  notes.push(isAccepted ? 'The API key works.' : `The API key was not accepted. ${key.error.message}`)
  return { ok: status === 'active' && isAccepted, notes }
}

/** A call below the account's path: POST with a form, GET without. */
function callTwilio<Answer>(
  context: Context,
  path: string,
  read: (answer: ProviderAnswer) => Answer | undefined,
  body?: string,
): Promise<Outcome<{ answer: Answer }>> {
  const { accountSid, authToken, apiKeySid, apiKeySecret } = context.credentials
  const user = Buffer.from(`${apiKeySid ?? accountSid}:${apiKeySecret ?? authToken}`)
  const call = {
    title: facts.title,
    method: body === undefined ? ('GET' as const) : ('POST' as const),
    path: `/2010-04-01/Accounts/${encodeURIComponent(accountSid)}${path}`,
    headers: {
      authorization: `Basic ${user.toString('base64')}`,
      ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
    },
    ...(body !== undefined && { body }),
    read,
  }
  return callProvider(context, call, classify)
}

function readCost({ price, price_unit: currency }: MessageAnswer): { cost?: Cost } {
  if (!price || !currency || !/^-?\d+(\.\d+)?$/.test(price)) return {}
  return { cost: { amount: price.replace('-', ''), currency: currency.toUpperCase() } }
}

const maxWebhookBytes = 256 * 1024
const maxParameters = 1_000

/** Anybody may knock, and what a signature costs grows with what it covers. */
const tooLarge: Verification = {
  ok: false,
  check: 'body',
  reason: `Twilio sends no more than ${maxWebhookBytes} bytes and ${maxParameters} parameters.`,
}

/** The signature covers the form, or the URL alone when that carries the hash of the body. */
function verify(webhook: RawWebhook, account: Credentials): Verification {
  if (webhook.body.length > maxWebhookBytes) return tooLarge
  const bodyHash = webhook.query.get('bodySHA256')
  const form = bodyHash === null ? readSignedForm(webhook) : new URLSearchParams()
  if (form.size > maxParameters) return tooLarge
  const verification = verifySignature(webhook, {
    header: 'X-Twilio-Signature',
    secrets: [account.authToken, account.previousAuthToken],
    whenSecretMissing: 'Add authToken to this connection.',
    whenRefused: 'is authToken that of the account, and PIPECORE_PUBLIC_URL the origin Twilio calls?',
    matches: (signature, token) =>
      listTwilioSignatures(token, webhook.publicUrl, form).some((expected) => equalText(signature, expected)),
  })
  if (!verification.ok || bodyHash === null) return verification
  if (equalText(bodyHash, createHash('sha256').update(webhook.body).digest('hex'))) return { ok: true }
  return { ok: false, check: 'body', reason: 'The body is not the one that bodySHA256 was made from.' }
}

function owns(webhook: RawWebhook, account: Credentials): boolean {
  return readWebhookForm(webhook).get('AccountSid') === account.accountSid
}

/** Twilio's webhooks carry no time of their own. */
function parse(webhook: RawWebhook, receivedAt: Date): ProviderReport[] {
  const form = readWebhookForm(webhook)
  const sid = form.get('MessageSid') ?? form.get('SmsSid')
  if (!sid) return []
  const status = form.get('MessageStatus') ?? form.get('SmsStatus') ?? 'received'
  if (status === 'received') return form.has('From') ? [readInbound(form, sid, receivedAt)] : []
  const error_code = Number(form.get('ErrorCode')) || null
  const report = reportStatus(
    { sid, status, error_code, error_message: form.get('ErrorMessage'), to: form.get('To') },
    receivedAt,
  )
  const messageId = webhook.query.get('mid')?.replaceAll('\0', '')
  return report ? [{ ...report, ...(messageId && { messageId }) }] : []
}

function reportStatus(message: MessageAnswer, at: Date): StatusReport | undefined {
  const meaning = statuses.get(message.status)
  if (!meaning) return undefined
  const error = meaning.status === 'failed' ? describeFailure(message) : undefined
  return {
    type: 'status',
    key: `${message.sid}:${message.status}`,
    at,
    providerMessageId: message.sid,
    ...meaning,
    ...(message.to && { recipient: stripPrefix(message.to) }),
    ...(error && { error }),
    ...(error?.kind === 'opted_out' && { suppress: 'opted_out' }),
  }
}

function readInbound(form: URLSearchParams, sid: string, at: Date): InboundMessage {
  const field = (name: string) => form.get(name) || undefined
  const count = Math.min(Number(field('NumMedia')) || 0, maxMedia)
  const location = { latitude: field('Latitude'), longitude: field('Longitude') }
  return {
    type: 'inbound',
    key: `${sid}:received`,
    at,
    providerMessageId: sid,
    from: stripPrefix(field('From') ?? field('ExternalUserId') ?? ''),
    to: stripPrefix(field('To') ?? ''),
    profileName: field('ProfileName'),
    text: field('Body') ?? describeLocation({ ...location, name: field('Label'), address: field('Address') }),
    media: Array.from({ length: count }, (_, index) => ({
      kind: readMediaKind(field(`MediaContentType${index}`)),
      url: field(`MediaUrl${index}`),
      contentType: field(`MediaContentType${index}`),
    })),
    payload: field('ButtonPayload') ?? field('ListId'),
    inReplyTo: field('OriginalRepliedMessageSid'),
    automated: false,
    optOut: optOuts.get(field('OptOutType')?.toUpperCase() ?? ''),
  }
}

function stripPrefix(address: string): string {
  return address.replace(/^whatsapp:/, '')
}

const statuses = new Map<string, Pick<StatusReport, 'status' | 'detail'>>([
  ['accepted', { status: 'queued' }],
  ['queued', { status: 'queued' }],
  ['sending', { status: 'queued' }],
  ['scheduled', { status: 'scheduled' }],
  ['sent', { status: 'sent' }],
  ['delivered', { status: 'delivered' }],
  ['partially_delivered', { status: 'delivered', detail: 'partially_delivered' }],
  ['read', { status: 'read' }],
  ['undelivered', { status: 'failed', detail: 'undelivered' }],
  ['failed', { status: 'failed' }],
  ['canceled', { status: 'canceled' }],
])

const optOuts = new Map<string, InboundMessage['optOut']>([
  ['STOP', 'stop'],
  ['START', 'start'],
  ['HELP', 'help'],
])

/** A POST that met a 5xx may have sent the message: Twilio has no idempotency key to find out with. */
function classify(answer: ProviderAnswer): NotDone {
  const told = readJson(errorAnswer)(answer) ?? {}
  if (isUncertain(answer.status)) return unknownOutcome(answer, told)
  return refusedOutcome(answer, errors.get(String(told.code)), told)
}

function describeFailure(message: Pick<MessageAnswer, 'error_code' | 'error_message'>): ProviderError {
  const { error_code: code, error_message: words } = message
  return describeError(errors.get(String(code)) ?? ['unknown', 'never', false], { code, message: words })
}

const errors = createErrorTable([
  ['auth', 'never', false, [20003]],
  ['config', 'never', false, [20404, 21212]],
  ['rate_limited', 'backoff', true, [20429, 63017, 63018]],
  ['transient', 'backoff', true, [30001, 63012]],
  ['account', 'never', true, [21408, 21606, 21608, 21612, 30002, 30032, 30034, 63020, 63038]],
  ['account', 'never', false, [30450]],
  ['recipient', 'never', false, [21211, 21614, 21635, 30004, 30005, 30006, 63003, 63024, 63032]],
  ['recipient', 'backoff', false, [30003]],
  ['opted_out', 'never', false, [21610]],
  ['window_closed', 'never', false, [63016]],
  ['content', 'never', false, [21617, 21619, 30007, 35114, 35115, 35117]],
  ['content', 'never', false, [63013, 63021, 63027, 63028, 63029]],
  ['unknown', 'backoff', true, [30008]],
])

export const twilio: MessagingProvider<Credentials> = {
  ...facts,
  credentials,
  verify,
  owns,
  check,
  sender,
  send,
  parse,
  lookup,
}
