import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { callProvider, createErrorTable, describeError, equalText, isUncertain, readJson } from '#connections'
import { optional, optionalText, refusedOutcome, secretField, unknownOutcome } from '#connections'
import { verifySignature } from '#connections'
import type { CheckResult, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import type { RawWebhook, Verification } from '#connections'
import { PipeError } from '#core/errors.ts'
import { checkCommand } from './command-check.ts'
import { emailField, nameField, tokenField } from './credential-fields.ts'
import { automaticMailHeaders, readMailAddresses } from './mail-command.ts'
import { isAutomatedMail, writeMailbox } from './mailbox.ts'
import type { InboundMessage, MessagingProvider, SendCommand, Sent, StatusReport } from './provider.ts'
import { ownsResendEvent, parseResendWebhook, reportResendStatus, writeTag } from './resend-events.ts'

const facts = {
  id: 'resend',
  title: 'Resend',
  baseUrl: 'https://api.resend.com',
  channels: ['email'],
  capabilities: {
    idempotency: { keptMs: 24 * 60 * 60 * 1000 },
    templates: true,
    media: false,
    attachments: true,
    maxTextLength: {},
  },
  acknowledgement: { status: 200 },
} satisfies Partial<MessagingProvider>

const maxMailBytes = 20 * 1024 * 1024
const toleranceSeconds = 300

const credentials = z.strictObject({
  apiKey: tokenField('API key; one that may only send is enough.', 're_'),
  fromEmail: emailField('Sender address, of a domain verified at Resend.'),
  fromName: nameField('Sender name.').optional(),
  replyTo: emailField('Address that answers go to.').optional(),
  webhookSecret: webhookSecretField('Signing secret of the webhook. Needed to accept webhooks.').optional(),
  previousWebhookSecret: webhookSecretField(
    'Former signing secret: webhooks signed with it still pass.',
  ).optional(),
})

function webhookSecretField(description: string): z.ZodString {
  const fault = 'Begins with whsec_, as Resend shows it.'
  return secretField(description).regex(/^whsec_[A-Za-z0-9+/]+={0,2}$/, fault)
}

type Credentials = z.output<typeof credentials>
type Context = ProviderContext<Credentials>

const sendAnswer = z.looseObject({ id: z.string().min(1) })
const errorAnswer = z.looseObject({ name: optionalText, message: optionalText })
const emailAnswer = z.looseObject({ id: z.string(), last_event: z.string() })

const domainsAnswer = z.looseObject({
  data: z.array(z.looseObject({ name: z.string(), status: optionalText })),
})

const receivedAnswer = z.looseObject({
  subject: optionalText,
  text: optionalText,
  html: optionalText,
  headers: optional(z.record(z.string(), z.unknown())),
})

function sender(account: Credentials): string {
  return account.fromEmail
}

async function send(command: SendCommand, context: Context): Promise<Outcome<Sent>> {
  const mail = checkCommand(command, facts) ?? writeMail(command, context.credentials)
  if ('outcome' in mail) return mail
  const body = JSON.stringify(mail)
  const outcome = await callResend(context, '/emails', readJson(sendAnswer), { key: command.messageId, body })
  if (outcome.outcome !== 'done') return outcome
  return { outcome: 'done', providerMessageId: outcome.answer.id, status: 'queued' }
}

interface Mail {
  from: string
  to: string[]
  reply_to?: string
  headers?: Readonly<Record<string, string>>
  subject?: string
  text?: string
  html?: string
  template?: object
  attachments?: object[]
  tags: Array<{ name: string; value: string }>
}

/** One recipient per mail: an event stands for all recipients of a mail. */
function writeMail(command: SendCommand, account: Credentials): Mail | NotDone {
  const addresses = readMailAddresses(command, account)
  if ('outcome' in addresses) return addresses
  const { from, to, replyTo } = addresses
  const { template, subject, text, html, attachments } = command
  return {
    from: writeMailbox(from),
    to: [to.email],
    ...(replyTo && { reply_to: writeMailbox(replyTo) }),
    ...(subject && { subject }),
    ...(command.automatic && { headers: automaticMailHeaders }),
    ...(template ? { template: writeTemplate(template) } : { ...(text && { text }), ...(html && { html }) }),
    ...(attachments.length > 0 && { attachments: attachments.map(writeAttachment) }),
    tags: [
      { name: 'tenant_id', value: writeTag(command.tenantId) },
      { name: 'message_id', value: writeTag(command.messageId) },
    ],
  }
}

function writeTemplate({ name, variables }: NonNullable<SendCommand['template']>): object {
  return {
    id: name,
    variables: Object.fromEntries(variables.map((variable) => [variable.name, variable.value])),
  }
}

/** Never by `path`: it would have Resend fetch a URL of the caller's choice. */
function writeAttachment(attachment: SendCommand['attachments'][number]): object {
  const { filename, contentType, contentBase64, contentId } = attachment
  return {
    filename,
    content: contentBase64,
    content_type: contentType,
    ...(contentId && { content_id: contentId }),
  }
}

async function lookup(providerMessageId: string, context: Context): Promise<StatusReport | undefined> {
  const path = `/emails/${encodeURIComponent(providerMessageId)}`
  const outcome = await callResend(context, path, readJson(emailAnswer))
  if (outcome.outcome !== 'done') return undefined
  return reportResendStatus(outcome.answer.id, outcome.answer.last_event, context.now())
}

/**
 * A mail that Resend no longer has stays as its webhook told it.
 * @throws PipeError `provider_unavailable` when the content can't be read now.
 */
async function fetchInbound(message: InboundMessage, context: Context): Promise<InboundMessage> {
  const path = `/emails/receiving/${encodeURIComponent(message.providerMessageId)}?html_format=cid`
  const outcome = await callResend(context, path, readJson(receivedAnswer))
  if (outcome.outcome !== 'done') {
    if (outcome.error.httpStatus === 404) return { ...message, fetchContent: false }
    throw new PipeError(
      'provider_unavailable',
      502,
      `The mail could not be fetched. ${outcome.error.message}`,
    )
  }
  const { answer } = outcome
  const headers = Object.fromEntries(
    Object.entries(answer.headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]),
  )
  return {
    ...message,
    subject: answer.subject ?? message.subject,
    text: answer.text ?? undefined,
    html: answer.html ?? undefined,
    inReplyTo: headers['in-reply-to'],
    automated: message.automated || isAutomatedMail(headers, message.from),
    fetchContent: false,
  }
}

async function check(context: Context): Promise<CheckResult> {
  const { fromEmail, webhookSecret } = context.credentials
  const missing = webhookSecret === undefined ? [missingSecret] : []
  const outcome = await callResend(context, '/domains?limit=100', readJson(domainsAnswer))
  if (outcome.outcome !== 'done') {
    if (outcome.error.code !== 'restricted_api_key') return { ok: false, notes: [outcome.error.message] }
    const note =
      'Resend accepts the API key. It may only send, so whether the domain of fromEmail is verified can not be seen: send a test mail.'
    return { ok: true, notes: [note, ...missing] }
  }
  const name = fromEmail.slice(fromEmail.indexOf('@') + 1).toLowerCase()
  const domain = outcome.answer.data.find((item) => item.name.toLowerCase() === name)
  const isVerified = domain?.status === 'verified'
  const state = domain
    ? `The domain ${name} is ${domain.status ?? 'not verified'}.`
    : `The domain ${name} is not in this account: add it at Resend and verify it.`
  return { ok: isVerified, notes: ['Resend accepts the API key.', state, ...missing] }
}

/** POST with a body, under an idempotency key: Resend answers the same key the same for 24 hours. */
function callResend<Answer>(
  context: Context,
  path: string,
  read: (answer: ProviderAnswer) => Answer | undefined,
  post?: { key: string; body: string },
): Promise<Outcome<{ answer: Answer }>> {
  const authorization = `Bearer ${context.credentials.apiKey}`
  const call = { title: facts.title, path, read, maxAnswerBytes: maxMailBytes }
  if (!post) return callProvider(context, { ...call, method: 'GET', headers: { authorization } }, classify)
  const headers = { authorization, 'idempotency-key': post.key, 'content-type': 'application/json' }
  return callProvider(
    context,
    { ...call, method: 'POST', headers, body: post.body, repeatable: true },
    classify,
  )
}

const missingSecret =
  'Webhooks are refused until webhookSecret is added to this connection (Resend, Webhooks, Signing secret).'

/** Standard Webhooks under the names of Svix: HMAC-SHA256 over `id.timestamp.body`, several `v1,…` during a rotation. */
function verify(webhook: RawWebhook, account: Credentials, now: Date): Verification {
  const { 'svix-id': id, 'svix-timestamp': timestamp = '' } = webhook.headers
  const verification = verifySignature(webhook, {
    header: 'svix-signature',
    signedHeaders: ['svix-id', 'svix-timestamp'],
    secrets: [account.webhookSecret, account.previousWebhookSecret],
    whenSecretMissing: missingSecret,
    whenRefused: 'is webhookSecret that of the webhook which called?',
    matches: (signatures, secret) => {
      const expected = sign(secret, `${id}.${timestamp}.`, webhook.body)
      return signatures.split(' ').some((signature) => equalText(signature, expected))
    },
  })
  if (!verification.ok) return verification
  const ageSeconds = /^\d{1,11}$/.test(timestamp)
    ? Math.floor(now.getTime() / 1000) - Number(timestamp)
    : Number.NaN
  if (Math.abs(ageSeconds) <= toleranceSeconds) return { ok: true }
  return {
    ok: false,
    check: 'timestamp',
    reason: 'It was signed more than five minutes ago or in the future.',
  }
}

function sign(secret: string, start: string, body: Buffer): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  return `v1,${createHmac('sha256', key).update(start).update(body).digest('base64')}`
}

/** Rules by status and name; the status alone where Resend names nothing else for it. */
function classify(answer: ProviderAnswer): NotDone {
  const { name: code, message } = readJson(errorAnswer)(answer) ?? {}
  const told = { code, message }
  if (isUncertain(answer.status)) return unknownOutcome(answer, told, 'backoff')
  const rule = errors.get(`${answer.status} ${code}`)
  // The key is in use or was used: the first mail under it may be on its way.
  if (answer.status === 409 && rule) {
    return { outcome: 'unknown', error: { ...describeError(rule, told), httpStatus: 409 } }
  }
  return refusedOutcome(answer, rule ?? errors.get(String(answer.status)), told)
}

const errors = createErrorTable([
  ['auth', 'never', false, ['401', '403']],
  ['config', 'never', true, ['403 validation_error', '403 invalid_from_address']],
  ['config', 'never', false, ['404', '405']],
  ['content', 'never', false, ['400', '422']],
  ['transient', { afterMs: 1_000 }, false, ['409 concurrent_idempotent_requests']],
  ['unknown', 'never', false, ['409 invalid_idempotent_request']],
  ['rate_limited', 'backoff', true, ['429', '429 rate_limit_exceeded']],
  ['account', 'never', true, ['429 daily_quota_exceeded', '429 monthly_quota_exceeded', '451']],
])

export const resend: MessagingProvider<Credentials> = {
  ...facts,
  credentials,
  verify,
  owns: ownsResendEvent,
  check,
  sender,
  send,
  parse: parseResendWebhook,
  lookup,
  fetchInbound,
}
