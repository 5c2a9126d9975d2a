import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { z } from 'zod'
import type { Provider } from '#connections'
import type { JobDefinition } from '#core/module.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import { recallWebhook, receiveWebhook, type StoredWebhook } from './inbound.ts'

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

const anybody: Provider<null> = {
  id: 'anybody',
  title: 'Anybody',
  baseUrl: '',
  credentials: z.null(),
  verify: () => ({ ok: true }),
  owns: () => true,
  acknowledgement: { status: 200 },
  check: async () => ({ ok: true, summary: '', notes: [] }),
}

function jobNamed(name: string): JobDefinition<StoredWebhook> {
  const payload = z.strictObject({ webhook_id: z.string() })
  return { name, payload, attempts: 1, timeoutSeconds: 1, run: async () => undefined }
}

/** Those taken at once are stored together. */
function take(job: JobDefinition<StoredWebhook>) {
  const body = Buffer.from('{}')
  const webhook = { method: 'POST', publicUrl: '', query: new URLSearchParams(), headers: {}, body }
  return receiveWebhook(server.server.context, webhook, {
    scope: { tenantId: 'genda_456', productId: 'genda', traceId: 'trace' },
    capability: 'anything',
    provider: anybody,
    connections: [{ id: 'con_anybody', version: 1, provider: anybody, credentials: null }],
    job,
  })
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

  test('is of its tenant only, also while it is remembered', async () => {
    const { context } = server.server
    await post(inbound('wamid.remembered'))
    const [newest] = await listWebhooks('stored')
    const load = (tenantId: string) => {
      const scope = { tenantId, productId: 'genda', traceId: 'trace' }
      return recallWebhook(context, scope, newest?.id ?? '')
    }
    const { row, webhook } = await load('genda_456')
    assert.deepEqual([row.id, webhook.body.toString()], [newest?.id, inbound('wamid.remembered')])
    await assert.rejects(load('somebody_else'), { code: 'webhook_not_found' })
  })

  test('is stored and told as stored, though what came with it for another module can not be', async () => {
    const before = (await listWebhooks('stored')).length
    const taken = await Promise.allSettled([
      take(jobNamed('one')),
      take(jobNamed('two')),
      take(jobNamed('\0')),
    ])
    assert.deepEqual(
      taken.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    assert.equal((await listWebhooks('stored')).length, before + 2)
  })

  test('is told as stored where the answer of the database about all that came with it is lost', async (t) => {
    const { database } = server.server.context
    const { system } = database
    t.after(() => void (database.system = system))
    const lost: object[] = []
    database.system = system.withPlugin({
      transformQuery: ({ node, queryId }) => {
        if (lost.length === 0 && JSON.stringify(node).includes('into inbound_webhooks')) lost.push(queryId)
        return node
      },
      transformResult: async ({ result, queryId }) => {
        if (lost.includes(queryId)) throw new Error('Connection terminated unexpectedly')
        return result
      },
    })
    const before = (await listWebhooks('stored')).length
    const job = jobNamed('three')
    await Promise.all([take(job), take(job), take(job)])
    assert.equal(lost.length, 1)
    assert.equal((await listWebhooks('stored')).length, before + 3)
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
