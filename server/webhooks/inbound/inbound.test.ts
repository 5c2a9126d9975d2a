import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { startTestServer, type TestServer } from '../../testing/server.ts'

const appSecret = 'fake-app-secret-of-genda'
const path = '/messaging/webhook/whatsapp?tenant_id=genda_456&provider=meta'

let server: TestServer
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  server = await startTestServer({ after: (work) => void cleanups.push(work) })
  await server.api.call('POST', '/products', { id: 'genda', name: 'Genda' })
  await server.api.call('POST', '/tenants', { id: 'genda_456', product_id: 'genda', name: 'Clinic' })
  await server.api.call('POST', '/messaging/config/provider', {
    tenantId: 'genda_456',
    channel: 'whatsapp',
    provider: 'meta',
    credentials: {
      accessToken: 'meta_genda_access_token',
      phoneNumberId: 'genda_phone',
      verifyToken: 'genda_verify_token',
      appSecret,
    },
  })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

function inbound(id: string, phoneNumberId = 'genda_phone'): string {
  const message = { from: '56988888888', id, timestamp: '1750000000', type: 'text', text: { body: 'hola' } }
  const value = {
    messaging_product: 'whatsapp',
    metadata: { phone_number_id: phoneNumberId },
    messages: [message],
  }
  return JSON.stringify({
    object: 'whatsapp_business_account',
    entry: [{ id: 'waba', changes: [{ field: 'messages', value }] }],
  })
}

async function post(body: string, secret = appSecret): Promise<{ status: number; text: string }> {
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
  const response = await fetch(server.server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature },
    body,
  })
  return { status: response.status, text: await response.text() }
}

async function listWebhooks(state: string): Promise<Array<{ failed_check: string | null; id: string }>> {
  const answer = await server.api.call<{ data: Array<{ failed_check: string | null; id: string }> }>(
    'GET',
    `/webhooks/inbound?tenant_id=genda_456&state=${state}&limit=200`,
  )
  return answer.body.data
}

async function countMessages(): Promise<number> {
  const answer = await server.api.call<{ data: unknown[] }>(
    'GET',
    '/messaging/logs/genda_456?direction=in&limit=200',
  )
  return answer.body.data.length
}

async function untilMessages(count: number): Promise<void> {
  const deadline = performance.now() + 30_000
  while ((await countMessages()) < count) {
    assert.ok(performance.now() < deadline, `still ${await countMessages()} messages`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('what providers send', () => {
  test('is verified, stored as it came and becomes one message, however often it comes', async () => {
    const body = inbound('wamid.one')
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(body)))
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([200]))
    await untilMessages(1)
    await post(inbound('wamid.two'))
    await untilMessages(2)
    assert.equal(await countMessages(), 2)
    const [newest] = await listWebhooks('stored')
    const raw = await server.api.call<{ body: string; body_encoding: string }>(
      'GET',
      `/webhooks/inbound/${newest?.id}?tenant_id=genda_456`,
    )
    assert.deepEqual([raw.body.body_encoding, raw.body.body], ['utf-8', inbound('wamid.two')])
  })

  test('is refused and kept with the failed check when forged or about another account', async () => {
    const forged = await post(inbound('wamid.forged'), 'wrong-secret')
    const foreign = await post(inbound('wamid.foreign', 'phone_of_somebody_else'))
    assert.deepEqual([forged.status, foreign.status], [403, 403])
    const checks = (await listWebhooks('refused')).map((webhook) => webhook.failed_check)
    assert.deepEqual(checks, ['owner', 'signature'])
  })

  test('a flood of forgeries is answered but does not fill the vault', async () => {
    const answers = await Promise.all(
      Array.from({ length: 150 }, () => post(inbound('wamid.flood'), 'wrong-secret')),
    )
    assert.ok(answers.every((answer) => answer.status === 403))
    assert.ok(
      (await listWebhooks('refused')).length <= 122,
      'at most 60 in each of two minutes, and those before',
    )
  })

  test('a set-up challenge is answered only with the right token', async () => {
    const challenge = (token: string) =>
      fetch(
        `${server.server.url}${path}&hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=${token}`,
      )
    const right = await challenge('genda_verify_token')
    assert.deepEqual([right.status, await right.text()], [200, '1158201444'])
    assert.equal((await challenge('wrong')).status, 403)
  })

  test('of an unknown tenant or provider is 4xx and leaves nothing', async () => {
    const call = (query: string) =>
      fetch(`${server.server.url}/messaging/webhook/whatsapp?${query}`, { method: 'POST', body: '{}' })
    assert.equal((await call('tenant_id=nobody&provider=meta')).status, 404)
    assert.equal((await call('tenant_id=genda_456&provider=nobody')).status, 422)
    assert.equal((await call('tenant_id=genda_456&provider=twilio')).status, 404)
  })
})
