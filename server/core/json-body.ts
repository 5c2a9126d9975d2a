import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'
import { invalidRequest, PipeError, type FieldError } from './errors.ts'
import type { App } from './module.ts'

/** Reads JSON bodies as they are meant, and refuses texts that PostgreSQL or a provider could not carry unchanged. */
export function readJsonBodies(app: App): void {
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, bytes: Buffer) => {
      return bytes.length === 0 ? emptyBody(request) : parseJson(bytes)
    },
  )
  app.addHook('onRequest', async (request) => {
    if (request.url.includes('%00')) throw nulFound('The URL')
  })
}

/** @throws PipeError that says why this is no body that any route takes */
export function parseJson(bytes: Buffer): unknown {
  const text = decode(bytes)
  const value = parse(text)
  refuseDeep(value, deepest)
  // Only an escape can bring one in: the bytes are UTF-8, and JSON takes no bare control characters.
  if (text.includes('\\u')) refuseBrokenTexts(value)
  return value
}

const byteOrderMark = '\ufeff'

/** A `TextDecoder` makes two bytes of every character as soon as one isn't ASCII: then all that follows costs more. */
function decode(bytes: Buffer): string {
  if (!isUtf8(bytes))
    throw new PipeError('body_not_json', 400, 'The body is not valid JSON: its bytes are not UTF-8.')
  const text = bytes.toString('utf8')
  return text.startsWith(byteOrderMark) ? text.slice(1) : text
}

interface Schema {
  safeParse?(value: unknown): { success: boolean }
}

/** Many clients name JSON as their content type and send nothing: that is no body. */
function emptyBody(request: FastifyRequest): null {
  const schema = request.routeOptions.schema?.body as Schema | undefined
  if (schema === undefined || schema.safeParse?.(null).success === true) return null
  throw new PipeError('body_empty', 400, 'The body is empty; send a JSON object.')
}

/** Looking at every key is slow, so it is done only where a key could be meant. */
const mayHidePrototype = /__proto__|constructor|\\u/
const deepest = 64

function parse(text: string): unknown {
  try {
    return mayHidePrototype.test(text) ? JSON.parse(text, refusePrototypes) : JSON.parse(text)
  } catch (error) {
    if (error instanceof PipeError) throw error
    throw new PipeError('body_not_json', 400, 'The body is not valid JSON.')
  }
}

function refusePrototypes(key: string, value: unknown): unknown {
  if (key !== '__proto__' && !(key === 'constructor' && isObject(value) && 'prototype' in value)) return value
  throw new PipeError('body_not_json', 400, `The body has a key that no request may have: ${key}.`)
}

function refuseBrokenTexts(body: unknown): void {
  const errors: FieldError[] = []
  let hasNul = false
  visitTexts(body, '', (text, field) => {
    hasNul ||= text.includes('\0')
    if (!text.isWellFormed())
      errors.push({ field, message: 'holds half of a surrogate pair, which is no character' })
  })
  if (hasNul) throw nulFound('The body')
  if (errors.length > 0)
    throw invalidRequest('The body holds text that is not valid Unicode; see errors.', errors)
}

function refuseDeep(value: unknown, left: number): void {
  if (!isObject(value)) return
  if (left === 0) throw new PipeError('body_too_deep', 422, `The body is nested more than ${deepest} deep.`)
  // Without the list that `Object.values` makes of each, which is most of such a walk.
  if (Array.isArray(value)) for (const item of value) refuseDeep(item, left - 1)
  else for (const key in value) refuseDeep(value[key], left - 1)
}

function visitTexts(value: unknown, field: string, visit: (text: string, field: string) => void): void {
  if (typeof value === 'string') visit(value, field)
  if (!isObject(value)) return
  for (const [key, item] of Object.entries(value)) {
    visit(key, field)
    visitTexts(item, field === '' ? key : `${field}.${key}`, visit)
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function nulFound(place: string): PipeError {
  return new PipeError(
    'nul_character',
    400,
    `${place} holds a NUL character (\\u0000), which no field may have.`,
  )
}
