import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, describe, test } from 'node:test'
import { createClient, eventually, startBackend, startPipeCore } from './harness.ts'
import type { Connection, Message } from './mission-world.ts'
import { assertNoSecrets, type Seeds, seedsOf } from './secrets.ts'

/** Credentials of one tenant at providers that tell everything they are told. */
const credentials = {
  twilio: {
    accountSid: 'AC_leaky',
    authToken: 'fakeLeakyAuthToken0123456789abcdef',
    apiKeySid: 'SK_leaky',
    apiKeySecret: 'fakeLeakyApiKeySecret/with+signs',
    phoneNumber: '+15005550006',
    whatsappNumber: '+15005550006',
  },
  meta: {
    accessToken: 'EAAfakeLeakyAccessToken0123456789',
    phoneNumberId: 'leaky_number',
    verifyToken: 'fake leaky verify "token"',
    appSecret: 'fakeleakyappsecret0123456789abcd',
  },
  sendgrid: { apiKey: 'SG.fakeLeakyKey.0123456789-abc_def', fromEmail: 'noreply@leaky.com' },
  resend: {
    apiKey: 're_fakeLeakyKey_0123456789',
    fromEmail: 'noreply@leaky.com',
    webhookSecret: `whsec_${Buffer.from('fake leaky signing secret').toString('base64')}`,
  },
}
const channelOf = { twilio: 'sms', meta: 'whatsapp', sendgrid: 'email', resend: 'email' } as const
const secretFields = [
  'authToken',
  'apiKeySecret',
  'accessToken',
  'verifyToken',
  'appSecret',
  'apiKey',
  'webhookSecret',
]
const bearer = 'fakeLeakyBearer.0123456789.abcdef'

const provider = await startTelltale()
const sandbox = {
  url: provider.url,
  control: () => Promise.reject(new Error('there is no sandbox here')),
  providerUrls: Object.fromEntries(
    Object.keys(credentials).map((id) => [`PROVIDER_URL_${id.toUpperCase()}`, `${provider.url}/${id}`]),
  ),
}
const pipecore = await startPipeCore({ after }, { sandbox })
const admin = createClient(pipecore.url, pipecore.adminKey)
const backend = await startBackend({ after })
const seeds: Record<string, string> = { ...credentialSeeds(), bearer, ...pipecoreSeeds() }

await admin.ok('POST', '/products', { id: 'leaky', name: 'Leaky' })
await admin.ok('POST', '/tenants', { id: 'leaky_1', product_id: 'leaky', name: 'Leaky' })
seeds['productKey'] = (await admin.ok<{ key: string }>('POST', '/products/leaky/keys', {})).key
const caller = admin.as(seeds['productKey'])
const endpoint = await caller.ok<{ id: string; secret: string }>('POST', '/webhooks/endpoints', {
  url: `${backend.url}/hooks`,
  tenant_id: 'leaky_1',
  headers: { Authorization: `Bearer ${bearer}`, 'X-Api-Key': bearer },
})
seeds['endpointSecret'] = endpoint.secret
backend.trust(endpoint.secret)
const connections: Connection[] = []

describe('a tenant’s secrets', () => {
  for (const [id, given] of Object.entries(credentials)) {
    const channel = channelOf[id as keyof typeof channelOf]
    const config = { tenantId: 'leaky_1', channel, provider: id, credentials: given, isActive: true }

    test(`${id}: are taken, also refused beside a fault, and shown by nobody`, async () => {
      const faulty = { ...config, credentials: { ...given, unknown: 'field' } }
      assert.equal((await caller.call('POST', '/messaging/config/provider', faulty)).status, 422)
      connections.push(await caller.ok<Connection>('POST', '/messaging/config/provider', config))
      await caller.ok('GET', '/messaging/config/leaky_1')
    })

    test(`${id}: are hidden in what the provider tells back, whatever it answers`, async () => {
      if (channel === 'whatsapp') await openWindow('leaky_number')
      const body =
        channel === 'email'
          ? { to: 'ana@email.com', subject: 'Hola', textContent: 'Hola' }
          : { to: '+56988888888', body: 'Hola' }
      for (const mode of modes) {
        provider.answerWith(mode)
        const message = await caller.ok<Message>('POST', `/messaging/send/${channel}`, {
          tenant_id: 'leaky_1',
          ...body,
        })
        const story = await eventually(async () => {
          const answer = await caller.call<Story>('GET', `/messaging/messages/${message.id}`)
          return answer.body.attempts.some(({ outcome }) => outcome !== null) && answer
        })
        if (mode === 'refuse') assert.match(story.text, /you said/, 'nothing was told back')
      }
      provider.answerWith('refuse')
      const check = await caller.ok<{ notes: string[] }>(
        'POST',
        `/messaging/config/leaky_1/${connections.at(-1)?.id}/check`,
      )
      assert.match(check.notes.join(' '), /you said/)
    })
  }

  test('an endpoint’s secret and headers are hidden in what the backend tells back', async () => {
    const { secret } = await caller.ok<{ secret: string }>(
      'POST',
      `/webhooks/endpoints/${endpoint.id}/rotate`,
      {
        overlap_hours: 1,
      },
    )
    seeds['newEndpointSecret'] = secret
    backend.trust(secret)
    const basic = Buffer.from(`user:${bearer}`).toString('base64')
    backend.answerWith(500, `you said Bearer ${bearer}, ${basic}, ${secret} and ${endpoint.secret}`)
    const tried = await caller.ok<{ response: string }>('POST', `/webhooks/endpoints/${endpoint.id}/test`)
    assert.match(tried.response, /you said/)
    const { id } = await caller.ok<Message>('POST', '/messaging/send/sms', {
      tenant_id: 'leaky_1',
      to: '+56988888888',
      body: 'Hola',
    })
    await eventually(async () => {
      const story = await caller.call('GET', `/messaging/messages/${id}`)
      return story.text.includes('you said') && story
    })
    backend.answerWith(204)
  })

  test('a webhook that names them is kept without them', async () => {
    const path = '/messaging/webhook/whatsapp?tenant_id=leaky_1&provider=meta'
    const token = encodeURIComponent(credentials.meta.verifyToken)
    const nobody = admin.as(undefined)
    await nobody.call('GET', `${path}&hub.mode=other&hub.challenge=1&hub.verify_token=${token}`)
    await nobody.call('GET', `${path}&hub.mode=subscribe&hub.challenge=1&hub.verify_token=${token}`)
    await nobody.call('POST', path, '{}', {
      authorization: `Bearer ${bearer}`,
      cookie: `session=${bearer}`,
      'x-api-key': bearer,
    })
    const { data } = await caller.ok<{ data: Array<{ id: string }> }>(
      'GET',
      '/webhooks/inbound?tenant_id=leaky_1&state=refused',
    )
    assert.ok(data.length >= 2)
    for (const { id } of data) await caller.ok('GET', `/webhooks/inbound/${id}?tenant_id=leaky_1`)
  })
})

describe('the installation’s secrets', () => {
  test('a key in the wrong place is not written down', async () => {
    const key = seeds['productKey'] ?? ''
    const nobody = admin.as(undefined)
    await nobody.call('GET', `/tenants?key=${key}`)
    await nobody.call('GET', '/tenants', undefined, { 'x-api-key': key, authorization: `Token ${key}` })
    await nobody.call('GET', `/nowhere?authorization=Bearer%20${key}`)
    await caller.call('GET', `/tenants?key=${key}`)
    await caller.call('POST', '/messaging/send/sms', `{"tenant_id":"leaky_1","key":"${key}`)
  })

  test('a database that goes away in the middle of the work costs no secret', async () => {
    const calls = Array.from({ length: 10 }, () => caller.call('GET', '/messaging/logs/leaky_1'))
    await pipecore.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
    await Promise.all(calls)
    await eventually(async () => (await caller.call('GET', '/messaging/logs/leaky_1')).status === 200)
  })

  for (const [setting, value] of Object.entries({
    PIPECORE_MASTER_KEY: 'fakeMasterKeyThatIsTooShort',
    PIPECORE_ADMIN_KEY: 'fakeShortAdminKey',
  })) {
    test(`a wrong ${setting} is named, not told`, async () => {
      const starting = startPipeCore({ after }, { sandbox, env: { [setting]: value } })
      await assert.rejects(starting, (error: Error) => {
        assert.match(error.message, new RegExp(setting))
        assert.ok(!error.message.includes(value), error.message)
        return true
      })
    })
  }
})

test('no secret stands in any log line, answer, event or row', async () => {
  await assertNoSecrets({ pipecore, client: admin, events: backend.events }, seeds)
})

interface Story {
  attempts: Array<{ outcome: string | null }>
}

function credentialSeeds(): Seeds {
  return Object.fromEntries(
    Object.entries(credentials).flatMap(([id, given]) =>
      Object.entries(given)
        .filter(([field]) => secretFields.includes(field))
        .map(([field, secret]) => [`${id}.${field}`, secret]),
    ),
  )
}

function pipecoreSeeds(): Seeds {
  const { adminKey = '', masterKey = '', databasePassword = '' } = seedsOf(pipecore)
  return { adminKey, masterKey, databasePassword }
}

/** As if the customer had just written, which no provider here can tell. */
async function openWindow(sender: string): Promise<void> {
  await pipecore.query(
    "insert into whatsapp_windows (tenant_id, sender, contact, last_inbound_at) values ('leaky_1', $1, '+56988888888', now())",
    [sender],
  )
}

const modes = ['refuse', 'limit', 'fail', 'html', 'odd', 'cut'] as const
type Mode = (typeof modes)[number]

/** A provider that puts into its answer, in every provider's form, all that it was sent. */
async function startTelltale() {
  let mode: Mode = 'refuse'
  const server = createServer((request, response) => {
    void readAll(request).then((body) => {
      const text = `you said ${tellBack(request, body)}`
      const error = { message: text, error_user_msg: text, code: 190 }
      const json = JSON.stringify({
        message: text,
        name: 'validation_error',
        more_info: text,
        error,
        errors: [error],
      })
      const type = { 'content-type': mode === 'html' ? 'text/html' : 'application/json', 'x-told': text }
      if (mode === 'cut') request.socket.destroy()
      else if (mode === 'html') response.writeHead(502, type).end(`<h1>${text}</h1>`)
      else if (mode === 'odd') response.writeHead(200, type).end(`"${text}`)
      else response.writeHead({ refuse: 400, limit: 429, fail: 500 }[mode], type).end(json)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answerWith: (next: Mode) => {
      mode = next
    },
  }
}

function tellBack(request: IncomingMessage, body: string): string {
  const { authorization = '' } = request.headers
  const decoded = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString('latin1')
  const printable = decoded.replaceAll(/[^\x20-\x7e]/g, '')
  return [authorization, printable, encodeURIComponent(authorization), request.url, body.slice(0, 200)]
    .join(' | ')
    .replaceAll(/[^\x20-\x7e]/g, '')
}

async function readAll(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
