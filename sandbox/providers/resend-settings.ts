import { decodePart, readJsonObject, replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { addResendWebhook, createSecret } from './resend-account.ts'
import type { Resend, ResendAccount, ResendWebhook } from './resend-account.ts'
import { addSuppression } from './resend-life.ts'
import { resendError } from './resend-rules.ts'

/** Webhooks, domains and suppressions; null for any other path. */
export function answerResendSettings(resend: Resend, account: ResendAccount, call: Call): Reply | null {
  const [, area, id, verb] = call.path.split('/')
  if (area === 'domains') return listDomains(account)
  if (area === 'webhooks') return answerWebhooks(resend, account, { call, id, verb })
  if (area === 'suppressions') return answerSuppressions(resend, account, call, id)
  return null
}

function listDomains(account: ResendAccount): Reply {
  const names = account.verifiedDomains ?? ['sandbox.example']
  const data = names.map((name, index) => ({
    id: `domain_${index}`,
    name,
    status: 'verified',
    region: 'us-east-1',
  }))
  return replyJson(200, { object: 'list', has_more: false, data })
}

type WebhookCall = { call: Call; id: string | undefined; verb: string | undefined }

function answerWebhooks(
  resend: Resend,
  account: ResendAccount,
  { call, id, verb }: WebhookCall,
): Reply | null {
  const body = readJsonObject(call) ?? {}
  if (id === undefined && call.method === 'POST') return createWebhook(resend, account, body)
  if (id === undefined)
    return replyJson(200, { object: 'list', has_more: false, data: account.webhooks.map(viewWebhook) })
  const webhook = account.webhooks.find((candidate) => candidate.id === id)
  if (!webhook) return null
  if (verb === 'signing-secret') {
    webhook.secrets = [createSecret(), webhook.secrets[0]!]
    return replyJson(200, { object: 'webhook', id, signing_secret: webhook.secrets[0] })
  }
  if (call.method === 'DELETE') {
    account.webhooks = account.webhooks.filter((candidate) => candidate !== webhook)
    return replyJson(200, { object: 'webhook', id, deleted: true })
  }
  if (call.method === 'PATCH') changeWebhook(webhook, body)
  return replyJson(200, { ...viewWebhook(webhook), signing_secret: webhook.secrets[0] })
}

function createWebhook(resend: Resend, account: ResendAccount, body: Record<string, unknown>): Reply {
  const { endpoint, events } = body
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint))
    return resendError('validation_error', 'Invalid `endpoint` field: a URL is needed.')
  if (!Array.isArray(events) || events.length === 0)
    return resendError('missing_required_field', 'Missing `events` field.')
  const webhook = addResendWebhook(resend, account, {
    endpoint,
    events: events.map(String),
    secret: createSecret(),
  })
  return replyJson(201, { object: 'webhook', id: webhook.id, signing_secret: webhook.secrets[0] })
}

function changeWebhook(webhook: ResendWebhook, body: Record<string, unknown>): void {
  if (typeof body['endpoint'] === 'string') webhook.endpoint = body['endpoint']
  if (Array.isArray(body['events'])) webhook.events = body['events'].map(String)
  if (typeof body['status'] === 'string') webhook.enabled = body['status'] === 'enabled'
}

function viewWebhook({ id, endpoint, events, enabled, createdAt }: ResendWebhook): Record<string, unknown> {
  return { id, endpoint, events, status: enabled ? 'enabled' : 'disabled', created_at: createdAt }
}

function answerSuppressions(
  resend: Resend,
  account: ResendAccount,
  call: Call,
  idOrEmail: string | undefined,
): Reply | null {
  if (idOrEmail === undefined) {
    if (call.method !== 'POST')
      return replyJson(200, {
        object: 'list',
        has_more: false,
        data: [...account.suppressions].map(viewSuppression),
      })
    const email = readJsonObject(call)?.['email']
    if (typeof email !== 'string') return resendError('missing_required_field', 'Missing `email` field.')
    return replyJson(201, {
      object: 'suppression',
      id: addSuppression(account, email, 'manual', resend.world.now()).id,
    })
  }
  const wanted = decodePart(idOrEmail).toLowerCase()
  const found = [...account.suppressions].find(([email, { id }]) => email === wanted || id === wanted)
  if (!found) return null
  if (call.method !== 'DELETE') return replyJson(200, viewSuppression(found))
  account.suppressions.delete(found[0])
  return replyJson(200, { object: 'suppression', id: found[1].id, deleted: true })
}

type Suppression = [email: string, entry: { id: string; reason: string; createdAt: string }]

function viewSuppression([email, { id, reason, createdAt }]: Suppression): Record<string, unknown> {
  return { object: 'suppression', id, email, reason, created_at: createdAt }
}
