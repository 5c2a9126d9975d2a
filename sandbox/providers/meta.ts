import { z } from 'zod'
import type { CallbackInput } from '../callbacks.ts'
import { pickFault, pickLookupFault, playAfter, playBefore } from '../faults.ts'
import type { Fault } from '../faults.ts'
import { isObject, readJsonObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { startLife } from '../life.ts'
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
import type { Meta, MetaAccount, MetaTemplate } from './meta-account.ts'
import { metaError, refuseMeta, refuseObject, refuseToken } from './meta-errors.ts'
import { metaInboundSchema, receiveMeta } from './meta-inbound.ts'
import { planMetaSteps } from './meta-life.ts'
import { readMetaSend, readRecipient } from './meta-rules.ts'
import type { MetaSend } from './meta-rules.ts'
import {
  answerMedia,
  answerTemplates,
  describeNumber,
  downloadMedia,
  overrideNumber,
  subscribe,
  upload,
} from './meta-settings.ts'
import { inputError } from './simulator.ts'
import type { AccountView, Simulator } from './simulator.ts'

export function createMeta(world: World): Simulator {
  const meta: Meta = {
    world,
    accounts: new Map(),
    wabaOverrides: new Map(),
    wabaOfToken: new Map(),
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
      meta.wabaOfToken.clear()
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
  if (verb === 'phone_numbers') return replyJson(200, { data: numbersOf(meta, bearer) })
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
  if (account.token === null) {
    account.token = token
    account.wabaId = meta.wabaOfToken.get(token) ?? account.wabaId
  }
  return account.token === token ? account : null
}

function numbersOf(meta: Meta, token: string): Array<Record<string, unknown>> {
  return [...meta.accounts.values()].filter((account) => account.token === token).map(describeNumber)
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
  await startLife(world, message, fault, planMetaSteps(meta, account, message, checked.send, fault))
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
