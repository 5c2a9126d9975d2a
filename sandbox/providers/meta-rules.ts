import { isPossiblePhoneNumber } from 'libphonenumber-js/min'
import { isObject, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { metaError } from './meta-errors.ts'

export type MetaSend = {
  /** Digits, or the business-scoped user id. */
  to: string
  isUserId: boolean
  type: string
  /** What the customer would read. */
  text: string | null
  content: Record<string, unknown>
  template: MetaTemplateUse | null
  reference: string | null
  replyTo: string | null
}

type MetaTemplateUse = { name: string; language: string; parameters: string[] }

const MEDIA_TYPES = ['image', 'video', 'audio', 'document', 'sticker']

const TYPES = ['text', ...MEDIA_TYPES, 'template', 'interactive', 'reaction', 'location', 'contacts']

/** Checks a send as the Graph API does and answers its first complaint. */
export function readMetaSend(body: Record<string, unknown>): { send: MetaSend } | { error: Reply } {
  if (body['messaging_product'] !== 'whatsapp')
    return refuse(100, 'The parameter messaging_product is required.')
  const recipient = readRecipient(body)
  if (!recipient) return refuse(100, 'The parameter to is required.')
  if (!recipient.isUserId && !isPossiblePhoneNumber(`+${recipient.to}`)) {
    return refuse(131009, `The value of to is not a valid phone number: ${recipient.to}`)
  }
  const type = body['type'] ?? 'text'
  if (typeof type !== 'string' || !TYPES.includes(type)) {
    return refuse(
      100,
      `Param type must be one of {${TYPES.join(', ').toUpperCase()}} - got "${textOf(type)}".`,
    )
  }
  const content = body[type]
  if (type === 'contacts' ? !Array.isArray(content) : !isObject(content))
    return refuse(131008, `The parameter ${type} is required.`)
  const part = isObject(content) ? content : {}
  const problem = checkContent(type, part)
  if (problem) return refuse(...problem)
  const template = type === 'template' ? readTemplate(part) : null
  const opaque = body['biz_opaque_callback_data']
  if (opaque !== undefined && typeof opaque !== 'string')
    return refuse(100, 'Param biz_opaque_callback_data must be a string.')
  const context = isObject(body['context']) ? body['context']['message_id'] : undefined
  return {
    send: {
      ...recipient,
      type,
      text: describeContent(type, part, template),
      content: part,
      template,
      reference: opaque ?? null,
      replyTo: typeof context === 'string' ? context : null,
    },
  }
}

function refuse(code: number, details: string): { error: Reply } {
  return { error: metaError(code, details) }
}

export function readRecipient(body: Record<string, unknown>): { to: string; isUserId: boolean } | null {
  const { to, recipient } = body
  if (typeof to === 'string' && to !== '') return { to: to.replaceAll(/[+\s()-]/g, ''), isUserId: false }
  return typeof recipient === 'string' && recipient !== '' ? { to: recipient, isUserId: true } : null
}

function checkContent(type: string, part: Record<string, unknown>): [code: number, details: string] | null {
  if (type === 'text') {
    if (!isText(part['body'])) return [131008, "The parameter text['body'] is required."]
    return textOf(part['body']).length > 4_096
      ? [100, "Param text['body'] must be at most 4096 characters long."]
      : null
  }
  if (MEDIA_TYPES.includes(type)) {
    if (!isText(part['link']) && !isText(part['id']))
      return [131008, `The parameter ${type}['link'] or ${type}['id'] is required.`]
    if (part['caption'] !== undefined && (type === 'audio' || type === 'sticker'))
      return [100, `Unexpected key "caption" on param "${type}".`]
    return isText(part['link']) && !URL.canParse(String(part['link']))
      ? [131009, `${type}['link'] is not a valid URL.`]
      : null
  }
  if (type === 'template') {
    if (!isText(part['name'])) return [131008, "The parameter template['name'] is required."]
    const language = part['language']
    return isObject(language) && isText(language['code'])
      ? null
      : [131008, "The parameter template['language']['code'] is required."]
  }
  if (type === 'interactive') {
    return isText(part['type']) && isObject(part['action'])
      ? null
      : [131008, "The parameters interactive['type'] and interactive['action'] are required."]
  }
  if (type === 'reaction')
    return isText(part['message_id']) ? null : [131008, "The parameter reaction['message_id'] is required."]
  if (type === 'location') {
    const isPlace = Number.isFinite(Number(part['latitude'])) && Number.isFinite(Number(part['longitude']))
    return isPlace
      ? null
      : [131008, "The parameters location['latitude'] and location['longitude'] are required."]
  }
  return null
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function readTemplate(part: Record<string, unknown>): MetaTemplateUse {
  const components = Array.isArray(part['components']) ? part['components'].filter(isObject) : []
  const body = components.find((component) => String(component['type']).toLowerCase() === 'body')
  const parameters = Array.isArray(body?.['parameters']) ? body['parameters'].filter(isObject) : []
  return {
    name: String(part['name']),
    language: String(isObject(part['language']) ? part['language']['code'] : ''),
    parameters: parameters.map((parameter) => textOf(parameter['text'])),
  }
}

function describeContent(
  type: string,
  part: Record<string, unknown>,
  template: MetaTemplateUse | null,
): string | null {
  if (type === 'text') return String(part['body'])
  if (template) return [`[${template.name} ${template.language}]`, ...template.parameters].join(' ')
  if (type === 'interactive') return isObject(part['body']) ? textOf(part['body']['text']) : null
  if (type === 'reaction') return textOf(part['emoji'])
  return typeof part['caption'] === 'string' ? part['caption'] : null
}
