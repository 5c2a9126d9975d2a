import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import twilio from 'twilio'
import { formOf, startReceiver, startTestSandbox } from '../test-receiver.ts'
import type { Received, TestSandbox } from '../test-receiver.ts'

const SID = 'AC00000000000000000000000000000001'
const TOKEN = 'fake-auth-token'

/** The official SDK sent to the sandbox, as contracts/twilio.md §7 shows. */
function sdkFor(sandbox: TestSandbox, token = TOKEN) {
  const httpClient = new twilio.RequestClient()
  const request = httpClient.request.bind(httpClient)
  httpClient.request = (options) => {
    const { pathname, search } = new URL(options.uri)
    return request({ ...options, uri: sandbox.providerUrls.twilio + pathname + search })
  }
  return twilio(SID, token, { httpClient })
}

function isGenuine(received: Received, token = TOKEN): boolean {
  return twilio.validateRequest(
    token,
    received.headers['x-twilio-signature'] ?? '',
    received.url,
    formOf(received),
  )
}

async function start(t: TestContext) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const hook = (id: string) => `${receiver.url}/messaging/webhook/sms?tenant_id=t_1&provider=twilio&mid=${id}`
  return { sandbox, receiver, hook, client: sdkFor(sandbox) }
}

/** A raw send with any fields; the answer's status and body. */
async function post(sandbox: TestSandbox, fields: Record<string, string>, credentials = `${SID}:${TOKEN}`) {
  const answer = await fetch(`${sandbox.providerUrls.twilio}/2010-04-01/Accounts/${SID}/Messages.json`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
    body: new URLSearchParams(fields),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

const SMS = { To: '+56912345678', From: '+15005550006', Body: 'hola & adiós' }

test('the SDK sends an SMS, reads it back, and its validator accepts every callback', async (t) => {
  const { receiver, hook, client } = await start(t)
  const sent = await client.messages.create({
    to: SMS.To,
    from: SMS.From,
    body: SMS.Body,
    statusCallback: hook('msg_1'),
  })
  assert.match(sent.sid, /^SM[0-9a-f]{32}$/)
  assert.equal(sent.status, 'queued')
  const callbacks = await receiver.waitFor(2)
  assert.deepEqual(
    callbacks.map((callback) => formOf(callback)['MessageStatus']),
    ['sent', 'delivered'],
  )
  for (const callback of callbacks) {
    assert.ok(isGenuine(callback))
    assert.ok(!isGenuine(callback, 'another-token'))
    assert.ok(!isGenuine({ ...callback, url: callback.url.replace('t_1', 't_2') }))
    const { MessageSid, AccountSid, To, From } = formOf(callback)
    assert.deepEqual(
      { MessageSid, AccountSid, To, From },
      { MessageSid: sent.sid, AccountSid: SID, To: SMS.To, From: SMS.From },
    )
  }
  const read = await client.messages(sent.sid).fetch()
  assert.equal(read.status, 'delivered')
  assert.equal(read.body, SMS.Body)
  assert.equal((await client.messages.list({ to: SMS.To }))[0]?.sid, sent.sid)
  assert.equal((await client.api.v2010.accounts(SID).fetch()).status, 'active')
})

test('WhatsApp text inside the window is read; outside it fails by callback with 63016', async (t) => {
  const { sandbox, receiver, hook } = await start(t)
  const whatsapp = { To: 'whatsapp:+56912345678', From: 'whatsapp:+14155238886', Body: 'hola' }
  await post(sandbox, { ...whatsapp, StatusCallback: hook('msg_closed') })
  const [closed] = await receiver.waitFor(1)
  assert.equal(formOf(closed!)['MessageStatus'], 'failed')
  assert.equal(formOf(closed!)['ErrorCode'], '63016')
  await sandbox.control('POST', '/inbound/twilio', { from: whatsapp.To, to: whatsapp.From, text: 'hola' })
  await post(sandbox, { ...whatsapp, StatusCallback: hook('msg_open') })
  const open = await receiver.waitFor(3, ({ url }) => url.includes('msg_open'))
  assert.deepEqual(
    open.map((callback) => formOf(callback)['MessageStatus']),
    ['sent', 'delivered', 'read'],
  )
  assert.ok(open.every((callback) => isGenuine(callback)))
})

test('a template goes out whatever the window, rendered from the Content API', async (t) => {
  const { sandbox, receiver, hook, client } = await start(t)
  const content = await client.content.v1.contents.create({
    friendly_name: 'order_ready',
    language: 'es',
    variables: { '1': 'Ana' },
    types: { 'twilio/text': { body: 'Hola {{1}}, tu pedido está listo' } },
  } as never)
  const sent = await client.messages.create({
    to: 'whatsapp:+56912345678',
    from: 'whatsapp:+14155238886',
    contentSid: content.sid,
    contentVariables: JSON.stringify({ 1: 'Luz' }),
    statusCallback: hook('msg_t'),
  })
  await receiver.waitFor(3)
  assert.equal((await client.messages(sent.sid).fetch()).body, 'Hola Luz, tu pedido está listo')
  assert.ok(sandbox.world.messages.has(sent.sid))
})

const refusals: Array<[name: string, change: Record<string, string>, code: number]> = [
  ['no To', { To: '' }, 21604],
  ['a bad To', { To: '+56912' }, 21211],
  ['a To that is no number', { To: 'ana' }, 21211],
  ['no From', { From: '' }, 21603],
  ['a bad From', { From: 'whatsapp:abc', To: 'whatsapp:+56912345678' }, 21212],
  ['channels that differ', { To: 'whatsapp:+56912345678' }, 21910],
  ['nothing to say', { Body: '' }, 21619],
  ['too long a text', { Body: 'x'.repeat(1_601) }, 21617],
  ['a bad callback', { StatusCallback: 'no url' }, 21609],
  ['a bad template', { ContentSid: 'HX1' }, 21655],
  ['broken variables', { ContentSid: `HX${'0'.repeat(32)}`, ContentVariables: '{' }, 21656],
  ['a schedule without a service', { ScheduleType: 'fixed', SendAt: '2030-01-01T00:00:00Z' }, 35118],
  ['Twilio’s own invalid number', { To: '+15005550001' }, 21211],
  ['Twilio’s own opted-out number', { To: '+15005550004' }, 21610],
  ['Twilio’s own landline', { To: '+15005550009' }, 21614],
]
for (const [name, change, code] of refusals) {
  test(`a send with ${name} is refused with ${code} and has no effect`, async (t) => {
    const sandbox = await startTestSandbox(t)
    const { status, body } = await post(sandbox, { ...SMS, ...change })
    assert.equal(body['code'], code)
    assert.equal(body['status'], status)
    assert.equal(body['more_info'], `https://www.twilio.com/docs/errors/${code}`)
    assert.equal(sandbox.world.messages.size, 0)
  })
}

test('the first token seen is the account’s; others, and whatever says invalid, get 401 20003', async (t) => {
  const sandbox = await startTestSandbox(t)
  assert.equal((await post(sandbox, SMS)).status, 201)
  for (const credentials of [`${SID}:another`, `${SID}:invalid-token`, 'AC9:fake-auth-token', '']) {
    const { status, body } = await post(sandbox, SMS, credentials)
    assert.deepEqual([status, body['code']], [401, 20003])
  }
  await assert.rejects(
    sdkFor(sandbox, 'another').messages.create({ to: SMS.To, from: SMS.From, body: 'x' }),
    { code: 20003 },
  )
})

test('an API key works beside the token, and callbacks stay signed with the token', async (t) => {
  const { sandbox, receiver, hook } = await start(t)
  await sandbox.control('PUT', `/accounts/twilio/${SID}`, { token: TOKEN })
  const { status } = await post(sandbox, { ...SMS, StatusCallback: hook('msg_k') }, 'SK0001:fake-key-secret')
  assert.equal(status, 201)
  const callbacks = await receiver.waitFor(2)
  assert.ok(callbacks.every((callback) => isGenuine(callback)))
})

test('a customer’s message arrives signed, with media that asks for the account’s credentials', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PUT', `/accounts/twilio/${SID}`, {
    token: TOKEN,
    whatsapp_webhook_url: `${receiver.url}/wa?tenant_id=t_1`,
  })
  const answer = await sandbox.control('POST', '/inbound/twilio', {
    from: 'whatsapp:+5511999990000',
    to: 'whatsapp:+14155238886',
    text: 'Olá  mundo 👋 ',
    profile_name: "Ana D'Ávila",
    media: [{ content_type: 'image/png' }],
    params: { Forwarded: 'true' },
  })
  assert.equal(answer['delivered'], true)
  const [inbound] = receiver.received
  assert.ok(isGenuine(inbound!))
  const form = formOf(inbound!)
  assert.equal(form['Body'], 'Olá  mundo 👋 ')
  assert.equal(form['WaId'], '5511999990000')
  assert.equal(form['NumMedia'], '1')
  assert.equal(form['Forwarded'], 'true')
  assert.equal((await fetch(form['MediaUrl0']!)).status, 401)
  const headers = { authorization: `Basic ${Buffer.from(`${SID}:${TOKEN}`).toString('base64')}` }
  assert.equal((await fetch(form['MediaUrl0']!, { headers })).headers.get('content-type'), 'image/png')
})

test('an account set up before its token is known takes the first one seen', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PUT', `/accounts/twilio/${SID}`, { webhook_url: `${receiver.url}/sms` })
  const write = () => sandbox.control('POST', '/inbound/twilio', { from: SMS.To, to: SMS.From, text: 'hola' })
  await assert.rejects(write(), /Auth Token is not known yet/)
  assert.equal((await post(sandbox, SMS)).status, 201)
  await write()
  assert.ok(isGenuine(receiver.received.at(-1)!))
})

test('a customer who wrote STOP by SMS is refused with 21610 until START', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PUT', `/accounts/twilio/${SID}`, {
    token: TOKEN,
    webhook_url: `${receiver.url}/sms`,
  })
  const write = (text: string) =>
    sandbox.control('POST', '/inbound/twilio', { from: SMS.To, to: SMS.From, text })
  await write(' stop ')
  assert.equal((await post(sandbox, SMS)).body['code'], 21610)
  await write('START')
  assert.equal((await post(sandbox, SMS)).status, 201)
})

test('a scheduled message waits for its time on the sandbox’s clock, and can be canceled', async (t) => {
  const { sandbox, receiver, hook, client } = await start(t)
  const at = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString().replace(/\.\d+Z/, 'Z')
  const scheduled = { ...SMS, From: '', MessagingServiceSid: `MG${'0'.repeat(32)}`, ScheduleType: 'fixed' }
  assert.equal((await post(sandbox, { ...scheduled, SendAt: at(60) })).body['code'], 35115)
  const { body } = await post(sandbox, { ...scheduled, SendAt: at(600), StatusCallback: hook('msg_s') })
  assert.equal(body['status'], 'scheduled')
  const other = await post(sandbox, { ...scheduled, SendAt: at(600), StatusCallback: hook('msg_x') })
  const canceled = await client.messages(String(other.body['sid'])).update({ status: 'canceled' })
  assert.equal(canceled.status, 'canceled')
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 601_000 })
  const callbacks = await receiver.waitFor(2)
  assert.ok(callbacks.every(({ url }) => url.includes('msg_s')))
})

test('an answer that is not TwiML is noted as Twilio notes it', async (t) => {
  const { sandbox, receiver, hook } = await start(t)
  receiver.answerWith(() => ({ status: 403, body: 'no' }))
  await post(sandbox, { ...SMS, StatusCallback: hook('msg_w') })
  await receiver.waitFor(2)
  const { callbacks } = await sandbox.control('GET', '/callbacks?state=failed')
  assert.match(JSON.stringify(callbacks), /11200/)
})
