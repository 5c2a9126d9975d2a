import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { seedFirstTenant } from '../scripts/first-tenant.ts'
import { findFreePort } from '../sandbox/free-port.ts'
import { until } from '../scripts/testing/until.ts'
import { startTestServer, type TestServer } from '../server/testing/server.ts'

type Handler = Parameters<typeof Deno.serve>[0]

const ends: Array<() => Promise<void>> = []
let pipecore: TestServer

before(async () => {
  pipecore = await startTestServer({ after: (end) => void ends.push(end) })
  await seedFirstTenant(pipecore.server)
})
after(async () => {
  await pipecore.sandbox.close()
  for (const end of ends) await end()
})

test('send-message.ts sends one message, however often it runs', async () => {
  const first = await run('send-message.ts')
  assert.match(first, /^msg_\w+ is (queued|sent|delivered) at twilio\n$/)
  const second = await run('send-message.ts')
  assert.equal(second.split(' ')[0], first.split(' ')[0])
})

test('send-template.ts sends the nearest language with its variables', async () => {
  const output = await run('send-template.ts')
  assert.match(output, /^es-CL gets es: Hola Juan, tu pedido ORD-123 está listo\.\nmsg_\w+ is /)
  const sent = [...pipecore.sandbox.world.messages.values()].map((message) => JSON.stringify(message))
  assert.ok(sent.some((message) => message.includes('tu pedido ORD-123 está listo')))
})

test('switch-provider.ts sends by Resend, checks SendGrid, then sends by it', async () => {
  const output = await run('switch-provider.ts')
  assert.match(output, /^The first goes by resend\.\nSendGrid .*[^]*The second goes by sendgrid\.\n$/)
})

test('publish-events.ts publishes one, a batch, and shows what is wrong with a bad one', async () => {
  const first = await run('publish-events.ts')
  assert.match(first, /^evt_\w+ is published\.\n2 more are published\.\n/)
  assert.deepEqual(first.split('\n').slice(2, -1).toSorted(), [
    '422: data.amount must be >= 1',
    '422: data.currency is missing',
    '422: data.tip is not a field here',
  ])
  const second = await run('publish-events.ts')
  assert.equal(second.split(' ')[0], first.split(' ')[0])
})

test('receive-events.ts makes its endpoint, takes signed events and nothing else', async (t) => {
  const port = await findFreePort()
  const receiver = await startReceiver(t, fileURLToPath(new URL('receive-events.ts', import.meta.url)), {
    ...settings(),
    PORT: String(port),
  })
  await checkReceiver(port, receiver)
})

test("the guide's receive-events.mjs takes signed events and nothing else", async (t) => {
  const port = await findFreePort()
  const secret = await createEndpoint(port)
  const path = await saveGuideFile(t, 'receive-events.mjs')
  const receiver = await startReceiver(t, path, { PIPECORE_WEBHOOK_SECRET: secret, PORT: String(port) })
  await checkReceiver(port, receiver)
})

for (const name of ['supabase-edge-function.ts', 'index.ts of the guide']) {
  test(`${name} hands signed events to the database, and nothing else`, async (t) => {
    const path = name.startsWith('index')
      ? await saveGuideFile(t, 'index.ts')
      : fileURLToPath(new URL(name, import.meta.url))
    const calls: Array<{ path: string; authorization: string | null; event: { event: string } }> = []
    const supabase = await listen(t, await findFreePort(), async (request) => {
      const { event } = (await request.json()) as { event: { event: string } }
      const authorization = request.headers.get('authorization')
      calls.push({ path: new URL(request.url).pathname, authorization, event })
      return new Response(null, { status: 204 })
    })
    const port = await findFreePort()
    const edgeFunction = await loadEdgeFunction(t, path, {
      PIPECORE_WEBHOOK_SECRET: await createEndpoint(port),
      SUPABASE_URL: supabase,
      SUPABASE_SERVICE_ROLE_KEY: 'fake_service_role_key',
    })
    await listen(t, port, edgeFunction)
    await send()
    await until(() => calls.some(({ event }) => event.event === 'message.delivered'))
    assert.deepEqual(
      [...new Set(calls.map((call) => `${call.path} ${call.authorization}`))],
      ['/rest/v1/rpc/handle_pipecore_event Bearer fake_service_role_key'],
    )
    const before = calls.length
    assert.equal(await postForged(port), 401)
    assert.equal(calls.length, before)
  })
}

/** What an example prints. Rejects when it fails. */
async function run(name: string): Promise<string> {
  const path = fileURLToPath(new URL(name, import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [path], { env: settings() })
  return stdout
}

function settings(): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    PIPECORE_URL: pipecore.server.url,
    PIPECORE_API_KEY: pipecore.adminKey,
  }
}

/** What it has printed so far. */
type Printed = () => string

async function startReceiver(t: TestContext, path: string, env: Record<string, string>): Promise<Printed> {
  const child = spawn(process.execPath, [path], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text))
  t.after(async () => {
    child.kill()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const port = Number(env.PORT)
  await until(async () => (await postForged(port).catch(() => undefined)) !== undefined)
  return () => printed
}

async function checkReceiver(port: number, printed: Printed): Promise<void> {
  const id = await send()
  await until(() => printed().includes(`message.delivered ${id}`))
  assert.equal(await postForged(port), 401)
  assert.ok(!printed().includes('forged'), printed())
}

async function send(): Promise<string> {
  const { body } = await pipecore.api.call<{ id: string }>('POST', '/messaging/send/sms', {
    tenant_id: 'tableflow_123',
    to: '+56988888888',
    body: 'Hola',
  })
  return body.id
}

async function postForged(port: number): Promise<number> {
  const headers = {
    'webhook-id': 'evt_forged',
    'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
    'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}`,
  }
  const body = JSON.stringify({ id: 'evt_forged', event: 'message.forged' })
  return (await fetch(`http://127.0.0.1:${port}/events`, { method: 'POST', headers, body })).status
}

async function createEndpoint(port: number): Promise<string> {
  const endpoint = { url: `http://127.0.0.1:${port}/events`, tenant_id: 'tableflow_123' }
  const { body } = await pipecore.api.call<{ secret: string }>('POST', '/webhooks/endpoints', endpoint)
  return body.secret
}

/** Saves a code block of the guide that a comment names. */
async function saveGuideFile(t: TestContext, name: string): Promise<string> {
  const guide = await readFile(new URL('../docs/guides/receiving-events.md', import.meta.url), 'utf8')
  const [, code] = guide.split(`<!-- file: ${name} -->\n`)[1]?.split(/^```\w*$/m) ?? []
  assert.ok(code !== undefined, `the guide has no file ${name}`)
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-guide-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, name)
  await writeFile(path, code)
  return path
}

/** Supabase's runtime in a few lines. */
async function loadEdgeFunction(
  t: TestContext,
  path: string,
  env: Readonly<Record<string, string>>,
): Promise<Handler> {
  let handler: Handler | undefined
  const runtime: typeof Deno = { env: { get: (name) => env[name] }, serve: (given) => void (handler = given) }
  Object.assign(globalThis, { Deno: runtime })
  t.after(() => void Reflect.deleteProperty(globalThis, 'Deno'))
  await import(pathToFileURL(path).href)
  assert.ok(handler !== undefined)
  return handler
}

async function listen(t: TestContext, port: number, answer: Handler): Promise<string> {
  const server = createServer((request, response) => {
    void serve(request, answer).then((status) => response.writeHead(status).end())
  })
  await once(server.listen(port, '127.0.0.1'), 'listening')
  t.after(() => server.close().closeAllConnections())
  return `http://127.0.0.1:${port}`
}

async function serve(request: IncomingMessage, answer: Handler): Promise<number> {
  const body = Buffer.concat((await request.toArray()) as Buffer[])
  const headers = Object.entries(request.headers).map(([name, value]): [string, string] => [
    name,
    String(value),
  ])
  return (await answer(new Request(`http://local${request.url}`, { method: 'POST', headers, body }))).status
}
