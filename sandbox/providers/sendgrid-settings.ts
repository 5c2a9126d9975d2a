import { randomBytes } from 'node:crypto'
import { sendCallback } from '../callbacks.ts'
import { decodePart, isObject, readJsonObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { createSigningKeys } from '../signatures.ts'
import { addEventWebhook, makeEventPost, suppressionLists } from './sendgrid-account.ts'
import type { EventWebhook, Sendgrid, SendgridAccount, SuppressionList } from './sendgrid-account.ts'
import { sendgridError } from './sendgrid-rules.ts'

const EVENTS = '/v3/user/webhooks/event'

/** Webhook set-up, inbound parse, security policies and suppressions; null for any other path. */
export function answerSendgridSettings(
  sendgrid: Sendgrid,
  account: SendgridAccount,
  call: Call,
): Reply | null {
  if (call.path.startsWith(EVENTS)) return answerEventSettings(sendgrid, account, call)
  if (call.path.startsWith('/v3/user/webhooks/parse/settings')) return answerParse(account, call)
  if (call.path.startsWith('/v3/user/webhooks/security/policies')) return answerPolicies(account, call)
  if (call.path.startsWith('/v3/suppression/')) return answerSuppressions(account, call)
  if (call.path.startsWith('/v3/asm/suppressions/global'))
    return answerSuppressionList(account, 'unsubscribes', call.path.split('/')[5], call)
  if (call.path === '/v3/mail/batch' && call.method === 'POST')
    return replyJson(201, { batch_id: randomBytes(24).toString('base64url') })
  return null
}

function answerEventSettings(sendgrid: Sendgrid, account: SendgridAccount, call: Call): Reply | null {
  const body = readJsonObject(call) ?? {}
  if (call.path === `${EVENTS}/test` && call.method === 'POST') return sendTestEvent(sendgrid, account, body)
  const [, signedId] = new RegExp(`^${EVENTS}/settings/signed(?:/([^/]+))?$`).exec(call.path) ?? []
  if (call.path.startsWith(`${EVENTS}/settings/signed`)) return answerSigned(account, call, signedId, body)
  if (call.path === `${EVENTS}/settings/all`)
    return replyJson(200, { webhooks: account.webhooks.map(viewWebhook) })
  const [, id] = new RegExp(`^${EVENTS}/settings(?:/([^/]+))?$`).exec(call.path) ?? []
  if (call.path === `${EVENTS}/settings` && call.method === 'POST') return createWebhook(account, body)
  const webhook =
    id === undefined ? account.webhooks[0] : account.webhooks.find((candidate) => candidate.id === id)
  if (!webhook) return call.method === 'PATCH' && id === undefined ? createWebhook(account, body) : null
  if (call.method === 'DELETE') {
    account.webhooks = account.webhooks.filter((candidate) => candidate !== webhook)
    return { status: 204 }
  }
  if (call.method === 'PATCH') changeWebhook(webhook, body)
  return replyJson(200, viewWebhook(webhook))
}

function createWebhook(account: SendgridAccount, body: Record<string, unknown>): Reply {
  const url = body['url']
  if (typeof url !== 'string' || !URL.canParse(url))
    return sendgridError(400, [{ message: 'a valid url is required', field: 'url' }])
  const webhook = addEventWebhook(account, url, {
    enabled: body['enabled'] !== false,
    friendlyName: textOf(body['friendly_name']),
  })
  return replyJson(201, viewWebhook(webhook))
}

function changeWebhook(webhook: EventWebhook, body: Record<string, unknown>): void {
  if (typeof body['url'] === 'string') webhook.url = body['url']
  if (typeof body['enabled'] === 'boolean') webhook.enabled = body['enabled']
  if (typeof body['friendly_name'] === 'string') webhook.friendlyName = body['friendly_name']
}

function answerSigned(
  account: SendgridAccount,
  call: Call,
  id: string | undefined,
  body: Record<string, unknown>,
): Reply | null {
  const webhook =
    id === undefined ? account.webhooks[0] : account.webhooks.find((candidate) => candidate.id === id)
  if (!webhook) return null
  if (call.method === 'PATCH') webhook.signed = body['enabled'] === true
  return replyJson(200, { id: webhook.id, public_key: webhook.signed ? webhook.keys.publicKey : '' })
}

function viewWebhook(webhook: EventWebhook): Record<string, unknown> {
  const events = [
    'processed',
    'dropped',
    'delivered',
    'deferred',
    'bounce',
    'open',
    'click',
    'unsubscribe',
    'spam_report',
  ]
  const switches = Object.fromEntries(events.map((event) => [event, true]))
  const key = webhook.signed ? { public_key: webhook.keys.publicKey } : {}
  return {
    id: webhook.id,
    enabled: webhook.enabled,
    url: webhook.url,
    friendly_name: webhook.friendlyName,
    ...switches,
    ...key,
  }
}

function sendTestEvent(sendgrid: Sendgrid, account: SendgridAccount, body: Record<string, unknown>): Reply {
  const webhook = account.webhooks.find((candidate) => candidate.id === body['id']) ?? account.webhooks[0]
  if (!webhook) return sendgridError(400, [{ message: 'there is no event webhook to test', field: 'id' }])
  const timestamp = Math.floor(sendgrid.world.now().getTime() / 1_000)
  const id = randomBytes(16).toString('base64url')
  const event = {
    email: 'example@test.com',
    timestamp,
    event: 'processed',
    sg_event_id: id,
    sg_message_id: 'test.0',
  }
  const target = { ...webhook, url: textOf(body['url'], webhook.url) }
  sendCallback(sendgrid.world, makeEventPost(account, target, [{ event, messageId: id }]))
  return { status: 204 }
}

function answerParse(account: SendgridAccount, call: Call): Reply {
  const view = () =>
    account.parse && {
      url: account.parse.url,
      hostname: account.parse.hostname,
      spam_check: false,
      send_raw: false,
    }
  if (call.method === 'GET') return replyJson(200, { result: account.parse ? [view()] : [] })
  if (call.method === 'DELETE') {
    account.parse = null
    return { status: 204 }
  }
  const { url, hostname, security_policy: policyId } = readJsonObject(call) ?? {}
  if (typeof url !== 'string' || !URL.canParse(url))
    return sendgridError(400, [{ message: 'a valid url is required', field: 'url' }])
  const policy = account.policies.get(String(policyId))
  if (policyId !== undefined && !policy)
    return sendgridError(400, [{ message: 'security policy not found', field: 'security_policy' }])
  account.parse = { url, hostname: textOf(hostname), keys: policy?.keys ?? null }
  return replyJson(201, view())
}

function answerPolicies(account: SendgridAccount, call: Call): Reply | null {
  if (call.method === 'GET')
    return replyJson(200, { policies: [...account.policies.values()].map(viewPolicy) })
  if (call.method !== 'POST') return null
  const { name, signature } = readJsonObject(call) ?? {}
  if (typeof name !== 'string' || !isObject(signature))
    return sendgridError(400, [{ message: 'name and signature are required', field: 'name' }])
  const policy = { id: randomBytes(8).toString('hex'), name, keys: createSigningKeys(randomBytes(32)) }
  account.policies.set(policy.id, policy)
  return replyJson(201, { policy: viewPolicy(policy) })
}

type Policy = { id: string; name: string; keys: { publicKey: string } }

function viewPolicy({ id, name, keys }: Policy): Record<string, unknown> {
  return { id, name, signature: { enabled: true, public_key: keys.publicKey } }
}

function answerSuppressions(account: SendgridAccount, call: Call): Reply | null {
  const [, , , list, email] = call.path.split('/')
  const known = suppressionLists.find((candidate) => candidate === list)
  return known ? answerSuppressionList(account, known, email, call) : null
}

function answerSuppressionList(
  account: SendgridAccount,
  list: SuppressionList,
  email: string | undefined,
  call: Call,
): Reply {
  const entries = account.suppressions.get(list)!
  const address = email === undefined ? undefined : decodePart(email).toLowerCase()
  if (call.method === 'DELETE') {
    if (address === undefined) entries.clear()
    else if (!entries.delete(address)) return sendgridError(404, [{ message: 'Not Found', field: null }])
    return { status: 204 }
  }
  const found = [...entries].filter(([key]) => address === undefined || key === address)
  return replyJson(
    200,
    found.map(([key, { reason, createdAt }]) => ({ created: createdAt, email: key, reason })),
  )
}
