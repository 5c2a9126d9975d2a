import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { signMeta } from '../signatures.ts'
import { startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Received, TestSandbox } from '../test-receiver.ts'

const NUMBER = '106540352242922'
const SECRET = 'app-secret-0123456789'
const CUSTOMER = '16505551234'
const TEXT = {
  messaging_product: 'whatsapp',
  recipient_type: 'individual',
  to: `+${CUSTOMER}`,
  type: 'text',
  text: { body: '¡hola!' },
}

type Body = Record<string, unknown>

async function start(t: TestContext) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const account = {
    token: 'EAA-fake',
    app_secret: SECRET,
    waba_id: '102290129340398',
    webhook_url: `${receiver.url}/wa?tenant_id=t_1`,
  }
  await sandbox.control('PUT', `/accounts/meta/${NUMBER}`, account)
  return { sandbox, receiver, write: (input: Body) => sandbox.control('POST', '/inbound/meta', input) }
}

async function graph(
  sandbox: TestSandbox,
  path: string,
  body?: unknown,
  options: { token?: string; method?: string; version?: string } = {},
) {
  const answer = await fetch(`${sandbox.providerUrls.meta}/${options.version ?? 'v23.0'}/${path}`, {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${options.token ?? 'EAA-fake'}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const told = (await answer.json()) as Body
  return { status: answer.status, body: told, error: told['error'] as Body | undefined }
}

/** `value` of every entry of a webhook. */
function valuesOf(received: Received): Body[] {
  const { entry } = JSON.parse(received.body.toString()) as {
    entry: Array<{ changes: Array<{ value: Body }> }>
  }
  return entry.map(({ changes }) => changes[0]!.value)
}

function statusesOf(received: Received): Body[] {
  return valuesOf(received).flatMap(({ statuses }) => (statuses as Body[] | undefined) ?? [])
}

test('text inside the window is sent, delivered and read, each status signed over its raw bytes', async (t) => {
  const { sandbox, receiver, write } = await start(t)
  await write({ from: `+${CUSTOMER}`, text: '¿abren hoy? 👋' })
  const sent = await graph(
    sandbox,
    `${NUMBER}/messages`,
    { ...TEXT, biz_opaque_callback_data: 'msg_1' },
    { version: 'v31.0' },
  )
  assert.equal(sent.status, 200)
  const [{ id }] = sent.body['messages'] as [{ id: string }]
  assert.deepEqual(sent.body['contacts'], [{ input: `+${CUSTOMER}`, wa_id: CUSTOMER }])
  const webhooks = await receiver.waitFor(4)
  for (const webhook of webhooks) {
    assert.equal(webhook.headers['x-hub-signature-256'], signMeta(SECRET, webhook.body))
    assert.ok(!/[^\0-\x7f]/.test(webhook.body.toString()), 'only ASCII travels')
    assert.deepEqual(valuesOf(webhook)[0]!['metadata'], {
      display_phone_number: '15555265087',
      phone_number_id: NUMBER,
    })
  }
  const statuses = webhooks.flatMap(statusesOf)
  assert.deepEqual(
    statuses.map(({ status }) => status),
    ['sent', 'delivered', 'read'],
  )
  for (const status of statuses) {
    assert.equal(status['id'], id)
    assert.equal(status['recipient_id'], CUSTOMER)
    assert.equal(status['biz_opaque_callback_data'], 'msg_1')
    assert.ok(status['pricing'])
  }
})

test('the window is 24 hours per sender and customer: before and after it text gets 131047, a template goes', async (t) => {
  const { sandbox, write } = await start(t)
  const send = () => graph(sandbox, `${NUMBER}/messages`, TEXT)
  assert.equal((await send()).error?.['code'], 131047)
  const template = { name: 'order_ready', language: { code: 'es' } }
  assert.equal(
    (await graph(sandbox, `${NUMBER}/messages`, { ...TEXT, type: 'template', template })).status,
    200,
  )
  await write({ from: CUSTOMER, text: 'hola' })
  assert.equal((await send()).status, 200)
  assert.equal(
    (await graph(sandbox, `${NUMBER}/messages`, { ...TEXT, to: '16505550000' })).error?.['code'],
    131047,
  )
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 24 * 3_600_000 })
  assert.equal((await send()).error?.['code'], 131047)
})

test('the closed window can be told by webhook instead, as Meta sometimes does', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PATCH', '/settings', { window: 'callback' })
  assert.equal((await graph(sandbox, `${NUMBER}/messages`, TEXT)).status, 200)
  const [webhook] = await receiver.waitFor(1)
  const [status] = statusesOf(webhook!)
  assert.equal(status!['status'], 'failed')
  assert.equal((status!['errors'] as Body[])[0]!['code'], 131047)
})

const refusals: Array<[name: string, change: Body, code: number]> = [
  ['no messaging_product', { messaging_product: undefined }, 100],
  ['no recipient', { to: undefined }, 100],
  ['a recipient that is no number', { to: '12' }, 131009],
  ['an unknown type', { type: 'fax' }, 100],
  ['no text', { text: {} }, 131008],
  ['too long a text', { text: { body: 'x'.repeat(4_097) } }, 100],
  ['media of nowhere', { type: 'image', image: { caption: 'x' } }, 131008],
  ['media never uploaded', { type: 'image', image: { id: '42' } }, 131053],
  ['a caption on audio', { type: 'audio', audio: { link: 'https://a.example/1.ogg', caption: 'x' } }, 100],
  ['a template without a language', { type: 'template', template: { name: 'x' } }, 131008],
  [
    'a template that is not there',
    { type: 'template', template: { name: 'missing_one', language: { code: 'es' } } },
    132001,
  ],
  ['correlation that is no text', { biz_opaque_callback_data: 7 }, 100],
]
for (const [name, change, code] of refusals) {
  test(`a send with ${name} is refused with ${code} and has no effect`, async (t) => {
    const sandbox = await startTestSandbox(t)
    await sandbox.control('PATCH', '/settings', { window: 'off' })
    const { status, error } = await graph(sandbox, `${NUMBER}/messages`, { ...TEXT, ...change })
    assert.ok(status >= 400 && status < 500)
    assert.equal(error?.['code'], code)
    assert.ok(error?.['fbtrace_id'])
    assert.equal(sandbox.world.messages.size, 0)
  })
}

test('a wrong, missing or invalid token is 401 with code 190', async (t) => {
  const { sandbox } = await start(t)
  for (const token of ['another', 'invalid-token']) {
    const { status, error } = await graph(sandbox, `${NUMBER}/messages`, TEXT, { token })
    assert.deepEqual([status, error?.['code']], [401, 190])
  }
  assert.equal((await fetch(`${sandbox.providerUrls.meta}/v23.0/${NUMBER}`)).status, 401)
  assert.equal((await graph(sandbox, NUMBER)).body['id'], NUMBER)
})

test('templates that exist are checked for language and number of parameters', async (t) => {
  const { sandbox } = await start(t)
  const waba = '102290129340398'
  const components = [{ type: 'BODY', text: 'Hola {{1}}, tu pedido {{2}} está listo' }]
  await graph(sandbox, `${waba}/message_templates`, {
    name: 'order_ready',
    language: 'es',
    category: 'UTILITY',
    components,
  })
  const use = (code: string, values: string[]) => {
    const parameters = values.map((text) => ({ type: 'text', text }))
    const template = { name: 'order_ready', language: { code }, components: [{ type: 'body', parameters }] }
    return graph(sandbox, `${NUMBER}/messages`, { ...TEXT, type: 'template', template })
  }
  assert.equal((await use('en_US', ['Ana', '7'])).error?.['code'], 132001)
  assert.equal((await use('es', ['Ana'])).error?.['code'], 132000)
  assert.equal((await use('es', ['Ana', '7'])).status, 200)
  const listed = await graph(sandbox, `${waba}/message_templates?name=order_ready`)
  assert.equal((listed.body['data'] as Body[])[0]!['status'], 'APPROVED')
})

test('a callback override is accepted only after the challenge was echoed; the number goes before the WABA', async (t) => {
  const { sandbox, receiver, write } = await start(t)
  const waba = '102290129340398'
  const subscribe = (uri: string, verifyToken: string) =>
    graph(sandbox, `${waba}/subscribed_apps`, { override_callback_uri: uri, verify_token: verifyToken })
  const wrong = await subscribe(`${receiver.url}/waba`, 'wrong-token')
  assert.equal(wrong.error?.['code'], 2200)
  assert.deepEqual((await subscribe(`${receiver.url}/waba?tenant_id=t_1`, 'verify-t1')).body, {
    success: true,
  })
  await write({ from: CUSTOMER, text: 'uno' })
  assert.match(receiver.received.at(-1)!.url, /\/waba\?tenant_id=t_1$/)
  const configuration = { override_callback_uri: `${receiver.url}/number`, verify_token: 'verify-t1' }
  await graph(sandbox, NUMBER, { webhook_configuration: configuration })
  await write({ from: CUSTOMER, text: 'dos' })
  assert.match(receiver.received.at(-1)!.url, /\/number$/)
})

test('a customer sends media: its address wants the token and lives five minutes', async (t) => {
  const { sandbox, receiver, write } = await start(t)
  const bytes = Buffer.from('not really a jpeg')
  const media = {
    kind: 'image',
    content_type: 'image/jpeg',
    content_base64: bytes.toString('base64'),
    caption: 'mira',
  }
  await write({ from: CUSTOMER, media })
  const [message] = valuesOf(receiver.received[0]!)[0]!['messages'] as Array<{ image: { id: string } }>
  const { body } = await graph(sandbox, `${message!.image.id}?phone_number_id=${NUMBER}`)
  assert.equal(body['sha256'], createHash('sha256').update(bytes).digest('hex'))
  const download = (token: string) =>
    fetch(String(body['url']), { headers: { authorization: `Bearer ${token}` } })
  assert.equal((await download('another')).status, 401)
  assert.deepEqual(Buffer.from(await (await download('EAA-fake')).arrayBuffer()), bytes)
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 5 * 60_000 + 1 })
  assert.equal((await download('EAA-fake')).status, 404)
})

test('uploaded media can be sent', async (t) => {
  const { sandbox, write } = await start(t)
  await write({ from: CUSTOMER, text: 'hola' })
  const form = new FormData()
  form.set('messaging_product', 'whatsapp')
  form.set('file', new Blob(['x'], { type: 'application/pdf' }), 'menu.pdf')
  const headers = { authorization: 'Bearer EAA-fake' }
  const uploaded = await fetch(`${sandbox.providerUrls.meta}/v23.0/${NUMBER}/media`, {
    method: 'POST',
    headers,
    body: form,
  })
  const { id } = (await uploaded.json()) as { id: string }
  const sent = await graph(sandbox, `${NUMBER}/messages`, {
    ...TEXT,
    type: 'document',
    document: { id, filename: 'menu.pdf' },
  })
  assert.equal(sent.status, 200)
})

test('a user with a username has no phone: only user_id comes, and the window opens for it', async (t) => {
  const { sandbox, receiver, write } = await start(t)
  await write({ user_id: 'US.1349', text: 'hola' })
  const [value] = valuesOf(receiver.received[0]!)
  const [message] = value!['messages'] as Body[]
  assert.equal(message!['from'], undefined)
  assert.equal(message!['from_user_id'], 'US.1349')
  const { to: _, ...rest } = TEXT
  const sent = await graph(sandbox, `${NUMBER}/messages`, { ...rest, recipient: 'US.1349' })
  assert.deepEqual(sent.body['contacts'], [{ input: 'US.1349', user_id: 'US.1349' }])
  const webhooks = await receiver.waitFor(4)
  assert.ok(
    webhooks
      .flatMap(statusesOf)
      .every((status) => status['recipient_user_id'] === 'US.1349' && !('recipient_id' in status)),
  )
})

test('several customers’ messages share one webhook, an entry each; buttons, places and reactions keep their shape', async (t) => {
  const { receiver, write } = await start(t)
  await write({
    from: CUSTOMER,
    button: { text: 'Sí', payload: 'yes' },
    batch: [
      { from: '5491100000000', reply_button: { id: 'b1', title: 'Confirmar' }, reply_to: 'wamid.X' },
      { from: '5491100000001', location: { latitude: -33.4, longitude: -70.6 } },
    ],
  })
  const messages = valuesOf(receiver.received[0]!).flatMap(({ messages: list }) => list as Body[])
  assert.deepEqual(
    messages.map(({ type }) => type),
    ['button', 'interactive', 'location'],
  )
  assert.deepEqual(messages[0]!['button'], { text: 'Sí', payload: 'yes' })
  assert.deepEqual((messages[1]!['context'] as Body)['id'], 'wamid.X')
})

test('marking a received message as read is accepted, an unknown one is refused', async (t) => {
  const { sandbox, write } = await start(t)
  const { message_ids: ids } = await write({ from: CUSTOMER, text: 'hola' })
  const mark = (id: unknown) =>
    graph(sandbox, `${NUMBER}/messages`, { messaging_product: 'whatsapp', status: 'read', message_id: id })
  assert.deepEqual((await mark((ids as string[])[0])).body, { success: true })
  assert.equal((await mark('wamid.unknown')).error?.['code'], 131009)
})
