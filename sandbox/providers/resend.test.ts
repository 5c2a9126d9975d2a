import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Resend } from 'resend'
import { Webhook } from 'standardwebhooks'
import { startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Received, TestSandbox } from '../test-receiver.ts'

const KEY = 're_fake_key'
const SECRET = 'whsec_cGlwZWNvcmUtdGVzdC1zZWNyZXQtMzItYnl0ZXMhISE='
const MAIL = {
  from: 'TableFlow <noreply@tableflow.example>',
  to: 'ana@example.com',
  subject: 'Tu pedido',
  html: '<b>listo</b>',
  text: 'listo',
}

type Body = Record<string, unknown>

function sdkFor(sandbox: TestSandbox, key = KEY): Resend {
  return new Resend(key, { baseUrl: sandbox.providerUrls.resend })
}

function isGenuine(received: Received, secret = SECRET): boolean {
  const [id, timestamp, signature] = ['id', 'timestamp', 'signature'].map(
    (name) => received.headers[`svix-${name}`] ?? '',
  )
  const payload = received.body.toString()
  try {
    new Resend(KEY).webhooks.verify({
      payload,
      headers: { id: id!, timestamp: timestamp!, signature: signature! },
      webhookSecret: secret,
    })
    new Webhook(secret).verify(payload, {
      'webhook-id': id!,
      'webhook-timestamp': timestamp!,
      'webhook-signature': signature!,
    })
    return true
  } catch {
    return false
  }
}

async function start(t: TestContext) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const account = { webhook_url: `${receiver.url}/mail?tenant_id=t_1`, signing_secret: SECRET }
  await sandbox.control('PUT', `/accounts/resend/${KEY}`, account)
  return { sandbox, receiver }
}

async function send(
  sandbox: TestSandbox,
  body: Body,
  options: { key?: string; idempotencyKey?: string } = {},
) {
  const answer = await fetch(`${sandbox.providerUrls.resend}/emails`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${options.key ?? KEY}`,
      'content-type': 'application/json',
      ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
    },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as Body, headers: answer.headers }
}

const typesOf = (received: Received[]) =>
  received.map(({ body }) => (JSON.parse(body.toString()) as Body)['type'])

test('the SDK sends and reads back; its verifier and standardwebhooks accept every event', async (t) => {
  const { sandbox, receiver } = await start(t)
  const tags = [{ name: 'tenant_id', value: 't_1' }]
  const { data, error } = await sdkFor(sandbox).emails.send(
    { ...MAIL, tags, replyTo: 'r@example.com' },
    { idempotencyKey: 'msg_1' },
  )
  assert.equal(error, null)
  const events = await receiver.waitFor(2)
  assert.deepEqual(typesOf(events), ['email.sent', 'email.delivered'])
  for (const event of events) {
    assert.ok(isGenuine(event))
    assert.ok(!isGenuine(event, 'whsec_b3RoZXI='))
    const { data: told } = JSON.parse(event.body.toString()) as { data: Body }
    assert.deepEqual([told['email_id'], told['tags']], [data!.id, { tenant_id: 't_1' }])
  }
  const read = await sdkFor(sandbox).emails.get(data!.id)
  assert.equal(read.data?.last_event, 'delivered')
  assert.deepEqual(read.data?.tags, tags)
  assert.equal((await sdkFor(sandbox).domains.list()).error, null)
})

test('the same idempotency key replays the answer, refuses another body, and answers 409 while it runs', async (t) => {
  const { sandbox } = await start(t)
  const first = await send(sandbox, MAIL, { idempotencyKey: 'msg_1' })
  const again = await send(sandbox, MAIL, { idempotencyKey: 'msg_1' })
  assert.deepEqual(again.body, first.body)
  const other = await send(sandbox, { ...MAIL, subject: 'Otro' }, { idempotencyKey: 'msg_1' })
  assert.deepEqual([other.status, other.body['name']], [409, 'invalid_idempotent_request'])
  await sandbox.control('POST', '/faults', { provider: 'resend', fault: 'slow', after_ms: 700, times: 1 })
  const slow = send(sandbox, MAIL, { idempotencyKey: 'msg_2' })
  while (sandbox.world.requests.at(-1)?.answer !== 'open') await nextTurn()
  const meanwhile = await send(sandbox, MAIL, { idempotencyKey: 'msg_2' })
  assert.deepEqual([meanwhile.status, meanwhile.body['name']], [409, 'concurrent_idempotent_requests'])
  assert.equal((await slow).status, 200)
  const { effects } = await sandbox.control('GET', '/messages')
  assert.deepEqual(effects, { msg_1: 1, msg_2: 1 })
})

test('a send whose answer was lost is healed by repeating it under its key', async (t) => {
  const { sandbox } = await start(t)
  const mail = { ...MAIL, to: 'reset-after@example.com' }
  await assert.rejects(send(sandbox, mail, { idempotencyKey: 'msg_1' }))
  assert.equal((await send(sandbox, mail, { idempotencyKey: 'msg_1' })).status, 200)
  const { effects } = await sandbox.control('GET', '/messages')
  assert.deepEqual(effects, { msg_1: 1 })
})

test('a key that was refused may be used again', async (t) => {
  const { sandbox } = await start(t)
  const mail = { ...MAIL, to: '429+1@example.com' }
  assert.equal((await send(sandbox, mail, { idempotencyKey: 'msg_1' })).status, 429)
  assert.equal((await send(sandbox, mail, { idempotencyKey: 'msg_1' })).status, 200)
})

const refusals: Array<[name: string, change: Body, status: number, code: string]> = [
  ['no recipient', { to: undefined }, 422, 'missing_required_field'],
  ['no sender', { from: undefined }, 422, 'missing_required_field'],
  ['no content', { html: undefined, text: undefined }, 422, 'missing_required_field'],
  ['a bad recipient', { to: ['ana'] }, 422, 'validation_error'],
  ['a bad sender', { from: 'TableFlow' }, 422, 'validation_error'],
  [
    'too many recipients',
    { to: Array.from({ length: 51 }, (_, n) => `a${n}@example.com`) },
    422,
    'validation_error',
  ],
  ['a bad tag', { tags: [{ name: 'a b', value: 'x' }] }, 422, 'validation_error'],
  ['an empty attachment', { attachments: [{ filename: 'a' }] }, 422, 'invalid_attachment'],
  ['an unverified domain', { from: 'a@unverified.example' }, 403, 'validation_error'],
]
for (const [name, change, status, code] of refusals) {
  test(`a send with ${name} is refused with ${status} ${code}`, async (t) => {
    const sandbox = await startTestSandbox(t)
    const answer = await send(sandbox, { ...MAIL, ...change })
    assert.deepEqual([answer.status, answer.body['name'], answer.body['statusCode']], [status, code, status])
    assert.equal(sandbox.world.messages.size, 0)
  })
}

test('no key is 401, a wrong one 403, and a too long idempotency key 400', async (t) => {
  const sandbox = await startTestSandbox(t)
  const none = await fetch(`${sandbox.providerUrls.resend}/emails`, { method: 'POST', body: '{}' })
  assert.deepEqual([none.status, ((await none.json()) as Body)['name']], [401, 'missing_api_key'])
  assert.equal((await send(sandbox, MAIL, { key: 're_invalid' })).body['name'], 'invalid_api_key')
  assert.equal(
    (await send(sandbox, MAIL, { idempotencyKey: 'x'.repeat(257) })).body['name'],
    'invalid_idempotency_key',
  )
})

const lives: Array<[local: string, types: string[]]> = [
  ['bounce', ['email.sent', 'email.bounced']],
  ['bounce-soft', ['email.sent', 'email.bounced']],
  ['blocked', ['email.sent', 'email.bounced']],
  ['delayed', ['email.sent', 'email.delivery_delayed', 'email.delivered']],
  ['suppressed', ['email.suppressed']],
  ['failed', ['email.failed']],
  ['complaint', ['email.sent', 'email.delivered', 'email.complained']],
  ['open', ['email.sent', 'email.delivered', 'email.opened']],
  ['click', ['email.sent', 'email.delivered', 'email.opened', 'email.clicked']],
]
test('every magic address lives the life its name says', async (t) => {
  const { sandbox, receiver } = await start(t)
  await Promise.all(lives.map(([local]) => send(sandbox, { ...MAIL, to: `${local}@example.com` })))
  const events = await receiver.waitFor(lives.flatMap(([, types]) => types).length)
  for (const [local, types] of lives) {
    const own = events.filter(({ body }) => body.toString().includes(`"${local}@example.com"`))
    assert.deepEqual(typesOf(own), types, local)
  }
  const bounced = (local: string) => {
    const found = events.find(
      ({ body }) => body.includes(`"${local}@example.com"`) && body.includes('email.bounced'),
    )
    return (JSON.parse(found!.body.toString()) as { data: { bounce: Body } }).data.bounce['type']
  }
  assert.deepEqual([bounced('bounce'), bounced('bounce-soft')], ['Permanent', 'Transient'])
})

test('POST /webhooks gives a secret that signs, and a rotated one signs beside the old', async (t) => {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const made = await sdkFor(sandbox).webhooks.create({
    endpoint: `${receiver.url}/own`,
    events: ['email.delivered'],
  })
  const secret = made.data!.signing_secret
  await send(sandbox, MAIL)
  const [event] = await receiver.waitFor(1)
  assert.deepEqual(typesOf([event!]), ['email.delivered'])
  assert.ok(isGenuine(event!, secret))
  const view = await sandbox.control('PUT', `/accounts/resend/${KEY}`, { rotate_secret: true })
  await send(sandbox, MAIL)
  const [, rotated] = await receiver.waitFor(2)
  assert.ok(isGenuine(rotated!, secret) && isGenuine(rotated!, String(view['signing_secret'])))
})

test('received mail: the webhook carries metadata, the SDK fetches content and attachment', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('POST', '/inbound/resend', {
    from: 'Ana <ana@example.com>',
    to: 'pedidos@tableflow.example',
    subject: 'Consulta',
    text: '¿abren hoy?',
    headers: { 'Auto-Submitted': 'no' },
    attachments: [{ filename: 'a.txt', content_type: 'text/plain', content_base64: 'aGVsbG8=' }],
  })
  const [webhook] = receiver.received
  assert.ok(isGenuine(webhook!))
  const { type, data } = JSON.parse(webhook!.body.toString()) as { type: string; data: Body }
  assert.equal(type, 'email.received')
  assert.ok(!('text' in data))
  const id = String(data['email_id'])
  const received = await sdkFor(sandbox).emails.receiving.get(id)
  assert.equal(received.data?.text, '¿abren hoy?')
  assert.equal(received.data?.headers?.['auto-submitted'], 'no')
  const [attachment] = data['attachments'] as Array<{ id: string }>
  const link = await sdkFor(sandbox).emails.receiving.attachments.get({ emailId: id, id: attachment!.id })
  assert.equal(await (await fetch(link.data!.download_url)).text(), 'hello')
})

test('a scheduled email can be moved and canceled', async (t) => {
  const { sandbox } = await start(t)
  const resend = sdkFor(sandbox)
  const { data } = await resend.emails.send({
    ...MAIL,
    scheduledAt: new Date(Date.now() + 3_600_000).toISOString(),
  })
  const later = new Date(Date.now() + 7_200_000).toISOString()
  assert.equal((await resend.emails.update({ id: data!.id, scheduledAt: later })).error, null)
  assert.equal((await resend.emails.cancel(data!.id)).error, null)
  assert.equal((await resend.emails.get(data!.id)).data?.last_event, 'canceled')
})
