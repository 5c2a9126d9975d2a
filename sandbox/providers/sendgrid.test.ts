import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import sendgridClient from '@sendgrid/client'
import { EventWebhook } from '@sendgrid/eventwebhook'
import sendgridMail from '@sendgrid/mail'
import { textOf } from '../http.ts'
import { startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Received, TestSandbox } from '../test-receiver.ts'

const KEY = 'SG.fake_key'

/** Their types hide the classes that their packages export: one client per account, never the shared one. */
const Client = sendgridClient.constructor as new () => typeof sendgridClient
const MailService = sendgridMail.constructor as new () => typeof sendgridMail

type Body = Record<string, unknown>

function clientFor(sandbox: TestSandbox, key = KEY) {
  const client = new Client()
  client.setApiKey(key)
  client.setDefaultRequest({
    baseUrl: `${sandbox.providerUrls.sendgrid}/`,
    timeout: 10_000,
    proxy: false,
  } as never)
  return client
}

function isGenuine(publicKey: string, { headers, body }: Received): boolean {
  const webhook = new EventWebhook()
  const [signature, timestamp] = ['signature', 'timestamp'].map(
    (name) => headers[`x-twilio-email-event-webhook-${name}`] ?? '',
  )
  return webhook.verifySignature(webhook.convertPublicKeyToECDSA(publicKey), body, signature!, timestamp!)
}

async function start(t: TestContext) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const account = await sandbox.control('PUT', `/accounts/sendgrid/${KEY}`, {
    webhook_url: `${receiver.url}/mail?tenant_id=t_1`,
  })
  return { sandbox, receiver, publicKey: String(account['public_key']) }
}

function mailTo(to: string, more: Body = {}): Body {
  return {
    personalizations: [{ to: [{ email: to }], custom_args: { message_id: 'msg_1', tenant_id: 't_1' } }],
    from: { email: 'noreply@roe.example', name: 'ROE' },
    subject: 'Tu pedido',
    content: [{ type: 'text/plain', value: 'en camino' }],
    ...more,
  }
}

async function send(sandbox: TestSandbox, body: unknown, key = KEY) {
  const answer = await fetch(`${sandbox.providerUrls.sendgrid}/v3/mail/send`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  const errors = text.startsWith('{') ? ((JSON.parse(text) as Body)['errors'] as Body[]) : []
  return { status: answer.status, errors, messageId: answer.headers.get('x-message-id') }
}

function eventsOf(received: Received[]): Body[] {
  return received.flatMap(({ body }) => JSON.parse(body.toString()) as Body[])
}

async function waitForEvents(
  receiver: { waitFor: (count: number) => Promise<Received[]>; received: Received[] },
  count: number,
) {
  for (let webhooks = 1; eventsOf(receiver.received).length < count; webhooks += 1)
    await receiver.waitFor(webhooks)
  return eventsOf(receiver.received)
}

test('the SDK sends, and its verifier accepts the signed array of events', async (t) => {
  const { sandbox, receiver, publicKey } = await start(t)
  const mail = new MailService()
  mail.setClient(clientFor(sandbox))
  const [answer] = await mail.send({
    to: 'ana@example.com',
    from: { email: 'noreply@roe.example', name: 'ROE' },
    subject: 'Tu pedido',
    text: 'en camino',
    html: '<b>en camino</b>',
    customArgs: { message_id: 'msg_1', tenant_id: 't_1' },
    attachments: [{ content: 'aGVsbG8=', filename: 'a.txt', type: 'text/plain', disposition: 'attachment' }],
  })
  assert.equal(answer.statusCode, 202)
  const events = await waitForEvents(receiver, 2)
  assert.deepEqual(
    events.map(({ event }) => event),
    ['processed', 'delivered'],
  )
  const messageId = String((answer.headers as Body)['x-message-id'])
  for (const event of events) {
    assert.ok(String(event['sg_message_id']).startsWith(`${messageId}.`))
    assert.deepEqual(
      [event['message_id'], event['tenant_id'], event['email']],
      ['msg_1', 't_1', 'ana@example.com'],
    )
  }
  for (const webhook of receiver.received) {
    assert.ok(webhook.body.toString().endsWith(']\r\n'))
    assert.ok(isGenuine(publicKey, webhook))
    assert.ok(!isGenuine(publicKey, { ...webhook, body: Buffer.from(webhook.body.toString().trimEnd()) }))
  }
})

test('events of many messages share a POST, joined by CRLF', async (t) => {
  const { sandbox, receiver, publicKey } = await start(t)
  await Promise.all(Array.from({ length: 20 }, (_, index) => send(sandbox, mailTo(`c${index}@example.com`))))
  await waitForEvents(receiver, 40)
  const biggest = receiver.received.find(({ body }) => (JSON.parse(body.toString()) as Body[]).length > 1)
  assert.match(biggest!.body.toString(), /\},\r\n\{/)
  assert.ok(isGenuine(publicKey, biggest!))
})

const lives: Array<[local: string, events: string[]]> = [
  ['bounce', ['processed', 'bounce']],
  ['bounce-soft', ['processed', 'bounce']],
  ['blocked', ['processed', 'bounce']],
  ['bounce-late', ['processed', 'delivered', 'bounce']],
  ['dropped', ['dropped']],
  ['suppressed', ['dropped']],
  ['delayed', ['processed', 'deferred', 'delivered']],
  ['complaint', ['processed', 'delivered', 'spamreport']],
  ['unsubscribe', ['processed', 'delivered', 'unsubscribe']],
  ['open', ['processed', 'delivered', 'open']],
  ['machine-open', ['processed', 'delivered', 'open']],
  ['click', ['processed', 'delivered', 'open', 'click']],
  ['stuck', ['processed']],
]
test('every magic address lives the life its name says', async (t) => {
  const { sandbox, receiver } = await start(t)
  await Promise.all(lives.map(([local]) => send(sandbox, mailTo(`${local}@example.com`))))
  const events = await waitForEvents(receiver, lives.flatMap(([, names]) => names).length)
  for (const [local, names] of lives) {
    const own = events.filter(({ email }) => email === `${local}@example.com`)
    assert.deepEqual(
      own.map(({ event }) => event),
      names,
      local,
    )
  }
  const find = (email: string, event: string) =>
    events.find((one) => one['email'] === `${email}@example.com` && one['event'] === event)!
  assert.equal(find('bounce', 'bounce')['type'], 'bounce')
  assert.equal(find('bounce-soft', 'bounce')['type'], 'blocked')
  assert.equal(find('bounce-late', 'bounce')['sg_message_id'], undefined)
  assert.equal(find('bounce-late', 'bounce')['message_id'], 'msg_1')
  assert.equal(find('machine-open', 'open')['sg_machine_open'], true)
  assert.equal(find('open', 'open')['sg_machine_open'], false)
})

const refusals: Array<[name: string, change: Body, field: string]> = [
  ['no personalizations', { personalizations: [] }, 'personalizations'],
  ['no recipient', { personalizations: [{ to: [] }] }, 'personalizations.0.to'],
  ['a bad recipient', { personalizations: [{ to: [{ email: 'ana' }] }] }, 'personalizations.0.to.0.email'],
  ['no sender', { from: undefined }, 'from.email'],
  ['a bad sender', { from: { email: 'ana' } }, 'from.email'],
  ['no subject', { subject: undefined }, 'subject'],
  ['no content', { content: [] }, 'content'],
  ['empty content', { content: [{ type: 'text/plain', value: '' }] }, 'content.0.value'],
  [
    'content in the wrong order',
    {
      content: [
        { type: 'text/html', value: 'a' },
        { type: 'text/plain', value: 'a' },
      ],
    },
    'content',
  ],
  ['a broken attachment', { attachments: [{ content: '%', filename: 'a' }] }, 'attachments.0.content'],
  ['a far schedule', { send_at: Math.floor(Date.now() / 1_000) + 73 * 3_600 }, 'send_at'],
  ['custom_args that are no text', { custom_args: { n: 1 } }, 'personalizations.0.custom_args'],
]
for (const [name, change, field] of refusals) {
  test(`a send with ${name} is refused, naming ${field}`, async (t) => {
    const sandbox = await startTestSandbox(t)
    const { status, errors } = await send(sandbox, mailTo('ana@example.com', change))
    assert.equal(status, 400)
    assert.ok(
      errors.some((error) => error['field'] === field && error['message']),
      JSON.stringify(errors),
    )
    assert.equal(sandbox.world.messages.size, 0)
  })
}

test('bad keys are 401, an unverified sender is 403, sandbox mode is 200 without effect', async (t) => {
  const sandbox = await startTestSandbox(t)
  for (const key of ['re_other', 'SG.invalid'])
    assert.equal((await send(sandbox, mailTo('ana@example.com'), key)).status, 401)
  const unverified = await send(
    sandbox,
    mailTo('ana@example.com', { from: { email: 'a@unverified.example' } }),
  )
  assert.deepEqual([unverified.status, unverified.errors[0]?.['field']], [403, 'from'])
  const checked = await send(
    sandbox,
    mailTo('ana@example.com', { mail_settings: { sandbox_mode: { enable: true } } }),
  )
  assert.equal(checked.status, 200)
  assert.equal(sandbox.world.messages.size, 0)
  const [scopes] = await clientFor(sandbox).request({ method: 'GET', url: '/v3/scopes' })
  assert.ok(((scopes.body as Body)['scopes'] as string[]).includes('mail.send'))
})

test('the event webhook is set up and signed through SendGrid’s own calls', async (t) => {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const client = clientFor(sandbox)
  const call = async (method: 'POST' | 'PATCH', url: string, body: Body) =>
    (await client.request({ method, url, body }))[0].body as Body
  const made = await call('POST', '/v3/user/webhooks/event/settings', {
    url: `${receiver.url}/own`,
    enabled: true,
    delivered: true,
  })
  const id = String(made['id'])
  const signed = await call('PATCH', `/v3/user/webhooks/event/settings/signed/${id}`, { enabled: true })
  await send(sandbox, mailTo('ana@example.com'))
  await waitForEvents(receiver, 2)
  assert.ok(receiver.received.every((webhook) => isGenuine(String(signed['public_key']), webhook)))
})

test('a hard bounce is remembered: the next mail is dropped until the suppression is deleted', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('POST', '/faults', {
    provider: 'sendgrid',
    fault: 'bounced',
    match: { to: 'luz@example.com' },
    times: 1,
  })
  await send(sandbox, mailTo('luz@example.com'))
  await waitForEvents(receiver, 2)
  await send(sandbox, mailTo('luz@example.com'))
  const events = await waitForEvents(receiver, 3)
  assert.deepEqual([events[2]!['event'], events[2]!['reason']], ['dropped', 'Bounced Address'])
  const client = clientFor(sandbox)
  const [{ body }] = await client.request({ method: 'GET', url: '/v3/suppression/bounces' })
  assert.equal((body as unknown as Body[])[0]!['email'], 'luz@example.com')
  await client.request({ method: 'DELETE', url: '/v3/suppression/bounces/luz@example.com' })
  await send(sandbox, mailTo('luz@example.com'))
  assert.equal((await waitForEvents(receiver, 5))[4]!['event'], 'delivered')
})

test('inbound mail arrives as signed multipart with headers, envelope and attachment', async (t) => {
  const { sandbox, receiver, publicKey } = await start(t)
  await sandbox.control('POST', '/inbound/sendgrid', {
    from: 'Ana <ana@example.com>',
    to: 'pedidos@roe.example',
    subject: '¿Dónde está?',
    text: 'mi pedido — gracias',
    headers: { 'Auto-Submitted': 'auto-replied' },
    attachments: [{ filename: 'foto "1".png', content_type: 'image/png', content_base64: 'aGVsbG8=' }],
  })
  const [webhook] = receiver.received
  assert.ok(isGenuine(publicKey, webhook!))
  const form = await new Response(new Uint8Array(webhook!.body), {
    headers: { 'content-type': webhook!.headers['content-type']! },
  }).formData()
  assert.equal(form.get('text'), 'mi pedido — gracias')
  assert.deepEqual(JSON.parse(textOf(form.get('envelope'))), {
    to: ['pedidos@roe.example'],
    from: 'ana@example.com',
  })
  assert.match(textOf(form.get('headers')), /^Auto-Submitted: auto-replied$/m)
  assert.equal(form.get('attachments'), '1')
  assert.equal(await (form.get('attachment1') as File).text(), 'hello')
})
