import { createPublicKey, verify as verifyBytes } from 'node:crypto'
import { z } from 'zod'
import { callProvider, isUncertain, optionalText, readJson, refusedOutcome } from '#connections'
import { unknownOutcome, verifySignature } from '#connections'
import type { CheckResult, ErrorRule, NotDone, Outcome, ProviderAnswer } from '#connections'
import type { ProviderContext, RawWebhook, Verification } from '#connections'
import { checkCommand, refuseCommand } from './command-check.ts'
import { emailField, nameField, tokenField } from './credential-fields.ts'
import { automaticMailHeaders, readMailAddresses } from './mail-command.ts'
import type { MessagingProvider, SendCommand, Sent, TemplateReference } from './provider.ts'
import { ownsSendgridEvents, parseSendgridWebhook } from './sendgrid-events.ts'

const facts = {
  id: 'sendgrid',
  title: 'SendGrid',
  baseUrl: 'https://api.sendgrid.com',
  channels: ['email'],
  capabilities: {
    idempotency: undefined,
    templates: true,
    media: false,
    attachments: true,
    maxTextLength: {},
  },
  acknowledgement: { status: 200 },
} satisfies Partial<MessagingProvider>

const euBaseUrl = 'https://api.eu.sendgrid.com'

const publicKey = z
  .string()
  .refine(
    (text) => readPublicKey(text) !== undefined,
    'Not a P-256 public key in base64, as SendGrid shows it.',
  )

const credentials = z.strictObject({
  apiKey: tokenField('API key with the permission Mail Send.', 'SG.'),
  fromEmail: emailField('Sender address: a verified sender or of an authenticated domain.'),
  fromName: nameField('Sender name.').optional(),
  replyTo: emailField('Address that answers go to.').optional(),
  webhookPublicKey: z
    .union([publicKey, z.array(publicKey).min(1).max(10)])
    .optional()
    .meta({
      description:
        'Verification key of the signed event webhook; a list where several webhooks, the inbound parse policy or a rotation have their own. Needed to accept webhooks.',
    }),
  euDataResidency: z.boolean().default(false).meta({ description: 'The account is an EU subuser.' }),
})

type Credentials = z.output<typeof credentials>
type Context = ProviderContext<Credentials>

const scopesAnswer = z.looseObject({ scopes: z.array(z.string()) })

const errorAnswer = z.looseObject({
  errors: z.array(z.looseObject({ message: optionalText, field: optionalText })).min(1),
})

function sender(account: Credentials): string {
  return account.fromEmail
}

async function send(command: SendCommand, context: Context): Promise<Outcome<Sent>> {
  const mail = checkCommand(command, facts) ?? writeMail(command, context.credentials)
  if ('outcome' in mail) return mail
  const outcome = await callSendgrid(context, '/v3/mail/send', readMessageId, JSON.stringify(mail))
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', providerMessageId: outcome.answer, status: 'queued' }
}

function readMessageId({ headers }: ProviderAnswer): string | undefined {
  return headers['x-message-id'] || undefined
}

interface Mail {
  personalizations: object[]
  from: object
  reply_to?: object
  subject?: string
  content?: object[]
  template_id?: string
  headers?: Readonly<Record<string, string>>
  attachments?: object[]
  custom_args: { message_id: string; tenant_id: string }
}

/** One recipient per call: others would be seen, and one id would stand for many people. */
function writeMail(command: SendCommand, account: Credentials): Mail | NotDone {
  const { template, subject, attachments } = command
  if (template && !template.name.startsWith('d-')) {
    return refuseCommand('content', 'A SendGrid dynamic template is named by its id, which begins with d-.')
  }
  const addresses = readMailAddresses(command, account)
  if ('outcome' in addresses) return addresses
  const { from, to, replyTo } = addresses
  const data = template && { dynamic_template_data: writeVariables(template.variables) }
  return {
    personalizations: [{ to: [to], ...data }],
    from,
    ...(replyTo && { reply_to: replyTo }),
    ...(subject && { subject }),
    ...(command.automatic && { headers: automaticMailHeaders }),
    ...(template ? { template_id: template.name } : { content: writeContent(command) }),
    ...(attachments.length > 0 && { attachments: attachments.map(writeAttachment) }),
    custom_args: { message_id: command.messageId, tenant_id: command.tenantId },
  }
}

/** SendGrid wants the plain text before the HTML. */
function writeContent({ text, html }: SendCommand): object[] {
  return [
    ...(text ? [{ type: 'text/plain', value: text }] : []),
    ...(html ? [{ type: 'text/html', value: html }] : []),
  ]
}

function writeVariables(variables: TemplateReference['variables']): Record<string, string> {
  return Object.fromEntries(variables.map(({ name, value }) => [name, value]))
}

function writeAttachment(attachment: SendCommand['attachments'][number]): object {
  const { filename, contentType, contentBase64, contentId } = attachment
  return {
    content: contentBase64,
    filename,
    type: contentType,
    disposition: contentId ? 'inline' : 'attachment',
    ...(contentId && { content_id: contentId }),
  }
}

async function check(context: Context): Promise<CheckResult> {
  const outcome = await callSendgrid(context, '/v3/scopes', readJson(scopesAnswer))
  if (outcome.outcome !== 'done') return { ok: false, notes: [outcome.error.message] }
  const maySend = outcome.answer.scopes.includes('mail.send')
  const notes = [
    maySend
      ? 'SendGrid accepts the API key and it may send mail.'
      : 'SendGrid accepts the API key but it may not send mail: give it the permission Mail Send.',
  ]
  if (context.credentials.webhookPublicKey === undefined) notes.push(missingPublicKey)
  return { ok: maySend, notes }
}

function callSendgrid<Answer>(
  context: Context,
  path: string,
  read: (answer: ProviderAnswer) => Answer | undefined,
  body?: string,
): Promise<Outcome<{ answer: Answer }>> {
  const { apiKey, euDataResidency } = context.credentials
  const isOwnUrl = context.baseUrl === facts.baseUrl
  const call = {
    title: facts.title,
    method: body === undefined ? ('GET' as const) : ('POST' as const),
    path,
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body }),
    read,
  }
  return callProvider(
    { ...context, baseUrl: euDataResidency && isOwnUrl ? euBaseUrl : context.baseUrl },
    call,
    classify,
  )
}

const missingPublicKey =
  'Webhooks are refused until webhookPublicKey is added to this connection (SendGrid, Mail Settings, Signed Event Webhook).'

const timestampHeader = 'X-Twilio-Email-Event-Webhook-Timestamp'

/** SendGrid retries for a day and perhaps does not sign anew: duplicates are for the dedupe key. */
const oldestSeconds = 25 * 3600
const newestSeconds = 300

/** ECDSA P-256 over the timestamp's text and the raw body, the last line break included. */
function verify(webhook: RawWebhook, account: Credentials, now: Date): Verification {
  const timestamp = webhook.headers[timestampHeader.toLowerCase()] ?? ''
  const signed = Buffer.concat([Buffer.from(timestamp), webhook.body])
  const verification = verifySignature(webhook, {
    header: 'X-Twilio-Email-Event-Webhook-Signature',
    signedHeaders: [timestampHeader],
    secrets: [account.webhookPublicKey ?? []].flat(),
    whenSecretMissing: missingPublicKey,
    whenRefused: 'is webhookPublicKey that of the webhook which called?',
    matches: (signature, key) => isSigned(signed, signature, key),
  })
  if (!verification.ok) return verification
  const ageSeconds = /^\d{1,11}$/.test(timestamp) ? now.getTime() / 1000 - Number(timestamp) : Number.NaN
  if (ageSeconds <= oldestSeconds && ageSeconds >= -newestSeconds) return { ok: true }
  return { ok: false, check: 'timestamp', reason: 'It was signed more than a day ago or in the future.' }
}

function isSigned(bytes: Buffer, signature: string, key: string): boolean {
  const read = readPublicKey(key)
  return read !== undefined && verifyBytes('sha256', bytes, read, Buffer.from(signature, 'base64'))
}

/** Base64 SPKI, with or without the lines of a PEM around it. */
function readPublicKey(text: string) {
  try {
    const der = Buffer.from(text.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64')
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : undefined
  } catch {
    return undefined
  }
}

/** A POST that met a 5xx may have sent the mail: SendGrid has no idempotency key to find out with. */
function classify(answer: ProviderAnswer): NotDone {
  const errors = readJson(errorAnswer)(answer)?.errors ?? []
  const told = { message: errors.map(({ message }) => message).join(' ') }
  if (isUncertain(answer.status)) return unknownOutcome(answer, told)
  const afterMs = answer.status === 429 ? readResetMs(answer) : undefined
  if (afterMs !== undefined) return refusedOutcome(answer, ['rate_limited', { afterMs }, true], told)
  const found = errorRules.find(([pattern]) =>
    errors.some(({ field, message }) => pattern.test(`${answer.status} ${field ?? ''}: ${message ?? ''}`)),
  )
  return refusedOutcome(answer, found?.[1], told)
}

/** By `status field: message`; the status alone decides what is in no row. */
const errorRules: ReadonlyArray<readonly [RegExp, ErrorRule]> = [
  [/^40[03] from\b/, ['config', 'never', true]],
  [/^400 personalizations\.\d+\.to\b/, ['recipient', 'never', false]],
  [/^401 .*maximum credits exceeded/i, ['account', 'never', true]],
]

/** `X-RateLimit-Reset` is a unix time in seconds. */
function readResetMs({ headers, receivedAt }: ProviderAnswer): number | undefined {
  const reset = headers['x-ratelimit-reset'] ?? ''
  return /^\d{1,11}$/.test(reset) ? Math.max(0, Number(reset) * 1000 - receivedAt.getTime()) : undefined
}

export const sendgrid: MessagingProvider<Credentials> = {
  ...facts,
  credentials,
  verify,
  owns: ownsSendgridEvents,
  check,
  sender,
  send,
  parse: parseSendgridWebhook,
}
