import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as callHttp } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { test } from 'node:test'
import fastify from 'fastify'
import type { App } from '#core/module.ts'
import { authenticate } from '#tenants'
import { createDirectRoutes } from './direct.ts'
import { startTestServer } from './testing/server.ts'

const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }
let now = new Date()
const { server, api } = await startTestServer(keep, { role: 'api', now: () => now })
const { context } = server

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function issueKey(body: object = {}): Promise<{ id: string; key: string }> {
  return (await api.call<{ id: string; key: string }>('POST', '/products/shop/keys', body)).body
}

await api.call('POST', '/products', { id: 'shop', name: 'Shop' })
await api.call('POST', '/tenants', { id: 'shop_1', product_id: 'shop', name: 'One' })
const { key } = await issueKey()
const ordinary = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }

/** A route that is answered directly; 299 says that a request went the usual way. */
async function startRoute(run: (body: unknown) => Promise<object> = async () => ({})) {
  const direct = createDirectRoutes(context)
  const app = fastify() as unknown as App
  direct.collect(app)
  const config = {
    scope: 'events:write' as const,
    direct: { status: 202, run: ({ body }: { body: unknown }) => run(body) },
  }
  app.post('/things', { config, bodyLimit: 1_000 }, async () => ({}))
  await app.ready()
  const http = createServer(
    direct.before((request, response) => {
      request.resume()
      response.writeHead(299).end()
    }),
  )
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  keep.after(async () => {
    http.closeAllConnections()
    http.close()
    await app.close()
  })
  const { port } = http.address() as AddressInfo
  const post = async (
    headers: Record<string, string> = {},
    body = '{}',
    path = '/things',
    method = 'POST',
  ) => {
    const call = callHttp({ port, path, method, headers: { ...ordinary, ...headers } })
    call.end(body)
    const [answer] = await once(call, 'response')
    let text = ''
    for await (const part of answer) text += String(part)
    return { status: Number(answer.statusCode), headers: answer.headers as Record<string, string>, text }
  }
  return { app, http, port, post }
}

async function statusOf(answer: Promise<{ status: number }>): Promise<number> {
  return (await answer).status
}

test('a request is answered directly once its key is known', async () => {
  const { post } = await startRoute()
  const fresh = await issueKey()
  const authorization = `Bearer ${fresh.key}`
  assert.equal(await statusOf(post({ authorization })), 299)
  await authenticate(context, authorization)
  assert.equal(await statusOf(post({ authorization })), 202)
})

test('what is not ordinary goes the usual way', async () => {
  const { post } = await startRoute()
  await authenticate(context, ordinary.authorization)
  assert.equal(await statusOf(post()), 202)
  assert.equal(await statusOf(post({ 'content-type': 'application/json; charset=UTF-8' })), 202)
  const others: Array<[what: string, ...Parameters<typeof post>]> = [
    ['another key', { authorization: 'Bearer none' }],
    ['another scheme', { authorization: `Basic ${key}` }],
    ['another media type', { 'content-type': 'text/csv' }],
    ['another charset', { 'content-type': 'application/json; charset=latin1' }],
    ['an idempotency key', { 'idempotency-key': 'once' }],
    ['an empty idempotency key', { 'idempotency-key': '' }],
    ['a body in chunks', { 'transfer-encoding': 'chunked' }],
    ['no body', {}, ''],
    ['too long a body', {}, `"${'a'.repeat(999)}"`],
    ['a query', {}, '{}', '/things?a=1'],
    ['another path', {}, '{}', '/thing'],
    ['another method', {}, '{}', '/things', 'PUT'],
  ]
  for (const [what, ...call] of others) assert.equal(await statusOf(post(...call)), 299, what)
})

test('a key that may not, that has expired or was deleted is not let through', async () => {
  const { post } = await startRoute()
  const narrow = await issueKey({ scopes: ['tenants:read'] })
  await authenticate(context, `Bearer ${narrow.key}`)
  assert.equal(await statusOf(post({ authorization: `Bearer ${narrow.key}` })), 299)
  const brief = await issueKey({ expires_at: new Date(now.getTime() + 60_000).toISOString() })
  await authenticate(context, `Bearer ${brief.key}`)
  assert.equal(await statusOf(post({ authorization: `Bearer ${brief.key}` })), 202)
  now = new Date(now.getTime() + 60_000)
  assert.equal(await statusOf(post({ authorization: `Bearer ${brief.key}` })), 299)
  const deleted = await issueKey()
  await authenticate(context, `Bearer ${deleted.key}`)
  assert.equal(await statusOf(post({ authorization: `Bearer ${deleted.key}` })), 202)
  await api.call('DELETE', `/products/shop/keys/${deleted.id}`)
  assert.equal(await statusOf(post({ authorization: `Bearer ${deleted.key}` })), 299)
})

test('a route that closes leaves its requests to the framework', async () => {
  const { app, post } = await startRoute()
  await authenticate(context, ordinary.authorization)
  assert.equal(await statusOf(post()), 202)
  await app.close()
  assert.equal(await statusOf(post()), 299)
})

test('a fault of our own is told without its reason', async () => {
  const { post } = await startRoute(async () => {
    throw new Error('a reason that nobody should read')
  })
  await authenticate(context, ordinary.authorization)
  const { status, text, headers } = await post()
  assert.equal(status, 500)
  assert.equal(headers['content-type'], 'application/problem+json; charset=utf-8')
  const problem = JSON.parse(text) as { code: string; request_id: string }
  assert.equal(problem.code, 'server_failed')
  assert.equal(problem.request_id, headers['x-request-id'])
  assert.doesNotMatch(text, /reason that nobody/)
})

test('a caller that leaves before its answer harms nobody', async () => {
  const called = Promise.withResolvers<void>()
  const held = Promise.withResolvers<object>()
  const { http, port, post } = await startRoute(() => {
    called.resolve()
    return held.promise
  })
  await authenticate(context, ordinary.authorization)
  const socket = connect({ port })
  const head = Object.entries(ordinary).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`POST /things HTTP/1.1\r\nhost: pipecore\r\n${head.join('')}content-length: 2\r\n\r\n{}`)
  const [connection] = (await once(http, 'connection')) as [Socket]
  await called.promise
  socket.destroy()
  await once(connection, 'close')
  held.resolve({})
  assert.equal(await statusOf(post()), 202)
})

test('POST /events answers both ways alike', async () => {
  const own = api.as(key)
  await own.call('PUT', '/webhooks/catalog/order.paid', {
    version: 1,
    schema: { type: 'object', required: ['amount'] },
  })
  const event = { tenant_id: 'shop_1', type: 'order.paid', data: { amount: 1 } }
  const deep = `{"amount":1,"a":${'['.repeat(70)}${']'.repeat(70)}}`
  const bodies: Array<[what: string, body: string | Buffer, status: number]> = [
    ['an event', JSON.stringify(event), 202],
    ['a byte order mark', `\ufeff${JSON.stringify(event)}`, 202],
    ['a batch', JSON.stringify({ events: [event, event] }), 202],
    ['a body that breaks its schema', JSON.stringify({ ...event, data: {}, extra: 1 }), 422],
    ['data that breaks its schema', JSON.stringify({ ...event, data: {} }), 422],
    ['a time past the calendar', JSON.stringify({ ...event, occurred_at: '9999-12-31T23:59:59-14:00' }), 422],
    ['another tenant', JSON.stringify({ ...event, tenant_id: 'nobody' }), 404],
    ['a type of nobody', JSON.stringify({ ...event, type: 'order.lost' }), 422],
    ['no object', 'null', 422],
    ['no JSON', '{', 400],
    ['bytes of another alphabet', Buffer.from('{"a":"\xe9"}', 'latin1'), 400],
    ['half a character in its bytes', Buffer.from('7b2261223a22eda080227d', 'hex'), 400],
    ['a prototype', '{"__proto__":{}}', 400],
    ['a NUL character', String.raw`{"a":"\u0000"}`, 400],
    ['half a character', String.raw`{"a":"\ud800"}`, 422],
    ['too deep a body', `{"tenant_id":"shop_1","type":"order.paid","data":${deep}}`, 422],
  ]
  for (const [what, body, status] of bodies) {
    const [direct, usual] = [
      await call(body, 'application/json'),
      await call(body, 'application/json; version=1'),
    ]
    assert.equal(direct.status, status, what)
    assert.deepEqual(direct, usual, what)
  }
})

/** The answer without what is another's in each. The framework hangs up where it could not read a body. */
async function call(body: string | Buffer, contentType: string) {
  await authenticate(context, ordinary.authorization)
  const headers = {
    ...ordinary,
    'content-type': contentType,
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  }
  const answer = await fetch(`${server.url}/events`, { method: 'POST', headers, body })
  const text = (await answer.text()).replaceAll(/(evt|req)_[0-9a-z]{26}/g, '$1_…')
  const {
    'x-request-id': id,
    date,
    connection,
    'keep-alive': keepAlive,
    ...others
  } = Object.fromEntries(answer.headers)
  assert.match(id ?? '', /^req_/)
  assert.ok(date !== undefined && connection !== undefined)
  assert.ok(connection === 'close' || keepAlive !== undefined)
  return { status: answer.status, headers: others, text }
}
