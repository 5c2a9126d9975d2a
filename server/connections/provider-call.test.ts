import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { createOutbound, type Outbound } from '#core/outbound.ts'
import { callProvider, describeError, parseJson, readJson, readRetryAfterMs } from './provider-call.ts'
import { refusedOutcome } from './provider-call.ts'
import type { ProviderAnswer } from './provider-call.ts'
import type { ProviderContext } from './provider.ts'

const outbound = createOutbound({ allowPrivateAddresses: true })
const credentials = {
  apiKey: 'key/secret+1',
  nested: { list: ['longer-secret', 'longer-secret-still'] },
  pin: '12',
}
let answer = { status: 200, headers: {}, body: '{"id":"1"}' }
let seen: { url: string | undefined; accept: string | undefined }
let baseUrl = ''

const server = createServer((request, response) => {
  seen = { url: request.url, accept: request.headers.accept }
  response.writeHead(answer.status, answer.headers).end(answer.body)
})

before(async () => {
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  const address = server.address()
  baseUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
})

after(async () => {
  server.closeAllConnections()
  server.close()
  await outbound.close()
})

function createContext(changes: Partial<ProviderContext<unknown>> = {}): ProviderContext<unknown> {
  return {
    credentials,
    baseUrl,
    webhookUrl: '',
    outbound,
    timeoutMs: 5_000,
    now: () => new Date(0),
    ...changes,
  }
}

function call(context = createContext(), told: { message?: string; code?: string } = {}, repeatable = false) {
  const headers = { authorization: 'Bearer sent-token' }
  const read = readJson(z.object({ id: z.string() }))
  const request = {
    title: 'Acme',
    method: 'POST' as const,
    path: '/v1/things',
    headers,
    body: '{}',
    read,
    repeatable,
  }
  return callProvider(context, request, (received) => refusedOutcome(received, undefined, told))
}

test('a 2xx that can be read is done', async () => {
  assert.deepEqual(await call(), { outcome: 'done', answer: { id: '1' } })
  assert.deepEqual(seen, { url: '/v1/things', accept: 'application/json' })
})

test('a 2xx that can not be read is unknown, and repeated only under a key', async () => {
  answer = { status: 200, headers: {}, body: '{"id":1}' }
  const [once_, keyed] = [await call(), await call(createContext(), {}, true)]
  assert.deepEqual(once_.outcome === 'unknown' && once_.error.retry, 'never')
  assert.deepEqual(keyed.outcome === 'unknown' && keyed.error.retry, 'backoff')
})

const statuses: Record<number, [kind: string, retry: string, failover: boolean]> = {
  302: ['config', 'never', false],
  400: ['content', 'never', false],
  401: ['auth', 'never', false],
  404: ['config', 'never', false],
  429: ['rate_limited', 'backoff', true],
}
for (const [status, expected] of Object.entries(statuses)) {
  test(`HTTP ${status} is ${expected[0]} where the provider names no rule`, async () => {
    answer = { status: Number(status), headers: {}, body: '<html>' }
    const outcome = await call()
    assert.ok(outcome.outcome === 'refused')
    const { kind, retry, failover, message } = outcome.error
    assert.deepEqual([kind, retry, failover], expected)
    assert.equal(message, `Acme: answered HTTP ${status} and gave no readable reason`)
  })
}

test('an address that may not be called is a fault of the set-up', async () => {
  const guarded = createOutbound({ allowPrivateAddresses: false })
  const outcome = await call(createContext({ outbound: guarded }))
  await guarded.close()
  assert.equal(outcome.outcome, 'refused')
  assert.equal(outcome.outcome === 'refused' && outcome.error.kind, 'config')
})

test('whatever goes wrong inside is an unknown outcome, never an exception', async () => {
  const broken: Outbound = {
    request: () => Promise.reject(new Error('secret detail')),
    close: () => Promise.resolve(),
  }
  const outcome = await call(createContext({ outbound: broken }))
  assert.equal(outcome.outcome, 'unknown')
  assert.doesNotMatch(JSON.stringify(outcome), /secret detail/)
})

test('credentials and the token sent are named where they stand, blanked in any other form', async () => {
  answer = { status: 400, headers: {}, body: '' }
  const message = 'key/secret+1 key%2Fsecret%2B1 longer-secret-still longer-secret sent-token 12'
  const outcome = await call(createContext(), { message, code: 'longer-secret' })
  assert.ok(outcome.outcome === 'refused')
  assert.equal(outcome.error.message, 'Acme: <apiKey> [redacted] <list> <list> <authorization> 12 (<list>)')
  assert.equal(outcome.error.code, '<list>')
})

test('a long text is cut only after it was scrubbed', async () => {
  answer = { status: 400, headers: {}, body: '' }
  const outcome = await call(createContext(), { message: `${'x'.repeat(490)}longer-secret` })
  assert.ok(outcome.outcome === 'refused' && outcome.error.message.length === 500)
  assert.doesNotMatch(outcome.error.message, /lon/)
  for (const before of ['', 'x']) {
    const cut = await call(createContext(), { message: before + '😀'.repeat(300) })
    assert.ok(cut.outcome === 'refused' && cut.error.message.isWellFormed())
  }
})

test('a wait lasts between a second and a day, whatever the provider says', () => {
  const bound = (afterMs: number) => {
    const received = { status: 429, headers: {}, text: '', receivedAt: new Date(0) }
    const outcome = refusedOutcome(received, ['rate_limited', { afterMs }, true], {})
    return outcome.error.retry
  }
  assert.deepEqual(
    [0, 5_000, 1e20].map(bound),
    [1_000, 5_000, 86_400_000].map((afterMs) => ({ afterMs })),
  )
  const headers = { 'retry-after': '99999999999999999' }
  const told = refusedOutcome({ status: 429, headers, text: '', receivedAt: new Date(0) }, undefined, {})
  assert.deepEqual(told.error.retry, { afterMs: 86_400_000 })
})

test('what PostgreSQL does not store is left out of an answer, and no depth of nesting throws', () => {
  assert.deepEqual(parseJson('{"a":["b\\u0000c","\\\\u0000"]}'), { a: ['bc', '\\u0000'] })
  const odd =
    '{"a\\u0000b":1,"half \\uD83d":"\\ude00","__proto__\\u0000":{"c\\u0000":2},"whole":"\\ud83d\\ude00"}'
  const fields = Object.entries(parseJson(odd) as object)
  assert.deepEqual(fields, [
    ['ab', 1],
    ['half \ufffd', '\ufffd'],
    ['__proto__', { c: 2 }],
    ['whole', '😀'],
  ])
  parseJson(`${'['.repeat(200_000)}"\\u0000"${']'.repeat(200_000)}`)
})

test('an error without words of the provider’s is told in ours', () => {
  const { message } = describeError(['window_closed', 'never', false], { code: 63016, message: ' ' })
  assert.equal(message, 'the 24-hour window is closed; send a template (63016)')
})

test('Retry-After is read as seconds or a date, never negative, and ignored when it is neither', () => {
  const receivedAt = new Date('2026-11-22T12:00:00Z')
  const read = (value: string) => {
    const received: ProviderAnswer = { status: 429, headers: { 'retry-after': value }, text: '', receivedAt }
    return readRetryAfterMs(received)
  }
  assert.deepEqual(
    ['3', '0.5', 'Sun, 22 Nov 2026 12:00:05 GMT', 'Sun, 22 Nov 2026 11:00:00 GMT', 'soon', ''].map(read),
    [3_000, 500, 5_000, 0, undefined, undefined],
  )
})
