import { createHash, randomInt } from 'node:crypto'
import { isObject, readJsonObject, readMultipart, replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { isOwnWaba, shakeHands } from './meta-account.ts'
import type { Handshake, Meta, MetaAccount, MetaTemplate } from './meta-account.ts'
import { metaError, refuseToken, traceId } from './meta-errors.ts'

const URL_LIVES_MS = 5 * 60 * 1_000

export function describeNumber(account: MetaAccount): Record<string, unknown> {
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

export async function subscribe(meta: Meta, wabaId: string, token: string, call: Call): Promise<Reply> {
  if (call.method === 'GET') {
    const url = meta.wabaOverrides.get(wabaId)
    const app = {
      whatsapp_business_api_data: { id: '1', name: 'Sandbox app' },
      ...(url ? { override_callback_uri: url } : {}),
    }
    return replyJson(200, { data: [app] })
  }
  linkToken(meta, wabaId, token)
  if (call.method === 'DELETE') {
    meta.wabaOverrides.delete(wabaId)
    return replyJson(200, { success: true })
  }
  const body = readJsonObject(call) ?? {}
  return acceptOverride(body, (url) => meta.wabaOverrides.set(wabaId, url))
}

export async function overrideNumber(account: MetaAccount, call: Call): Promise<Reply> {
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
    error: { message, type: 'OAuthException', code: 2200, fbtrace_id: traceId() },
  })
}

export function answerTemplates(meta: Meta, wabaId: string, call: Call): Reply {
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

export async function upload(meta: Meta, call: Call): Promise<Reply> {
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

export function answerMedia(meta: Meta, id: string, call: Call): Reply {
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
export function downloadMedia(meta: Meta, call: Call, token: string): Reply {
  if (![...meta.accounts.values()].some((account) => account.token === token))
    return refuseToken(token === '')
  const media = meta.media.get(call.path.slice('/media/'.length))
  const isFresh = media && meta.world.now().getTime() - media.urlMadeAt < URL_LIVES_MS
  if (!isFresh)
    return { status: 404, headers: { 'content-type': 'text/plain' }, body: 'URL signature expired' }
  return { status: 200, headers: { 'content-type': media.contentType }, body: media.bytes }
}

/** Numbers of this token whose WABA nobody named yet belong to this one. */
function linkToken(meta: Meta, wabaId: string, token: string): void {
  meta.wabaOfToken.set(token, wabaId)
  for (const account of meta.accounts.values()) {
    if (account.token === token && !isOwnWaba(account)) account.wabaId = wabaId
  }
}
