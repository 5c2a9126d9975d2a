import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { callProvider, equalText, optional, optionalText, readJson } from '#connections'
import { secretField, verifySignature } from '#connections'
import type { CheckResult, HttpAnswer, NotDone, Outcome, ProviderAnswer } from '#connections'
import type { ProviderContext, RawWebhook, Verification } from '#connections'
import { checkCommand, refuseCommand } from './command-check.ts'
import { patternField, tokenField } from './credential-fields.ts'
import { classifyMetaAnswer } from './meta-errors.ts'
import { listChanges, parseMetaWebhook, writeIdentity } from './meta-events.ts'
import type { MediaLink, MessagingProvider, SendCommand, Sent, TemplateReference } from './provider.ts'

const facts = {
  id: 'meta',
  title: 'Meta',
  baseUrl: 'https://graph.facebook.com',
  channels: ['whatsapp'],
  capabilities: {
    idempotency: undefined,
    templates: true,
    media: true,
    attachments: false,
    maxTextLength: { whatsapp: 4096 },
  },
  acknowledgement: { status: 200 },
} satisfies Partial<MessagingProvider>

const idPattern = /^[\w.-]+$/
const idFault = 'An id of letters and digits, as Meta shows it.'

const credentials = z.strictObject({
  accessToken: tokenField('Token of a system user with whatsapp_business_messaging.'),
  phoneNumberId: patternField('Phone number ID of the sender: not the phone number.', idPattern, idFault),
  verifyToken: secretField('Word of your own that Meta repeats when the webhook is set up.'),
  appSecret: secretField('App secret (Meta app, Settings, Basic). Needed to accept webhooks.').optional(),
  previousAppSecret: secretField('Former app secret: webhooks signed with it still pass.').optional(),
  wabaId: patternField(
    'WhatsApp Business Account ID. Needed for reports about templates and the account.',
    idPattern,
    idFault,
  ).optional(),
  graphVersion: patternField(
    'Version of the Graph API.',
    /^v\d{1,3}\.\d{1,2}$/,
    'Write the version as v23.0.',
  ).default('v23.0'),
})

type Credentials = z.output<typeof credentials>
type Context = ProviderContext<Credentials>

const sendAnswer = z.looseObject({
  contacts: optional(z.array(z.looseObject({ wa_id: optionalText, user_id: optionalText }))),
  messages: z.array(z.looseObject({ id: z.string().min(1), message_status: optionalText })).min(1),
})

const numberAnswer = z.looseObject({
  id: z.string(),
  display_phone_number: optionalText,
  verified_name: optionalText,
  quality_rating: optionalText,
})

function sender(account: Credentials): string {
  return account.phoneNumberId
}

async function send(command: SendCommand, context: Context): Promise<Outcome<Sent>> {
  const content = checkCommand(command, facts) ?? writeContent(command)
  if ('outcome' in content) return content
  const isPhone = /^\+?\d+$/.test(command.to)
  const body = {
    messaging_product: 'whatsapp',
    recipient_type: 'individual',
    ...(isPhone ? { to: command.to.replace('+', '') } : { recipient: command.to }),
    ...content,
    biz_opaque_callback_data: command.messageId,
  }
  const outcome = await callMeta(context, '/messages', readJson(sendAnswer), JSON.stringify(body))
  return outcome.outcome === 'done' ? readSent(outcome.answer, command.to) : outcome
}

function readSent(answer: z.output<typeof sendAnswer>, to: string): Outcome<Sent> {
  const [message] = answer.messages
  const [recipient] = answer.contacts ?? []
  const id = writeIdentity(recipient?.wa_id, recipient?.user_id)
  const detail = message?.message_status
  return {
    outcome: 'done',
    providerMessageId: message?.id ?? '',
    status: 'queued',
    ...(detail && detail !== 'accepted' && { detail }),
    ...(id && id !== to && { recipient: id }),
  }
}

type Content = { type: string } & Partial<Record<'text' | 'template' | MediaLink['kind'], object>>

/** The part of the body that depends on the kind of message. */
function writeContent({ template, media, text }: SendCommand): Content | NotDone {
  const [first, ...others] = media
  if (others.length > 0) {
    return refuseCommand('content', 'Meta carries one media per message: send the others on their own.')
  }
  if (template) return writeTemplate(template, first)
  if (first) return writeMedia(first, text)
  if (text) return { type: 'text', text: { preview_url: false, body: text } }
  return refuseCommand('content', 'The message has neither text nor media nor template.')
}

function writeMedia(
  { kind, url, caption, filename }: MediaLink,
  text: string | undefined,
): Content | NotDone {
  const words = [text, caption].filter(Boolean).join('\n')
  if (words && (kind === 'audio' || kind === 'sticker')) {
    return refuseCommand('content', `WhatsApp shows no text beside ${kind}: send the text on its own.`)
  }
  const name = kind === 'document' ? filename : undefined
  return {
    type: kind,
    [kind]: { link: url, ...(words && { caption: words }), ...(name && { filename: name }) },
  }
}

/** Variables fill the body in their order; a medium becomes the header. */
function writeTemplate(template: TemplateReference, header: MediaLink | undefined): Content | NotDone {
  const { name, language, variables } = template
  if (!language) return refuseCommand('content', 'A WhatsApp template needs its language, such as es_CL.')
  const kind = header?.kind
  if (kind === 'audio' || kind === 'sticker') {
    return refuseCommand('content', `A WhatsApp template has no header of ${kind}.`)
  }
  const components = []
  if (header) {
    const { kind: type, url: link } = header
    components.push({ type: 'header', parameters: [{ type, [type]: { link } }] })
  }
  if (variables.length > 0) {
    components.push({
      type: 'body',
      parameters: variables.map(({ value }) => ({ type: 'text', text: value })),
    })
  }
  const filled = components.length > 0 ? { components } : {}
  return { type: 'template', template: { name, language: { code: language }, ...filled } }
}

async function check(context: Context): Promise<CheckResult> {
  const { appSecret, wabaId } = context.credentials
  const fields = '?fields=id,display_phone_number,verified_name,quality_rating'
  const outcome = await callMeta(context, fields, readJson(numberAnswer))
  if (outcome.outcome !== 'done') return { ok: false, notes: [outcome.error.message] }
  const { display_phone_number: phone, verified_name: name, quality_rating: quality } = outcome.answer
  const number = [name, phone ?? outcome.answer.id].filter(Boolean).join(', ')
  const notes = [`Meta accepts the token for ${number}; quality: ${quality ?? 'not told'}.`]
  if (!appSecret) notes.push(missingAppSecret)
  if (!wabaId) notes.push('Without wabaId, reports about templates and the account are not accepted.')
  return { ok: true, notes }
}

/** A call below the sender's path: POST with a JSON body, GET without. */
function callMeta<Answer>(
  context: Context,
  path: string,
  read: (answer: ProviderAnswer) => Answer | undefined,
  body?: string,
): Promise<Outcome<{ answer: Answer }>> {
  const { accessToken, graphVersion, phoneNumberId } = context.credentials
  const call = {
    title: facts.title,
    method: body === undefined ? ('GET' as const) : ('POST' as const),
    path: `/${graphVersion}/${encodeURIComponent(phoneNumberId)}${path}`,
    headers: {
      authorization: `Bearer ${accessToken}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body }),
    read,
  }
  return callProvider(context, call, classifyMetaAnswer)
}

const missingAppSecret =
  'Webhooks are refused until appSecret is added to this connection (Meta app, Settings, Basic).'

function handshake(webhook: RawWebhook, account: Credentials): HttpAnswer | undefined {
  if (webhook.method !== 'GET' || webhook.query.get('hub.mode') !== 'subscribe') return undefined
  const challenge = webhook.query.get('hub.challenge') ?? ''
  const accepted = equalText(webhook.query.get('hub.verify_token') ?? '', account.verifyToken)
  if (accepted && /^[\w.-]{1,256}$/.test(challenge)) {
    return { status: 200, contentType: 'text/plain', body: challenge }
  }
  return { status: 403, contentType: 'text/plain', body: 'The verify token is not that of this connection.' }
}

function verify(webhook: RawWebhook, account: Credentials): Verification {
  return verifySignature(webhook, {
    header: 'X-Hub-Signature-256',
    secrets: [account.appSecret, account.previousAppSecret],
    whenSecretMissing: missingAppSecret,
    whenRefused: 'is appSecret that of the app which called?',
    matches: (signature, secret) => equalText(signature, sign(secret, webhook.body)),
  })
}

function sign(secret: string, body: Buffer): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
}

/** Every change must name our phone number, or our business account where it names no number. */
function owns(webhook: RawWebhook, account: Credentials): boolean {
  const changes = listChanges(webhook)
  return (
    changes.length > 0 &&
    changes.every(({ entry: { id }, value }) => {
      const number = value.metadata?.phone_number_id
      if (account.wabaId !== undefined && id !== account.wabaId) return false
      return number ? number === account.phoneNumberId : account.wabaId !== undefined
    })
  )
}

export const meta: MessagingProvider<Credentials> = {
  ...facts,
  credentials,
  verify,
  owns,
  handshake,
  check,
  sender,
  send,
  parse: parseMetaWebhook,
}
