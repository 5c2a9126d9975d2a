import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { before, test } from 'node:test'
import { sql } from 'kysely'
import { Webhook } from 'standardwebhooks'
import { type ReceivedEvent, startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Endpoint, EndpointWithSecret } from '../schema.ts'
import type { PublishedKeys } from './schema.ts'

let server: TestServer
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  await server.api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  await server.api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'shop', name: 'a' })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function makeEndpoint(url: string, signing?: string): Promise<EndpointWithSecret> {
  const input = { url, tenant_id: 'tenant_a', events: ['never.sent'], signing }
  const { status, body } = await server.api.call<EndpointWithSecret>('POST', '/webhooks/endpoints', input)
  assert.equal(status, 201, JSON.stringify(body))
  return body
}

async function rotate(id: string, body: object = {}): Promise<EndpointWithSecret> {
  return (await server.api.call<EndpointWithSecret>('POST', `/webhooks/endpoints/${id}/rotate`, body)).body
}

/** As anybody reads them, without a key. */
async function publishedKeys(id: string): Promise<PublishedKeys> {
  const response = await fetch(`${server.server.url}/webhooks/keys/${id}`)
  assert.equal(response.status, 200)
  assert.match(response.headers.get('cache-control') ?? '', /^public, max-age=\d+$/)
  return (await response.json()) as PublishedKeys
}

/** With nothing but the published key, and nothing of ours. */
function isSignedBy(key: string, { headers, text }: ReceivedEvent): boolean {
  const x = Buffer.from(key.replace('whpk_', ''), 'base64').toString('base64url')
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const content = Buffer.from(
    `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${text}`,
  )
  return signaturesOf({ headers }).some((signature) => {
    const [scheme, value = ''] = signature.split(',')
    return scheme === 'v1a' && verify(null, content, publicKey, Buffer.from(value, 'base64'))
  })
}

function signaturesOf({ headers }: Pick<ReceivedEvent, 'headers'>): string[] {
  return String(headers['webhook-signature']).split(' ')
}

test('an ed25519 endpoint is verified with its published key alone, which signs for no other', async () => {
  const receiver = await startReceiver(keep)
  const send = async (id: string) => {
    await server.api.call('POST', `/webhooks/endpoints/${id}/test`)
    const event = receiver.events.at(-1)
    assert.ok(event)
    return event
  }
  const endpoint = await makeEndpoint(receiver.url, 'ed25519')
  assert.equal(endpoint.secret, null)
  const { keys } = await publishedKeys(endpoint.id)
  assert.deepEqual(endpoint.public_keys, keys)
  const key = keys[0]?.key ?? ''
  const event = await send(endpoint.id)
  assert.equal(isSignedBy(key, event), true)
  assert.equal(isSignedBy(key, { ...event, text: `${event.text} ` }), false)
  const other = await makeEndpoint(receiver.url, 'ed25519')
  assert.equal(isSignedBy(key, await send(other.id)), false)
})

test('a rotation publishes both keys while both sign, and may change the scheme', async () => {
  const receiver = await startReceiver(keep)
  const send = async () => {
    await server.api.call('POST', `/webhooks/endpoints/${id}/test`)
    return receiver.events.at(-1) as ReceivedEvent
  }
  const { id, secret } = await makeEndpoint(receiver.url)
  assert.equal((await fetch(`${server.server.url}/webhooks/keys/${id}`)).status, 404)
  const changed = await rotate(id, { overlap_hours: 1, signing: 'ed25519' })
  assert.deepEqual([changed.signing, changed.secret, changed.public_keys.length], ['ed25519', null, 1])
  const first = changed.public_keys[0]?.key ?? ''
  const both = await send()
  new Webhook(secret ?? '').verify(both.text, both.headers as Record<string, string>)
  assert.equal(isSignedBy(first, both), true)
  offsetMs += 2 * 3_600_000
  const rotated = await rotate(id, { overlap_hours: 1 })
  const [second, old] = (await publishedKeys(id)).keys
  assert.deepEqual([old?.key, old?.expires_at], [first, rotated.previous_secret_expires_at])
  const during = await send()
  assert.deepEqual([isSignedBy(second?.key ?? '', during), isSignedBy(first, during)], [true, true])
  offsetMs += 2 * 3_600_000
  assert.deepEqual((await publishedKeys(id)).keys, [second])
  const after = await send()
  assert.deepEqual([isSignedBy(first, after), signaturesOf(after).length], [false, 1])
})

test('the private key is in no answer and sealed at rest', async () => {
  const receiver = await startReceiver(keep)
  const { id } = await makeEndpoint(receiver.url, 'ed25519')
  const answers = [
    await rotate(id),
    (await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${id}`)).body,
    await publishedKeys(id),
  ]
  assert.doesNotMatch(JSON.stringify(answers), /whsk_/)
  const { rows } = await sql<{
    row: string
  }>`select endpoints::text as row from endpoints where id = ${id}`.execute(
    server.server.context.database.system,
  )
  assert.match(rows[0]?.row ?? '', /whpk_/)
  assert.doesNotMatch(rows[0]?.row ?? '', /whsk_/)
})

test('of an endpoint that is not there, deleted, or shares a secret nothing is known', async () => {
  const { id } = await makeEndpoint('http://127.0.0.1:9/', 'ed25519')
  await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  for (const unknown of [id, 'end_none', (await makeEndpoint('http://127.0.0.1:9/')).id]) {
    const response = await fetch(`${server.server.url}/webhooks/keys/${unknown}`)
    assert.deepEqual(
      [response.status, ((await response.json()) as { code: string }).code],
      [404, 'endpoint_not_found'],
    )
  }
})
