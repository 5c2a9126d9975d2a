import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, describe, test } from 'node:test'
import { startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Delivery, Endpoint, EventDetail } from '../schema.ts'

type Attempt = Delivery['attempts'][number]

let server: TestServer
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  await server.api.call('POST', '/products', { id: 'product_a', name: 'a' })
  await server.api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'product_a', name: 'a' })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function createEndpoint(url: string, events: string, headers: Record<string, string> = {}) {
  const input = { url, tenant_id: 'tenant_a', events: [events], headers }
  const answer = await server.api.call<Endpoint>('POST', '/webhooks/endpoints', input)
  assert.equal(answer.status, 201, JSON.stringify(answer.body))
  return answer.body
}

async function publish(type: string, data: object = {}): Promise<string> {
  const schema = { type: 'object' }
  await server.api.call('PUT', `/webhooks/catalog/${type}`, { product_id: 'product_a', version: 1, schema })
  const answer = await server.api.call<{ id: string }>('POST', '/events', {
    tenant_id: 'tenant_a',
    type,
    data,
  })
  assert.ok(answer.status < 300, JSON.stringify(answer.body))
  return answer.body.id
}

async function attemptsOf(eventId: string, count = 1): Promise<Attempt[]> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const { body } = await server.api.call<EventDetail>('GET', `/webhooks/events/${eventId}`)
    const attempts = body.deliveries.flatMap((delivery) => delivery.attempts)
    if (attempts.length >= count) return attempts
    assert.ok(performance.now() < deadline, JSON.stringify(body))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('an attempt', () => {
  test('has the look-up and connecting of a fresh connection, and neither of a kept one', async () => {
    const receiver = await startReceiver(keep)
    await createEndpoint(receiver.url.replace('127.0.0.1', 'localhost'), 'kept.*')
    const [fresh] = await attemptsOf(await publish('kept.first'))
    const [kept] = await attemptsOf(await publish('kept.second'))
    assert.equal(fresh?.status, 204)
    assert.equal(typeof fresh.timings.lookup_ms, 'number')
    assert.equal(typeof fresh.timings.connect_ms, 'number')
    assert.equal(typeof kept?.timings.first_byte_ms, 'number')
    assert.deepEqual([kept?.timings.lookup_ms, kept?.timings.connect_ms], [null, null])
  })

  test('at a receiver that thinks for long shows it in the first byte', async () => {
    const slow = createServer((request, response) => {
      request.resume().on('end', () => setTimeout(() => response.writeHead(204).end(), 300))
    })
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve))
    keep.after(async () => void slow.close())
    await createEndpoint(`http://127.0.0.1:${(slow.address() as AddressInfo).port}/`, 'slow.*')
    const [attempt] = await attemptsOf(await publish('slow.answer'))
    assert.ok((attempt?.timings.first_byte_ms ?? 0) >= 295, JSON.stringify(attempt))
    assert.ok((attempt?.timings.connect_ms ?? 999) < 295, JSON.stringify(attempt))
    assert.ok((attempt?.duration_ms ?? 0) >= 295)
  })

  test('has the hash of the bytes that arrived and the headers they came with, without secret values', async () => {
    const receiver = await startReceiver(keep)
    const own = { Authorization: 'Bearer s3cret-fake', 'x-key': 's3cret-fake' }
    await createEndpoint(receiver.url, 'exact.*', own)
    const id = await publish('exact.bytes', { note: 'größer · 日本' })
    const event = await receiver.waitFor(({ body }) => body.id === id)
    const [attempt] = await attemptsOf(id)
    assert.equal(attempt?.request?.body_sha256, createHash('sha256').update(event.text).digest('hex'))
    assert.deepEqual(attempt.request.header_names, ['authorization', 'x-key'])
    const ofTheConnection = ['host', 'connection', 'accept-encoding', 'content-length']
    const notShown = new Set([...ofTheConnection, ...attempt.request.header_names])
    const arrived = Object.entries(event.headers).filter(([name]) => !notShown.has(name))
    assert.deepEqual(attempt.request.headers, Object.fromEntries(arrived))
    const { body } = await server.api.call('GET', `/webhooks/events/${id}`)
    assert.doesNotMatch(JSON.stringify(body), /s3cret-fake/)
  })

  test('that is repeated has headers of its own and the same body', async () => {
    const receiver = await startReceiver(keep)
    await createEndpoint(receiver.url, 'again.*')
    receiver.answerWith(500)
    const id = await publish('again.later')
    await attemptsOf(id)
    receiver.answerWith(204)
    offsetMs += 10_000
    const attempts = await attemptsOf(id, 2)
    const signatures = receiver.events.map(({ headers }) => headers['webhook-signature'])
    assert.notEqual(signatures[0], signatures[1])
    for (const [index, { request }] of attempts.entries()) {
      assert.equal(request?.headers['webhook-signature'], signatures[index])
      assert.equal(
        request?.headers['webhook-timestamp'],
        receiver.events[index]?.headers['webhook-timestamp'],
      )
      assert.equal(request?.body_sha256, attempts[0]?.request?.body_sha256)
    }
  })

  test('of which nothing left has no request, and tells how far it came', async () => {
    await createEndpoint('http://localhost:9/', 'nobody.*')
    const [attempt] = await attemptsOf(await publish('nobody.there'))
    assert.match(attempt?.error ?? '', /No connection to/)
    assert.equal(attempt?.request, null)
    assert.equal(typeof attempt?.timings.lookup_ms, 'number')
    assert.deepEqual([attempt?.timings.connect_ms, attempt?.timings.first_byte_ms], [null, null])
  })
})
