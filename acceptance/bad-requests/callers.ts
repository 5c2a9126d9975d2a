import { crc32 } from 'node:zlib'
import type { BadRequest } from './bad-request.ts'

const sms = { tenant_id: 'roe_789', to: '+56988888888', body: 'Hola' }
const secret = '0123456789ABCDEFGHIJKLMNOPQRSTUV'
/** Well-formed as a key of ours is, and nobody's. */
const unknownKey = `pck_${secret}_${crc32(secret).toString(36).padStart(7, '0')}`

function send(name: string, rest: Partial<BadRequest>): BadRequest {
  return { name, method: 'POST', path: '/messaging/send/sms', body: sms, ...rest }
}

const missing = { as: 'nobody' as const, status: 401, code: 'key_missing' }
const malformed = (key: string) => ({ as: { key }, status: 401, code: 'key_malformed' })

export interface SpentKeys {
  expired: string
  deleted: string
  readOnly: string
}

/** Who may not call, or not this. */
export function callerRequests(keys: SpentKeys): BadRequest[] {
  return [...withoutKey(keys), ...withoutRight(keys)]
}

function withoutKey({ expired, deleted }: SpentKeys): BadRequest[] {
  return [
    send('no key', missing),
    send('a user and password', { ...missing, headers: { authorization: 'Basic dXNlcjpmYWtl' } }),
    send('a key without the word Bearer', { ...missing, headers: { authorization: unknownKey } }),
    send('an empty bearer', { ...missing, headers: { authorization: 'Bearer ' } }),
    send('the key in the query', { ...missing, path: `/messaging/send/sms?key=${unknownKey}` }),
    send('the key in another header', { ...missing, headers: { 'x-api-key': unknownKey } }),
    send('a word as a key', malformed('secret')),
    send('a key with a typing error', malformed(`${unknownKey.slice(0, -1)}?`)),
    send('a key cut off', malformed(unknownKey.slice(0, -4))),
    send('a key of another service', malformed('sk_live_fake0123456789')),
    send('a very long key', malformed('k'.repeat(8_000))),
    send('two keys', malformed(`${unknownKey},${unknownKey}`)),
    send('a key that was never made', { as: { key: unknownKey }, status: 401, code: 'key_unknown' }),
    send('a key that expired', { as: { key: expired }, status: 401, code: 'key_expired' }),
    send('a key that was deleted', { as: { key: deleted }, status: 401, code: 'key_unknown' }),
  ]
}

function withoutRight({ readOnly }: SpentKeys): BadRequest[] {
  return [
    send('a key that may only read', {
      as: { key: readOnly },
      status: 403,
      code: 'scope_missing',
      says: /messaging:send/,
    }),
    {
      name: 'a key that makes a stronger one',
      method: 'POST',
      path: '/products/roe/keys',
      body: { scopes: ['messaging:read', 'messaging:send'] },
      as: { key: readOnly },
      status: 403,
      code: 'scope_missing',
      says: /messaging:send/,
    },
    send('the key of another tenant', { as: 'stranger', status: 404, code: 'tenant_not_found' }),
    send('a tenant that is not there', {
      body: { ...sms, tenant_id: 'nobody_1' },
      status: 404,
      code: 'tenant_not_found',
    }),
    {
      name: 'a tenant’s key that makes a product',
      method: 'POST',
      path: '/products',
      body: { id: 'mine', name: 'Mine' },
      as: 'tenant',
      status: 403,
      code: 'admin_required',
    },
    {
      name: 'a product’s key that reads the dead jobs',
      method: 'GET',
      path: '/jobs/dead',
      status: 403,
      code: 'admin_required',
    },
    {
      name: 'a dead job that is not there',
      method: 'POST',
      path: '/jobs/dead/job_01aaaaaaaaaaaaaaaaaaaaaaaa/retry',
      as: 'admin',
      status: 404,
      code: 'dead_job_not_found',
    },
    {
      name: 'another product’s provider',
      method: 'POST',
      path: '/messaging/config/provider',
      body: { tenantId: 'genda_456', channel: 'sms', provider: 'twilio', credentials: {} },
      status: 404,
      code: 'tenant_not_found',
    },
  ]
}

function json(name: string, body: string, rest: Partial<BadRequest> = {}): BadRequest {
  return send(name, { body, status: 400, code: 'body_not_json', ...rest })
}

const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
const text = JSON.stringify(sms)

/** What does not even get as far as a field. */
export const transportRequests: BadRequest[] = [
  json('half a body', text.slice(0, -9)),
  json('a comma too many', text.replace('}', ',}')),
  json('single quotes', text.replaceAll('"', "'")),
  json('a comment', `/* hola */ ${text}`),
  json('two bodies', text + text),
  json('no JSON at all', 'hola'),
  json('NaN', text.replace('"Hola"', 'NaN')),
  send('a byte that is no UTF-8', {
    body: Buffer.from(text.replace('Hola', 'Hol\u00e1'), 'latin1'),
    status: 400,
    code: 'body_not_json',
    says: /UTF-8/,
  }),
  json('no body', '', { code: 'body_empty' }),
  json('a NUL in a text', text.replace('Hola', 'Ho\\u0000la'), { code: 'nul_character' }),
  json('a raw NUL in a text', text.replace('Hola', 'Ho\u0000la'), { says: /JSON|NUL/ }),
  json('__proto__ in the body', `${text.slice(0, -1)},"__proto__":{"admin":true}}`, {
    code: 'body_not_json',
    says: /__proto__|prototype/,
  }),
  json(
    'constructor.prototype in the body',
    `${text.slice(0, -1)},"constructor":{"prototype":{"admin":true}}}`,
    {
      says: /constructor|prototype/,
    },
  ),
  send('a list instead of an object', { body: '[]', field: 'body' }),
  send('a text instead of an object', { body: '"hola"', field: 'body' }),
  send('null instead of an object', { body: 'null', field: 'body' }),
  send('a number instead of an object', { body: '5', field: 'body' }),
  send('5,000 objects in each other', { body: nested(5_000), code: 'body_too_deep' }),
  send('a field that is 5,000 lists deep', {
    body: text.replace('"Hola"', `${'['.repeat(5_000)}${']'.repeat(5_000)}`),
    code: 'body_too_deep',
  }),
  send('half of an emoji deep inside', {
    body: text.replace('}', ',"template":{"name":"pedido","variables":{"nombre":"\\ud83c"}}}'),
    field: 'template.variables.nombre',
  }),
  send('half of an emoji as a name', {
    body: text.replace('}', ',"template":{"name":"pedido","variables":{"\\ud83c":"Ana"}}}'),
    field: 'template.variables',
  }),
  send('a field given twice: the last counts', { body: text.replace('}', ',"to":5}'), field: 'to' }),
  send('a body as plain text', {
    headers: { 'content-type': 'text/plain' },
    status: 415,
    code: 'media_type_unsupported',
  }),
  send('a form', {
    body: 'tenant_id=roe_789',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
    code: 'media_type_unsupported',
  }),
  send('XML', {
    body: '<message/>',
    headers: { 'content-type': 'application/xml' },
    status: 415,
    code: 'media_type_unsupported',
  }),
  send('a content type that is none', {
    headers: { 'content-type': 'json please' },
    status: 415,
    code: 'media_type_unsupported',
  }),
  {
    name: 'a body of two megabytes',
    method: 'POST',
    path: '/tenants',
    body: JSON.stringify({ id: 'a'.repeat(2 * 1024 * 1024) }),
    status: 413,
    code: 'body_too_large',
  },
  send('a message of 41 megabytes', {
    body: JSON.stringify({ ...sms, htmlContent: 'a'.repeat(41 * 1024 * 1024) }),
    status: 413,
    code: 'body_too_large',
  }),
  ...(['GET', 'PUT', 'PATCH', 'DELETE'] as const).map((method) => ({
    name: `${method} where only POST is`,
    method,
    path: '/messaging/send/sms',
    status: 404,
    code: 'path_not_found',
  })),
  {
    name: 'a path that is none',
    method: 'GET',
    path: '/messaging/sends',
    status: 404,
    code: 'path_not_found',
  },
  { name: 'a path in capitals', method: 'GET', path: '/Tenants', status: 404, code: 'path_not_found' },
  {
    name: 'a path upwards',
    method: 'GET',
    path: '/tenants/..%2f..%2fetc/keys',
    status: 404,
    code: 'tenant_not_found',
  },
  {
    name: 'a path that is no URL',
    method: 'GET',
    path: '/messaging/logs/%ZZ',
    status: 400,
    code: 'url_malformed',
  },
  {
    name: 'a NUL in the path',
    method: 'GET',
    path: '/messaging/logs/%00',
    status: 400,
    code: 'nul_character',
  },
  {
    name: 'a quote as an id',
    method: 'GET',
    path: "/messaging/messages/'%20or%201=1--",
    status: 404,
    code: 'message_not_found',
  },
  {
    name: 'an emoji as an id',
    method: 'GET',
    path: '/messaging/logs/%F0%9F%8D%95',
    status: 404,
    code: 'tenant_not_found',
  },
  {
    name: 'half an emoji as an id',
    method: 'GET',
    path: '/messaging/logs/%F0%9F',
    status: 400,
    code: 'url_malformed',
  },
  {
    name: 'an id of a thousand letters',
    method: 'GET',
    path: `/messaging/messages/${'a'.repeat(1000)}`,
    status: 404,
    code: 'path_not_found',
  },
  {
    name: 'headers of 20 kilobytes',
    method: 'GET',
    path: '/tenants',
    headers: { 'x-huge': 'a'.repeat(20_000) },
    status: 431,
    code: 'headers_too_large',
  },
]
