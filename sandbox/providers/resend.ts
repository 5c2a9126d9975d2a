import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { z } from 'zod'
import { domainOf, parseMailbox } from '../addresses.ts'
import type { CallbackInput } from '../callbacks.ts'
import { pickFault, pickLookupFault, playAfter, playBefore } from '../faults.ts'
import type { Fault } from '../faults.ts'
import { isObject, readJsonObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { startLife } from '../life.ts'
import { takeRate } from '../rates.ts'
import { seedFrom } from '../signatures.ts'
import { addMessage, runAt } from '../world.ts'
import type { Message, World } from '../world.ts'
import { changeToken, clearKeyAccounts, createKeyAccounts, findKeyAccount } from './key-accounts.ts'
import {
  addResendWebhook,
  createResendAccount,
  createSecret,
  createSvixId,
  makeSvixPost,
} from './resend-account.ts'
import type { Resend, ResendAccount, ResendWebhook } from './resend-account.ts'
import { answerEmail } from './resend-emails.ts'
import { answerReceived, downloadAttachment, receiveResend } from './resend-inbound.ts'
import { planResendSteps } from './resend-life.ts'
import { rateHeaders, readResendSend, refuseResend, resendError } from './resend-rules.ts'
import type { ResendSend } from './resend-rules.ts'
import { answerResendSettings } from './resend-settings.ts'
import { mailSchema } from './sendgrid-inbound.ts'
import { inputError } from './simulator.ts'
import type { AccountView, Simulator } from './simulator.ts'

const KEY_LIVES_MS = 24 * 60 * 60 * 1_000

export function createResend(world: World): Simulator {
  const resend: Resend = { world, accounts: createKeyAccounts(), received: new Map() }
  return {
    id: 'resend',
    title: 'Resend',
    async answer(call) {
      const reply = await routeResend(resend, call)
      return { ...reply, headers: { ...rateHeaders(4), ...reply.headers } }
    },
    putAccount: async (name, input) => putAccount(resend, name, input),
    listAccounts: () => [...resend.accounts.byName.values()].map(viewAccount),
    receive: async (input) => receiveResend(resend, mailSchema.parse(input)),
    sample: (account, url) => sample(resend, account, url),
    clear() {
      resend.received.clear()
      for (const account of resend.accounts.byName.values()) {
        account.idempotency.clear()
        account.suppressions.clear()
      }
    },
    clearAccounts: () => clearKeyAccounts(resend.accounts),
  }
}

const accountSchema = z.strictObject({
  token: z.string().startsWith('re_').optional(),
  webhook_url: z.url().optional(),
  signing_secret: z.string().startsWith('whsec_').optional(),
  /** Sign with a new secret and the one before it, as during a rotation. */
  rotate_secret: z.boolean().optional(),
  verified_domains: z.array(z.string()).nullable().optional(),
})

function putAccount(resend: Resend, name: string, input: unknown): AccountView {
  const change = accountSchema.parse(input)
  const token = change.token ?? (name.startsWith('re_') ? name : undefined)
  const account =
    findKeyAccount(resend.accounts, name) ??
    createResendAccount(
      resend,
      token ?? `re_${randomBytes(16).toString('base64url')}`,
      name.startsWith('re_') ? undefined : name,
    )
  if (token && token !== account.token) changeToken(resend.accounts, account, token)
  if (change.verified_domains !== undefined) account.verifiedDomains = change.verified_domains
  const webhook =
    account.webhooks[0] ??
    (change.webhook_url ? addDefaultWebhook(resend, account, change.webhook_url) : undefined)
  if (webhook) {
    webhook.endpoint = change.webhook_url ?? webhook.endpoint
    if (change.signing_secret) webhook.secrets = [change.signing_secret]
    if (change.rotate_secret) webhook.secrets = [createSecret(), webhook.secrets[0]!]
  }
  return viewAccount(account)
}

/** Every event, and a secret that stays the same over restarts. */
function addDefaultWebhook(resend: Resend, account: ResendAccount, endpoint: string): ResendWebhook {
  const secret = `whsec_${seedFrom(account.token).toString('base64')}`
  return addResendWebhook(resend, account, { endpoint, events: [], secret })
}

function viewAccount(account: ResendAccount): AccountView {
  return {
    provider: 'resend',
    account: account.name,
    token: account.token,
    signing_secret: account.webhooks[0]?.secrets[0] ?? null,
    webhooks: account.webhooks.map(({ id, endpoint, events, secrets }) => ({
      id,
      endpoint,
      events,
      signing_secrets: secrets,
    })),
    verified_domains: account.verifiedDomains,
  }
}

async function routeResend(resend: Resend, call: Call): Promise<Reply> {
  if (call.path.startsWith('/download/')) return downloadAttachment(resend, call.path)
  const [, token = ''] = /^Bearer (.+)$/i.exec(call.headers['authorization'] ?? '') ?? []
  if (!token) return resendError('missing_api_key', 'Missing API Key')
  if (!token.startsWith('re_') || /invalid/i.test(token))
    return resendError('invalid_api_key', 'API key is invalid')
  const account = findKeyAccount(resend.accounts, token) ?? createResendAccount(resend, token)
  if (call.method === 'POST' && (call.path === '/emails' || call.path === '/emails/batch'))
    return sendOnce(resend, account, call)
  if (/restricted/i.test(token))
    return resendError('restricted_api_key', 'This API key is restricted to only send emails')
  const early = await playBefore(pickLookupFault(resend.world, 'resend'), refuseResend)
  if (early) return early
  if (call.path.startsWith('/emails/receiving/'))
    return answerReceived(resend, account, call.path) ?? notFound()
  if (call.path.startsWith('/emails/')) return answerEmail(resend, account, call)
  return answerResendSettings(resend, account, call) ?? notFound()
}

function notFound(): Reply {
  return resendError('not_found', 'The requested endpoint or resource was not found')
}

/** Replays the first answer of an idempotency key; what was refused is not remembered. */
async function sendOnce(resend: Resend, account: ResendAccount, call: Call): Promise<Reply> {
  const key = call.headers['idempotency-key'] ?? null
  if (key === null) return sendMail(resend, account, call, null)
  if (key.length < 1 || key.length > 256) {
    return resendError('invalid_idempotency_key', 'The idempotency key must be between 1-256 characters.')
  }
  const request = createHash('sha256').update(call.path).update(call.body).digest('base64')
  const now = resend.world.now().getTime()
  const known = account.idempotency.get(key)
  if (known && now - known.at < KEY_LIVES_MS) {
    if (known.request !== request) {
      return resendError(
        'invalid_idempotent_request',
        'This idempotency key has been used on another request with a different payload.',
      )
    }
    if (known.answer !== null) return replyJson(200, known.answer)
    return resendError(
      'concurrent_idempotent_requests',
      'The same idempotency key is being used by another request in progress.',
    )
  }
  account.idempotency.set(key, { request, answer: null, at: now })
  const reply = await sendMail(resend, account, call, key)
  if (account.idempotency.get(key)?.answer === null) account.idempotency.delete(key)
  return reply
}

async function sendMail(
  resend: Resend,
  account: ResendAccount,
  call: Call,
  key: string | null,
): Promise<Reply> {
  const { world } = resend
  const isBatch = call.path === '/emails/batch'
  const bodies = isBatch ? readBatch(call) : [readJsonObject(call)]
  if (!bodies) return resendError('validation_error', 'The batch must be an array of 1 to 100 emails.')
  const checked = bodies.map((body) => readResendSend(body, world.now()))
  const first = checked[0]!
  const to = 'send' in first ? (parseMailbox(first.send.to[0] ?? '')?.email ?? '') : ''
  const from = 'send' in first ? first.send.fromEmail : ''
  const fault = pickFault(world, { provider: 'resend', channel: 'email', to, from, reference: key })
  const early = await playBefore(fault, refuseResend)
  if (early) return early
  if (!takeRate(world, 'resend', account.name))
    return refuseResend({ name: 'rate_limited', retryAfterSeconds: 1 })!
  const sends: ResendSend[] = []
  for (const one of checked) {
    if ('error' in one) return one.error
    const refused = refuseDomain(account, one.send)
    if (refused) return refused
    sends.push(one.send)
  }
  const effectId = randomUUID()
  const messages = sends.map((one) => take(resend, account, { send: one, key, fault, effectId }))
  const ids = messages.map(({ id }) => ({ id }))
  const answer = isBatch ? { data: ids } : ids[0]!
  if (key !== null) account.idempotency.get(key)!.answer = answer
  await Promise.all(messages.map((message, index) => live(resend, account, message, sends[index]!, fault)))
  return playAfter(fault, replyJson(200, answer))
}

function readBatch(call: Call): Array<Record<string, unknown> | null> | null {
  try {
    const value: unknown = JSON.parse(call.body.toString('utf8'))
    if (!Array.isArray(value) || value.length === 0 || value.length > 100) return null
    return value.map((item: unknown) => (isObject(item) ? item : null))
  } catch {
    return null
  }
}

function refuseDomain(account: ResendAccount, send: ResendSend): Reply | null {
  const domain = domainOf(send.fromEmail)
  const isVerified = account.verifiedDomains
    ? account.verifiedDomains.includes(domain)
    : !domain.includes('unverified')
  if (isVerified) return null
  const message = `The ${domain} domain is not verified. Please, add and verify your domain on https://resend.com/domains`
  return resendError('validation_error', message, 403)
}

type Taking = { send: ResendSend; key: string | null; fault: Fault | null; effectId: string }

function take(resend: Resend, account: ResendAccount, { send, key, fault, effectId }: Taking): Message {
  return addMessage(resend.world, {
    id: randomUUID(),
    effect_id: effectId,
    provider: 'resend',
    account: account.name,
    channel: 'email',
    direction: 'outbound',
    from: send.from,
    to: parseMailbox(send.to[0]!)!.email,
    subject: send.subject,
    text: send.text,
    html: send.html,
    details: {
      to: send.to,
      cc: send.cc,
      bcc: send.bcc,
      reply_to: send.replyTo,
      headers: send.headers,
      tags: send.tags,
      attachments: send.attachments,
      ...(send.template ? { template: send.template.id, variables: send.template.variables } : {}),
      scheduled_at: send.scheduledAt,
    },
    reference: key,
    state: send.scheduledAt ? 'scheduled' : 'queued',
    fault: fault?.name ?? null,
  })
}

async function live(
  resend: Resend,
  account: ResendAccount,
  message: Message,
  send: ResendSend,
  fault: Fault | null,
): Promise<void> {
  const start = () =>
    startLife(resend.world, message, fault, planResendSteps(resend, account, { message, fault, send }))
  if (!send.scheduledAt) return start()
  const readDue = () =>
    message.state === 'scheduled' ? Date.parse(textOf(message.details['scheduled_at'])) : null
  runAt(resend.world, readDue, () => void start())
}

function sample(resend: Resend, name: string | undefined, url: string | undefined): CallbackInput {
  const { byName } = resend.accounts
  const account = name === undefined ? byName.values().next().value : findKeyAccount(resend.accounts, name)
  const webhook = account?.webhooks[0]
  if (!account || !webhook) throw inputError('account', 'no such account, or it has no webhook')
  const at = resend.world.now().toISOString()
  const id = randomUUID()
  const body = JSON.stringify({
    type: 'email.delivered',
    created_at: at,
    data: { email_id: id, created_at: at, to: ['a@example.com'] },
  })
  return makeSvixPost(account.name, {
    url: url ?? webhook.endpoint,
    secrets: webhook.secrets,
    id: createSvixId(),
    body,
    messageIds: [id],
    events: ['email.delivered'],
  })
}
