import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import twilio from 'twilio'
import { startSandbox } from './sandbox.ts'
import { signMeta } from './signatures.ts'
import { formOf, startReceiver, startTestSandbox } from './test-receiver.ts'
import type { Receiver, TestSandbox } from './test-receiver.ts'

const TOKEN = 'fake-auth-token'

async function start(t: TestContext) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  return { sandbox, receiver }
}

async function sendSms(
  sandbox: TestSandbox,
  receiver: Receiver,
  reference: string,
  to = '+56912345678',
  fragment = '',
) {
  const answer = await fetch(`${sandbox.providerUrls.twilio}/2010-04-01/Accounts/AC1/Messages.json`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`AC1:${TOKEN}`)}` },
    body: new URLSearchParams({
      To: to,
      From: '+15005550006',
      Body: 'x',
      StatusCallback: `${receiver.url}/sms?mid=${reference}${fragment}`,
    }),
  })
  return (await answer.json()) as { sid: string }
}

async function startMeta(sandbox: TestSandbox, receiver: Receiver) {
  await sandbox.control('PUT', '/accounts/meta/111', {
    token: 'EAA',
    app_secret: 'fake-secret',
    webhook_url: `${receiver.url}/wa`,
  })
  await sandbox.control('PATCH', '/settings', { window: 'off' })
  return async (reference: string) => {
    const body = {
      messaging_product: 'whatsapp',
      to: '56912345678',
      type: 'text',
      text: { body: 'x' },
      biz_opaque_callback_data: reference,
    }
    const headers = { authorization: 'Bearer EAA', 'content-type': 'application/json' }
    await fetch(`${sandbox.providerUrls.meta}/v23.0/111/messages`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
  }
}

/** Statuses received, as `reference status`. */
function metaStatuses(receiver: Receiver): string[] {
  return receiver.received.map(({ body }) => {
    const [, status] = /"status":"(\w+)"/.exec(body.toString()) ?? []
    const [, reference] = /"biz_opaque_callback_data":"(\w+)"/.exec(body.toString()) ?? []
    return `${reference} ${status}`
  })
}

test('a receiver that was down misses nothing: every callback comes once it is back', async (t) => {
  const { sandbox, receiver } = await start(t)
  const send = await startMeta(sandbox, receiver)
  await receiver.stop()
  await Promise.all(Array.from({ length: 50 }, (_, index) => send(`m${index}`)))
  await receiver.start()
  await receiver.waitFor(150)
  const expected = Array.from({ length: 50 }, (_, index) =>
    ['sent', 'delivered', 'read'].map((state) => `m${index} ${state}`),
  ).flat()
  assert.deepEqual(metaStatuses(receiver).toSorted(), expected.toSorted())
  const { total } = await sandbox.control('GET', '/callbacks?state=pending')
  assert.equal(total, 0)
})

test('answers other than success are repeated under the same ids until one is taken', async (t) => {
  const { sandbox, receiver } = await start(t)
  const send = await startMeta(sandbox, receiver)
  let left = 3
  receiver.answerWith(() => ({ status: (left -= 1) >= 0 ? 500 : 200 }))
  await send('m1')
  await receiver.waitFor(6)
  const { callbacks } = (await sandbox.control('GET', '/callbacks')) as {
    callbacks: Array<{ state: string; attempts: unknown[] }>
  }
  assert.deepEqual([...new Set(metaStatuses(receiver))].toSorted(), ['m1 delivered', 'm1 read', 'm1 sent'])
  assert.equal(callbacks.flatMap(({ attempts }) => attempts).length, 6)
})

test('without patience Twilio gives up as the real one: no retry of a 500, unless the URL asks for it', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PATCH', '/settings', { patience_ms: 0, retry_factor: 60_000 })
  receiver.answerWith(() => ({ status: 500 }))
  await sendSms(sandbox, receiver, 'plain')
  await sendSms(sandbox, receiver, 'asking', '+56912345678', '#rc=2&rp=5xx')
  const asking = await receiver.waitFor(6, ({ url }) => url.includes('asking'))
  const genuine = asking.every((one) =>
    twilio.validateRequest(TOKEN, one.headers['x-twilio-signature'] ?? '', one.url, formOf(one)),
  )
  assert.ok(genuine, 'the fragment is not part of the signed URL')
  assert.equal(receiver.received.filter(({ url }) => url.includes('plain')).length, 2)
})

test('Meta and Resend take only 200 as received, Twilio and SendGrid any 2xx', async (t) => {
  const { sandbox, receiver } = await start(t)
  receiver.answerWith(() => ({ status: 204 }))
  await sandbox.control('PATCH', '/settings', { retry_factor: 1 })
  const take = async (provider: string, account: string, message: Record<string, string>) => {
    await sandbox.control('PUT', `/accounts/${provider}/${account}`, {
      webhook_url: `${receiver.url}/${provider}`,
      ...(provider === 'twilio' ? { token: TOKEN } : {}),
    })
    return (await sandbox.control('POST', `/inbound/${provider}`, { account, ...message }))['delivered']
  }
  const mail = { from: 'ana@example.com', to: 'b@example.com', text: 'x' }
  assert.equal(await take('twilio', 'AC1', { from: '+56912345678', to: '+15005550006', text: 'x' }), true)
  assert.equal(await take('sendgrid', 'SG.key', mail), true)
  assert.equal(await take('meta', '111', { from: '56912345678', text: 'x' }), false)
  assert.equal(await take('resend', 're_key', mail), false)
})

test('a callback of the log can be replayed, and forged in four ways', async (t) => {
  const { sandbox, receiver } = await start(t)
  const send = await startMeta(sandbox, receiver)
  await send('m1')
  await receiver.waitFor(3)
  const { callbacks } = (await sandbox.control('GET', '/callbacks')) as { callbacks: Array<{ id: string }> }
  const { id } = callbacks[0]!
  await sandbox.control('POST', '/callbacks/replay', { id })
  assert.deepEqual(receiver.received.at(-1)!.body, receiver.received[0]!.body)
  const isGenuine = () => {
    const { headers, body } = receiver.received.at(-1)!
    return headers['x-hub-signature-256'] === signMeta('fake-secret', body)
  }
  assert.ok(isGenuine())
  for (const kind of ['signature', 'tampered', 'unsigned']) {
    await sandbox.control('POST', '/callbacks/forge', { id, kind })
    assert.ok(!isGenuine(), kind)
    assert.doesNotThrow(() => JSON.parse(receiver.received.at(-1)!.body.toString()), kind)
  }
  await sandbox.control('POST', '/callbacks/forge', { provider: 'meta' })
  assert.match(receiver.received.at(-1)!.headers['x-hub-signature-256'] ?? '', /^sha256=[0-9a-f]{64}$/)
  assert.ok(!isGenuine())
  await sandbox.control('PUT', '/accounts/resend/re_key', { webhook_url: `${receiver.url}/re` })
  await sandbox.control('POST', '/callbacks/forge', { provider: 'resend', kind: 'stale', age_seconds: 900 })
  const age = Date.now() / 1_000 - Number(receiver.received.at(-1)!.headers['svix-timestamp'])
  assert.ok(age >= 899 && age < 910)
})

test('a forged callback that is refused is not repeated', async (t) => {
  const { sandbox, receiver } = await start(t)
  await startMeta(sandbox, receiver)
  receiver.answerWith(() => ({ status: 401 }))
  const { callback } = (await sandbox.control('POST', '/callbacks/forge', { provider: 'meta' })) as {
    callback: { state: string }
  }
  assert.equal(callback.state, 'failed')
})

test('messages are listed with state, our id, callbacks and effects; requests without secrets', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sendSms(sandbox, receiver, 'msg_1')
  await sendSms(sandbox, receiver, 'msg_1')
  await sendSms(sandbox, receiver, 'msg_2', '+56987654321')
  await receiver.waitFor(6)
  const all = (await sandbox.control('GET', '/messages')) as {
    total: number
    effects: unknown
    messages: Array<Record<string, unknown>>
  }
  assert.equal(all.total, 3)
  assert.deepEqual(all.effects, { msg_1: 2, msg_2: 1 })
  const one = (await sandbox.control('GET', '/messages?to=56987654321&provider=twilio')) as typeof all
  assert.equal(one.total, 1)
  assert.equal(one.messages[0]!['reference'], 'msg_2')
  assert.equal((one.messages[0]!['callbacks'] as unknown[]).length, 2)
  const text = JSON.stringify(await sandbox.control('GET', '/requests'))
  assert.match(text, /"authorization":"Basic \*\*\*"/)
  assert.ok(!text.includes(btoa(`AC1:${TOKEN}`)))
})

test('control input with faults is 422, naming each field; what is unknown is 404', async (t) => {
  const { sandbox } = await start(t)
  const call = (method: string, path: string, body?: string) =>
    fetch(`${sandbox.url}/sandbox${path}`, { method, ...(body === undefined ? {} : { body }) })
  const bad = await call('POST', '/faults', JSON.stringify({ provider: 'twilio', fault: 'explode', tims: 2 }))
  assert.equal(bad.status, 422)
  assert.match(await bad.text(), /fault.*must be one of.*tims/s)
  assert.equal((await call('POST', '/faults', '{')).status, 400)
  assert.equal((await call('POST', '/inbound/fax', '{}')).status, 422)
  assert.equal((await call('POST', '/inbound/meta', JSON.stringify({ from: '5691', text: 'x' }))).status, 422)
  assert.equal((await call('GET', '/nothing')).status, 404)
  assert.equal((await fetch(`${sandbox.url}/fax/send`)).status, 404)
})

test('reset forgets messages, faults and settings, and accounts only when asked', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sendSms(sandbox, receiver, 'msg_1')
  await sandbox.control('PATCH', '/settings', { late_ms: 1 })
  await sandbox.control('POST', '/faults', { provider: 'twilio', fault: 'hang' })
  await sandbox.control('POST', '/reset')
  const count = async (path: string, name: string) =>
    ((await sandbox.control('GET', path))[name] as unknown[]).length
  assert.equal(await count('/messages', 'messages'), 0)
  assert.equal(await count('/faults', 'rules'), 0)
  assert.equal((await sandbox.control('GET', '/settings'))['late_ms'], 5_000)
  assert.equal(await count('/accounts', 'accounts'), 1)
  await sandbox.control('POST', '/reset', { accounts: true })
  assert.equal(await count('/accounts', 'accounts'), 0)
})

test('the page shows what was sent, escaped, under a policy that loads nothing from outside', async (t) => {
  const { sandbox, receiver } = await start(t)
  await sandbox.control('PUT', '/accounts/resend/re_key', {
    webhook_url: `${receiver.url}/mail?tenant_id=tableflow_123`,
  })
  const mail = {
    from: 'a@example.com',
    to: 'ana@example.com',
    subject: '<script>alert(1)</script>',
    html: '<b onload="x">hola</b>"',
  }
  const headers = { authorization: 'Bearer re_key', 'content-type': 'application/json' }
  await fetch(`${sandbox.providerUrls.resend}/emails`, {
    method: 'POST',
    headers,
    body: JSON.stringify(mail),
  })
  await receiver.waitFor(2)
  const page = await fetch(sandbox.url)
  const text = await page.text()
  assert.match(text, /&lt;script&gt;alert\(1\)/)
  assert.ok(!text.includes('<script>alert'))
  assert.ok(!text.includes('<b onload'))
  assert.match(text, /tableflow_123/)
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
  assert.ok(!/(?:src|href)="https?:/.test(text))
})

test('the clock comes from outside', async (t) => {
  const now = () => new Date('2030-05-01T12:00:00Z')
  const sandbox = await startTestSandbox(t, { now })
  const receiver = await startReceiver(t)
  await sendSms(sandbox, receiver, 'msg_1')
  assert.equal([...sandbox.world.messages.values()][0]!.created_at, '2030-05-01T12:00:00.000Z')
})

test('closing drops hanging calls and lets the process end', async (t) => {
  const sandbox = await startSandbox({ port: 0 })
  const receiver = await startReceiver(t)
  const hanging = sendSms({ ...sandbox, control: async () => ({}) }, receiver, 'msg_1', '+56988880004')
  while (sandbox.world.requests.length === 0) await nextTurn()
  await sandbox.close()
  await assert.rejects(hanging)
})

test('the command prints where everything is, and says when its port is taken', async (t) => {
  const run = (port: string) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('main.ts', import.meta.url))], {
      env: { ...process.env, SANDBOX_PORT: port },
    })
    t.after(() => child.kill())
    return child
  }
  const first = run('0')
  const [printed] = (await once(first.stdout, 'data')) as [Buffer]
  const [, port] = /Sandbox at http:\/\/127\.0\.0\.1:(\d+)/.exec(printed.toString()) ?? []
  assert.match(printed.toString(), /PROVIDER_URL_TWILIO=http:\/\/127\.0\.0\.1:\d+\/twilio/)
  const second = run(port!)
  const [complaint] = (await once(second.stderr, 'data')) as [Buffer]
  assert.match(complaint.toString(), /taken: set SANDBOX_PORT/)
  assert.deepEqual(await once(second, 'exit'), [1, null])
  first.kill('SIGTERM')
  assert.deepEqual(await once(first, 'exit'), [0, null])
})
