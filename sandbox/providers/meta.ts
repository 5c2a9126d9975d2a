import { createHash, randomInt } from 'node:crypto'
import { z } from 'zod'

import { sendCallback } from '../callbacks.ts'
import type { Callback, CallbackInput } from '../callbacks.ts'
import { pickFault, pickLookupFault, playAfter, playBefore } from '../faults.ts'
import type { Fault } from '../faults.ts'
import { isObject, readJsonObject, readMultipart, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { startLife } from '../life.ts'
import type { Step } from '../life.ts'
import { takeRate } from '../rates.ts'
import { addMessage, isWindowOpen, setState } from '../world.ts'
import type { Message, World } from '../world.ts'
import {
  createWamid,
  ensureMetaAccount,
  makeEntry,
  makeWebhook,
  shakeHands,
  webhookOf,
} from './meta-account.ts'
import type { Handshake, Meta, MetaAccount, MetaTemplate } from './meta-account.ts'
import { metaInboundSchema, receiveMeta } from './meta-inbound.ts'
import {
  metaError,
  readMetaSend,
  readRecipient,
  refuseMeta,
  refuseObject,
  refuseToken,
  webhookError,
} from './meta-rules.ts'
import type { MetaSend } from './meta-rules.ts'
import { inputError } from './simulator.ts'
import type { AccountView, Simulator } from './simulator.ts'

const URL_LIVES_MS = 5 * 60 * 1_000

export function createMeta(world: World): Simulator {
  const meta: Meta = {
    world,
    accounts: new Map(),
    wabaOverrides: new Map(),
    templates: new Map(),
    media: new Map(),
  }
  return {
    id: 'meta',
    title: 'Meta WhatsApp',
    answer: (call) => routeMeta(meta, call),
    putAccount: (id, input) => putAccount(meta, id, input),
    listAccounts: () => [...meta.accounts.values()].map((account) => viewAccount(meta, account)),
    receive: async (input) => receiveMeta(meta, metaInboundSchema.parse(input)),
    sample: (account, url) => sample(meta, account, url),
    clear: () => meta.media.clear(),
    clearAccounts() {
      meta.accounts.clear()
      meta.wabaOverrides.clear()
      meta.templates.clear()
    },
  }
}

const accountSchema = z.strictObject({
  token: z.string().min(1).optional(),
  app_secret: z.string().min(1).optional(),
  waba_id: z.string().min(1).optional(),
  display_phone_number: z.string().min(1).optional(),
  webhook_url: z.url().optional(),
  /** With it the URL is asked for the handshake, and the answer says how that went. */
  verify_token: z.string().min(1).optional(),
})

async function putAccount(meta: Meta, phoneNumberId: string, input: unknown): Promise<AccountView> {
  const change = accountSchema.parse(input)
  const account = ensureMetaAccount(meta, phoneNumberId)
  account.token = change.token ?? account.token
  account.appSecret = change.app_secret ?? account.appSecret
  account.wabaId = change.waba_id ?? account.wabaId
  account.displayPhoneNumber = change.display_phone_number ?? account.displayPhoneNumber
  account.webhookUrl = change.webhook_url ?? account.webhookUrl
  const url = webhookOf(meta, account)
  if (!change.verify_token || !url) return viewAccount(meta, account)
  return { ...viewAccount(meta, account), handshake: await shakeHands(url, change.verify_token) }
}

function viewAccount(meta: Meta, account: MetaAccount): AccountView {
  return {
    provider: 'meta',
    account: account.phoneNumberId,
    token: account.token,
    app_secret: account.appSecret,
    waba_id: account.wabaId,
    display_phone_number: account.displayPhoneNumber,
    webhook_url: webhookOf(meta, account),
  }
}

async function routeMeta(meta: Meta, call: Call): Promise<Reply> {
  const [, token = ''] = /^Bearer (.+)$/i.exec(call.headers['authorization'] ?? '') ?? []
  if (call.path.startsWith('/media/')) return downloadMedia(meta, call, token)
  const [, id = '', verb] = /^\/v\d+\.\d+\/([^/]+)(?:\/([a-z_]+))?$/.exec(call.path) ?? []
  const bearer = token || (call.query.get('access_token') ?? '')
  if (!bearer) return refuseToken(true)
  if (/invalid/i.test(bearer + id)) return refuseToken(false)
  if (!id) return refuseObject(call.path.slice(1), call.method.toLowerCase())
  if (call.method === 'POST' && verb === 'messages') return sendMessage(meta, id, bearer, call)
  const early = await playBefore(pickLookupFault(meta.world, 'meta'), refuseMeta)
  if (early) return early
  if (verb === 'subscribed_apps') return subscribe(meta, id, bearer, call)
  if (verb === 'message_templates') return answerTemplates(meta, id, call)
  if (verb === undefined && meta.media.has(id)) return answerMedia(meta, id, call)
  const account = authenticate(meta, id, bearer)
  if (!account) return refuseToken(false)
  if (call.method === 'POST' && verb === 'media') return upload(meta, call)
  if (verb !== undefined) return refuseObject(id, call.method.toLowerCase())
  return call.method === 'POST' ? overrideNumber(account, call) : replyJson(200, describeNumber(account))
}

/** The first token seen with a phone number id is its token from then on. */
function authenticate(meta: Meta, phoneNumberId: string, token: string): MetaAccount | null {
  const account = ensureMetaAccount(meta, phoneNumberId)
  account.token ??= token
  return account.token === token ? account : null
}

function describeNumber(account: MetaAccount): Record<string, unknown> {
  return {
    verified_name: 'Sandbox business',
    display_phone_number: account.displayPhoneNumber,
    quality_rating: 'GREEN',
    code_verification_status: 'VERIFIED',
    platform_type: 'CLOUD_API',
    throughput: { level: 'STANDARD' },
    id: account.phoneNumberId,
  }
}

async function sendMessage(meta: Meta, id: string, token: string, call: Call): Promise<Reply> {
  const { world } = meta
  const account = authenticate(meta, id, token)
  if (!account) return refuseToken(false)
  const body = readJsonObject(call)
  if (!body) return metaError(100, 'The request body is not a JSON object.')
  if (body['status'] === 'read') return markRead(meta, body)
  const reference =
    typeof body['biz_opaque_callback_data'] === 'string' ? body['biz_opaque_callback_data'] : null
  const fault = pickFault(world, {
    provider: 'meta',
    channel: 'whatsapp',
    to: readRecipient(body)?.to ?? '',
    from: id,
    reference,
  })
  const early = await playBefore(fault, refuseMeta)
  if (early) return early
  if (!takeRate(world, 'meta', id)) return metaError(130429)
  const checked = readMetaSend(body)
  if ('error' in checked) return checked.error
  const refused = checkState(meta, account, checked.send)
  if (refused) return refused
  const message = take(meta, account, checked.send, fault)
  const contact = checked.send.isUserId ? { user_id: checked.send.to } : { wa_id: checked.send.to }
  const input = String(body['to'] ?? body['recipient'])
  await startLife(world, message, fault, planSteps(meta, account, message, checked.send, fault))
  const answer = {
    messaging_product: 'whatsapp',
    contacts: [{ input, ...contact }],
    messages: [{ id: message.id }],
  }
  return playAfter(fault, replyJson(200, answer))
}

function markRead(meta: Meta, body: Record<string, unknown>): Reply {
  const message = meta.world.messages.get(String(body['message_id']))
  if (!message || message.direction !== 'inbound')
    return metaError(131009, 'The message_id is not a message received by this number.')
  setState(message, 'read', meta.world.now())
  return replyJson(200, { success: true })
}

/** What only the sandbox's memory can tell: media, templates, and the 24-hour window. */
function checkState(meta: Meta, account: MetaAccount, send: MetaSend): Reply | null {
  const mediaId = send.content['id']
  if (typeof mediaId === 'string' && !send.template && !meta.media.has(mediaId))
    return metaError(131053, `Media ${mediaId} was not found`)
  if (send.to === account.displayPhoneNumber) return metaError(131021)
  if (send.template) return checkTemplate(meta, account, send)
  const isOpen = isWindowOpen(meta.world, 'meta', account.phoneNumberId, send.to)
  return isOpen || meta.world.settings.window === 'callback' ? null : metaError(131047)
}

/** Templates that were created are checked; a name containing `missing` or `paused` never works. */
function checkTemplate(meta: Meta, account: MetaAccount, { template }: MetaSend): Reply | null {
  const { name, language, parameters } = template!
  if (/missing/i.test(name)) return metaError(132001)
  if (/paused/i.test(name)) return metaError(132015)
  const known = (meta.templates.get(account.wabaId) ?? []).filter((candidate) => candidate.name === name)
  if (known.length === 0) return null
  const translation = known.find((candidate) => candidate.language === language)
  if (!translation) return metaError(132001, `template name (${name}) does not exist in ${language}`)
  const expected = countPlaces(translation)
  if (expected === parameters.length) return null
  return metaError(
    132000,
    `body: number of localizable_params (${parameters.length}) does not match the expected number of params (${expected})`,
  )
}

function countPlaces(template: MetaTemplate): number {
  const body = template.components
    .filter(isObject)
    .find((component) => String(component['type']).toUpperCase() === 'BODY')
  return new Set(textOf(body?.['text']).match(/\{\{\w+\}\}/g) ?? []).size
}

function take(meta: Meta, account: MetaAccount, send: MetaSend, fault: Fault | null): Message {
  const id = createWamid()
  return addMessage(meta.world, {
    id,
    effect_id: id,
    provider: 'meta',
    account: account.phoneNumberId,
    channel: 'whatsapp',
    direction: 'outbound',
    from: account.displayPhoneNumber,
    to: send.to,
    subject: null,
    text: send.text,
    html: null,
    details: { type: send.type, content: send.content, reply_to: send.replyTo },
    reference: send.reference,
    state: 'accepted',
    fault: fault?.name ?? null,
  })
}

function planSteps(
  meta: Meta,
  account: MetaAccount,
  message: Message,
  send: MetaSend,
  fault: Fault | null,
): Step[] {
  const step = (state: string, errorCode?: number): Step => ({
    state,
    report: (at) => reportStatus(meta, account, message, send, { state, at, errorCode }),
  })
  if (fault?.name === 'failed') return [step('failed', fault.code ?? 131026)]
  if (!send.template && !isWindowOpen(meta.world, 'meta', account.phoneNumberId, send.to))
    return [step('failed', 131047)]
  if (fault?.name === 'stuck') return [step('sent')]
  if (fault?.name === 'read_without_delivered') return [step('sent'), step('read')]
  return [step('sent'), step('delivered'), step('read')]
}

type StatusEvent = { state: string; at: Date; errorCode: number | undefined }

function reportStatus(
  meta: Meta,
  account: MetaAccount,
  message: Message,
  send: MetaSend,
  event: StatusEvent,
): Callback | null {
  const url = webhookOf(meta, account)
  if (!url) return null
  const isService = !send.template
  const status = {
    id: message.id,
    status: event.state,
    timestamp: String(Math.floor(event.at.getTime() / 1_000)),
    ...(send.isUserId ? { recipient_user_id: send.to } : { recipient_id: send.to }),
    ...(send.reference === null ? {} : { biz_opaque_callback_data: send.reference }),
    ...(event.errorCode
      ? { errors: [webhookError(event.errorCode)] }
      : describePricing(message, event, isService)),
  }
  const entries = [makeEntry(account, { statuses: [status] })]
  const post = { url, entries, messageIds: [message.id], events: [event.state] }
  return sendCallback(meta.world, makeWebhook(account, post))
}

function describePricing(message: Message, event: StatusEvent, isService: boolean): Record<string, unknown> {
  const category = isService ? 'service' : 'utility'
  const pricing = {
    billable: !isService,
    pricing_model: 'PMP',
    category,
    type: isService ? 'free_customer_service' : 'regular',
  }
  if (event.state !== 'sent') return { pricing }
  const id = createHash('md5').update(`${message.account} ${message.to}`).digest('hex')
  return { conversation: { id, origin: { type: category } }, pricing }
}

async function subscribe(meta: Meta, wabaId: string, token: string, call: Call): Promise<Reply> {
  if (call.method === 'GET') {
    const url = meta.wabaOverrides.get(wabaId)
    const app = {
      whatsapp_business_api_data: { id: '1', name: 'Sandbox app' },
      ...(url ? { override_callback_uri: url } : {}),
    }
    return replyJson(200, { data: [app] })
  }
  for (const account of meta.accounts.values()) if (account.token === token) account.wabaId = wabaId
  if (call.method === 'DELETE') {
    meta.wabaOverrides.delete(wabaId)
    return replyJson(200, { success: true })
  }
  const body = readJsonObject(call) ?? {}
  return acceptOverride(body, (url) => meta.wabaOverrides.set(wabaId, url))
}

async function overrideNumber(account: MetaAccount, call: Call): Promise<Reply> {
  const configuration = readJsonObject(call)?.['webhook_configuration']
  if (!isObject(configuration)) return metaError(100, 'The parameter webhook_configuration is required.')
  if (configuration['override_callback_uri'] === '') {
    account.numberOverride = null
    return replyJson(200, { success: true })
  }
  return acceptOverride(configuration, (url) => {
    account.numberOverride = url
  })
}

async function acceptOverride(body: Record<string, unknown>, accept: (url: string) => void): Promise<Reply> {
  const { override_callback_uri: url, verify_token: verifyToken } = body
  if (url === undefined) return replyJson(200, { success: true })
  if (typeof url !== 'string' || !URL.canParse(url))
    return metaError(100, 'override_callback_uri should represent a valid URL')
  if (typeof verifyToken !== 'string' || verifyToken === '')
    return metaError(100, 'The parameter verify_token is required.')
  const handshake = await shakeHands(url, verifyToken)
  if (!handshake.ok) return refuseHandshake(handshake)
  accept(url)
  return replyJson(200, { success: true })
}

function refuseHandshake({ status, answer }: Handshake): Reply {
  const reason =
    status === null
      ? answer
      : status === 200
        ? 'Response does not match challenge'
        : `HTTP Status Code = ${status}`
  const message = `(#2200) Callback verification failed with the following errors: ${reason}`
  return replyJson(400, {
    error: { message, type: 'OAuthException', code: 2200, fbtrace_id: 'A0000000000000000000000' },
  })
}

function answerTemplates(meta: Meta, wabaId: string, call: Call): Reply {
  const templates = meta.templates.get(wabaId) ?? []
  if (call.method === 'GET') {
    const name = call.query.get('name')
    const data = templates.filter((template) => name === null || template.name === name)
    return replyJson(200, { data, paging: { cursors: { before: 'MAZDZD', after: 'MjQZD' } } })
  }
  if (call.method === 'DELETE') {
    const left = templates.filter((template) => template.name !== call.query.get('name'))
    if (left.length === templates.length) return metaError(132001)
    meta.templates.set(wabaId, left)
    return replyJson(200, { success: true })
  }
  const body = readJsonObject(call) ?? {}
  const { name, language, category = 'UTILITY', components = [] } = body
  if (typeof name !== 'string' || !/^[a-z0-9_]{1,512}$/.test(name))
    return metaError(100, 'Param name must be lower-case letters, digits and underscores.')
  if (typeof language !== 'string' || !Array.isArray(components))
    return metaError(100, 'The parameters language and components are required.')
  const id = String(randomInt(1e14))
  const template: MetaTemplate = {
    id,
    name,
    language,
    category: String(category),
    status: 'APPROVED',
    components,
  }
  meta.templates.set(wabaId, [
    ...templates.filter((other) => other.name !== name || other.language !== language),
    template,
  ])
  return replyJson(200, { id, status: template.status, category: template.category })
}

async function upload(meta: Meta, call: Call): Promise<Reply> {
  const form = await readMultipart(call)
  const file = form?.get('file')
  if (form?.get('messaging_product') !== 'whatsapp')
    return metaError(100, 'The parameter messaging_product is required.')
  if (!(file instanceof File)) return metaError(100, 'The parameter file is required.')
  const id = String(randomInt(1e14))
  const bytes = Buffer.from(await file.arrayBuffer())
  meta.media.set(id, { id, contentType: file.type, filename: file.name, bytes, urlMadeAt: 0 })
  return replyJson(200, { id })
}

function answerMedia(meta: Meta, id: string, call: Call): Reply {
  const media = meta.media.get(id)!
  if (call.method === 'DELETE') {
    meta.media.delete(id)
    return replyJson(200, { success: true })
  }
  media.urlMadeAt = meta.world.now().getTime()
  return replyJson(200, {
    url: `${meta.world.url}/meta/media/${id}`,
    mime_type: media.contentType,
    sha256: createHash('sha256').update(media.bytes).digest('hex'),
    file_size: media.bytes.length,
    id,
    messaging_product: 'whatsapp',
  })
}

/** The address lives five minutes and wants the token too. */
function downloadMedia(meta: Meta, call: Call, token: string): Reply {
  if (![...meta.accounts.values()].some((account) => account.token === token))
    return refuseToken(token === '')
  const media = meta.media.get(call.path.slice('/media/'.length))
  const isFresh = media && meta.world.now().getTime() - media.urlMadeAt < URL_LIVES_MS
  if (!isFresh)
    return { status: 404, headers: { 'content-type': 'text/plain' }, body: 'URL signature expired' }
  return { status: 200, headers: { 'content-type': media.contentType }, body: media.bytes }
}

function sample(meta: Meta, id: string | undefined, url: string | undefined): CallbackInput {
  const account = id === undefined ? meta.accounts.values().next().value : meta.accounts.get(id)
  if (!account) throw inputError('account', 'no such account')
  const target = url ?? webhookOf(meta, account)
  if (!target) throw inputError('url', 'this account has no webhook: say where to')
  const timestamp = String(Math.floor(meta.world.now().getTime() / 1_000))
  const status = { id: createWamid(), status: 'delivered', timestamp, recipient_id: '56912345678' }
  const entries = [makeEntry(account, { statuses: [status] })]
  return makeWebhook(account, { url: target, entries, messageIds: [status.id], events: ['delivered'] })
}
