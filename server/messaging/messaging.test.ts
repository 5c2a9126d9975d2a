import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import pg from 'pg'
import { startReceiver, type Receiver } from '../testing/receiver.ts'
import { forgetMessages } from './retention.ts'
import { sendMessage } from './send-job.ts'
import { type MessagingServer, startMessagingServer, tenantId } from './testing.ts'

let messaging: MessagingServer
let receiver: Receiver
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  messaging = await startMessagingServer({ after: (work) => void cleanups.push(work) })
  receiver = await startReceiver({ after: (work) => void cleanups.push(work) })
  await messaging.api.call('POST', '/webhooks/endpoints', { url: receiver.url, product_id: 'tableflow' })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function effectsOf(messageId: string): Promise<number> {
  const { messages } = await messaging.control('GET', `messages?reference=${messageId}`)
  return (messages as unknown[]).length
}

describe('sending', () => {
  test('a message goes out, comes back as statuses and reaches the backend as events', async () => {
    const message = await messaging.send('sms', {
      to: '+56 9 8888 8888',
      body: 'Hola',
      reference: 'ORD-1',
      tags: ['order'],
    })
    assert.equal(message.status, 'queued')
    const story = await messaging.until(
      message.id,
      (one) => one.status === 'delivered' && one.reports.length === 2,
    )
    // Two jobs read them, and either may be first.
    assert.deepEqual(story.reports.map((report) => report.status).toSorted(), ['delivered', 'sent'])
    const delivered = await receiver.waitFor(
      (event) => event.body.event === 'message.delivered' && event.body.message_id === message.id,
    )
    assert.equal(delivered.body.tenant_id, tenantId)
    assert.equal(delivered.body.reference, 'ORD-1')
    assert.equal(delivered.body.trace_id, message.trace_id)
  })

  test('an answer lost after the message was taken is healed by the callback and never sent twice', async () => {
    const message = await messaging.send('sms', { to: '+56988880006', body: 'reset after effect' })
    const story = await messaging.until(message.id, (one) => one.status === 'delivered')
    assert.equal(story.attempts[0]?.outcome, 'unknown')
    assert.equal(await effectsOf(message.id), 1)
  })

  test('a provider with idempotency keys is asked again under the same key', async () => {
    const message = await messaging.send('email', {
      to: 'reset-after@example.com',
      subject: 'S',
      htmlContent: '<b>T</b>',
    })
    await messaging.until(message.id, (one) => one.status === 'delivered')
    assert.equal(await effectsOf(message.id), 1)
  })

  test('a refusal that certainly had no effect is tried again', async () => {
    await messaging.control('POST', 'faults', {
      provider: 'twilio',
      match: { to: '+56977770001' },
      fault: 'rate_limited_bare',
      times: 1,
    })
    const message = await messaging.send('sms', { to: '+56977770001', body: 'once refused' })
    const story = await messaging.until(message.id, (one) => one.status === 'delivered')
    assert.deepEqual(
      story.attempts.map((attempt) => attempt.outcome),
      ['refused', 'done'],
    )
  })

  test('what a provider refuses for good fails with its reason, as an event too', async () => {
    const message = await messaging.send('sms', { to: '+15005550001', body: 'bad number' })
    const story = await messaging.until(message.id, (one) => one.status === 'failed')
    assert.equal(story.error?.kind, 'recipient')
    assert.equal(story.error?.code, '21211')
    const failed = await receiver.waitFor(
      (event) => event.body.event === 'message.failed' && event.body.message_id === message.id,
    )
    assert.deepEqual((failed.body.error as { kind: string }).kind, 'recipient')
  })

  test('callbacks in the wrong order, doubled and before the answer give each event once', async () => {
    const numbers = ['+56988880008', '+56988880009', '+56988880014']
    for (const to of numbers) {
      const message = await messaging.send('sms', { to, body: 'disorder' })
      await messaging.until(message.id, (one) => one.status === 'delivered' && one.events.length >= 2)
      await receiver.waitFor(
        (event) => event.body.event === 'message.delivered' && event.body.message_id === message.id,
      )
      const delivered = receiver.events.filter(
        (event) => event.body.event === 'message.delivered' && event.body.message_id === message.id,
      )
      assert.equal(new Set(delivered.map((event) => event.body.id)).size, 1, to)
    }
  })

  test('twenty calls at once with one Idempotency-Key send one message', async () => {
    const body = { to: '+56966660001', body: 'only once' }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => messaging.send('sms', body, { 'idempotency-key': 'order-77' })),
    )
    assert.equal(new Set(answers.map((answer) => answer.id)).size, 1)
    const other = await messaging.api.call<{ code: string }>(
      'POST',
      '/messaging/send/sms',
      { tenant_id: tenantId, ...body, body: 'else' },
      { 'idempotency-key': 'order-77' },
    )
    assert.deepEqual([other.status, other.body.code], [422, 'idempotency_key_reused'])
  })

  test('a scheduled message waits and can be canceled', async () => {
    const sendAt = new Date(Date.now() + 3_600_000).toISOString()
    const message = await messaging.send('sms', { to: '+56966660002', body: 'later', send_at: sendAt })
    assert.equal(message.status, 'scheduled')
    const canceled = await messaging.api.call<{ status: string }>(
      'POST',
      `/messaging/messages/${message.id}/cancel`,
    )
    assert.equal(canceled.body.status, 'canceled')
    assert.equal(await effectsOf(message.id), 0)
  })
})

describe('an automatic reply by mail', () => {
  test('keeps the subject and says that a machine wrote it', async () => {
    await messaging.api.call('PUT', `/messaging/auto-replies/${tenantId}/thanks`, {
      channel: 'email',
      body: 'Gracias, te respondemos pronto.',
    })
    await messaging.control('POST', 'inbound/resend', {
      account: 're_tableflow_resend_key',
      from: 'cliente@example.com',
      to: 'noreply@tableflow.com',
      subject: 'Mi pedido',
      text: 'hola',
    })
    await receiver.waitFor(
      (event) => event.body.event === 'message.queued' && event.body.to === 'cliente@example.com',
    )
    const { body } = await messaging.api.call<{ data: Array<{ id: string }> }>(
      'GET',
      `/messaging/logs/${tenantId}?to=cliente@example.com&direction=out`,
    )
    const id = body.data[0]?.id ?? ''
    await messaging.until(id, (one) => one.status === 'delivered')
    const { requests } = await messaging.control('GET', 'requests?limit=500')
    const sent = (requests as Array<{ body: unknown }>)
      .map((request) => JSON.stringify(request.body))
      .find((text) => text.includes(id))
    assert.match(sent ?? '', /Re: Mi pedido/)
    assert.match(sent ?? '', /Auto-Submitted/)
    await messaging.api.call('DELETE', `/messaging/auto-replies/${tenantId}/thanks`)
  })
})

describe('a process that died', () => {
  async function rerun(messageId: string): Promise<void> {
    const { context } = messaging.server
    const scope = { tenantId, productId: 'tableflow', traceId: 'trace' }
    const run = {
      jobId: 'job_x',
      attempt: 2,
      lastAttempt: false,
      scope,
      traceId: 'trace',
      signal: AbortSignal.timeout(5_000),
    }
    await sendMessage.run(context, { message_id: messageId }, run)
  }

  async function asOwner(text: string, values: unknown[]): Promise<void> {
    const owner = new pg.Client({ connectionString: messaging.ownerUrl })
    await owner.connect()
    await owner.query('set search_path = pipecore')
    await owner.query(text, values)
    await owner.end()
  }

  test('after the provider took the message but before the job ended does not send it again', async () => {
    const message = await messaging.send('sms', { to: '+56988880017', body: 'silent' })
    await messaging.until(message.id, (one) => one.attempts[0]?.outcome === 'done')
    await rerun(message.id)
    assert.equal(await effectsOf(message.id), 1)
    assert.equal((await messaging.story(message.id)).attempts.length, 1)
  })

  test('during the call leaves the message unknown, never sent again, with its reason as an event', async () => {
    const message = await messaging.send('sms', { to: '+56988880017', body: 'silent' })
    await messaging.until(message.id, (one) => one.attempts[0]?.outcome === 'done')
    await asOwner(`update message_attempts set outcome = null where message_id = $1`, [message.id])
    await rerun(message.id)
    const story = await messaging.story(message.id)
    assert.deepEqual([story.status, story.attempts[0]?.outcome], ['unknown', 'unknown'])
    assert.equal(await effectsOf(message.id), 1)
    await receiver.waitFor(
      (event) => event.body.event === 'message.unknown' && event.body.message_id === message.id,
    )
  })

  test('in its last attempt leaves nothing queued for ever', async () => {
    const sendAt = new Date(Date.now() + 3_600_000).toISOString()
    const message = await messaging.send('sms', { to: '+56966660003', body: 'later', send_at: sendAt })
    const scope = { tenantId, productId: 'tableflow', traceId: 'trace' }
    const run = {
      jobId: 'job_x',
      attempt: 101,
      lastAttempt: true,
      scope,
      traceId: 'trace',
      signal: AbortSignal.timeout(5_000),
    }
    await sendMessage.bury?.(messaging.server.context, { message_id: message.id }, run)
    assert.equal((await messaging.story(message.id)).status, 'failed')
  })
})

describe('consent', () => {
  test('a hard bounce puts the address on the list, and the next send is refused before any call', async () => {
    const message = await messaging.send('email', {
      to: 'bounce@example.com',
      subject: 'S',
      textContent: 'T',
    })
    await messaging.until(message.id, (one) => one.status === 'failed')
    assert.deepEqual(
      await messaging.refuse('email', { to: 'Bounce@example.com', subject: 'S', textContent: 'T' }),
      { status: 422, code: 'recipient_suppressed' },
    )
  })

  test('STOP silences a contact until START', async () => {
    const from = '+56955550001'
    await messaging.customerWrites('hola', from)
    await receiver.waitFor((event) => event.body.event === 'message.received' && event.body.from === from)
    await messaging.customerWrites('STOP', from)
    await receiver.waitFor((event) => event.body.event === 'message.opted_out' && event.body.address === from)
    assert.equal(
      (await messaging.refuse('whatsapp', { to: from, body: 'promo' })).code,
      'recipient_suppressed',
    )
    await messaging.customerWrites('START', from)
    await receiver.waitFor((event) => event.body.event === 'message.opted_in' && event.body.address === from)
    await messaging.send('whatsapp', { to: from, body: 'welcome back' })
  })
})

describe('what a wish may undo', () => {
  test('START lifts an opt-out but neither an operator’s entry nor a newer STOP', async () => {
    const from = '+56955550009'
    await messaging.customerWrites('hola', from)
    await messaging.api.call('POST', `/messaging/suppressions/${tenantId}`, {
      channel: 'whatsapp',
      address: from,
    })
    await messaging.customerWrites('START', from)
    await messaging.customerWrites('gracias', from)
    await receiver.waitFor(
      (event) => event.body.event === 'message.received' && event.body.text === 'gracias',
    )
    assert.equal(
      (await messaging.refuse('whatsapp', { to: from, body: 'promo' })).code,
      'recipient_suppressed',
    )
  })
})

describe('retention', () => {
  test('attachments lose their bytes after a week, messages go after their days, with all that hangs on them', async () => {
    const attachments = [{ filename: 'a.txt', content_type: 'text/plain', content_base64: 'aGVsbG8=' }]
    const message = await messaging.send('email', {
      to: 'ana@example.com',
      subject: 'S',
      textContent: 'T',
      attachments,
    })
    await messaging.until(message.id, (one) => one.status === 'delivered')
    const { context } = messaging.server
    const run = {
      jobId: 'job_x',
      attempt: 1,
      lastAttempt: false,
      scope: undefined,
      traceId: 't',
      signal: AbortSignal.timeout(5_000),
    }
    const inDays = (days: number) => ({ ...context, now: () => new Date(Date.now() + days * 86_400_000) })
    const bytesLeft = async () =>
      (await messaging.story(message.id)).content.attachments as Array<{ filename: string; bytes: number }>
    await forgetMessages.run(inDays(6), {}, run)
    assert.equal((await bytesLeft())[0]?.bytes, 6)
    await forgetMessages.run(inDays(8), {}, run)
    assert.deepEqual(await bytesLeft(), [{ filename: 'a.txt', content_type: 'text/plain', bytes: 0 }])
    await forgetMessages.run(inDays(366), {}, run)
    assert.equal((await messaging.api.call('GET', `/messaging/messages/${message.id}`)).status, 404)
  })
})

describe("WhatsApp's 24-hour window", () => {
  test('free text outside it is refused with the reason, and goes once the customer has written', async () => {
    const to = '+56955550002'
    assert.deepEqual(await messaging.refuse('whatsapp', { to, body: 'Hola' }), {
      status: 422,
      code: 'window_closed',
    })
    await messaging.customerWrites('buenas', to)
    await receiver.waitFor((event) => event.body.event === 'message.received' && event.body.from === to)
    const message = await messaging.send('whatsapp', { to, body: 'Hola' })
    await messaging.until(message.id, (one) => one.status === 'read' || one.status === 'delivered')
  })

  test('outside it the template given beside the text goes instead', async () => {
    const { sid } = await createContent()
    await messaging.api.call('PUT', `/messaging/templates/${tenantId}/order_ready/es`, {
      text: 'Hola {{name}}, tu pedido está listo',
      references: { twilio: { name: sid } },
    })
    const message = await messaging.send('whatsapp', {
      to: '+56955550003',
      body: 'Hola Ana, tu pedido está listo',
      template: { name: 'order_ready', locale: 'es-CL', variables: { name: 'Ana' } },
    })
    await messaging.until(message.id, (one) => one.status === 'delivered' || one.status === 'read')
    const { messages } = await messaging.control('GET', `messages?reference=${message.id}`)
    assert.match(JSON.stringify(messages), /Hola Ana, tu pedido está listo/)
  })

  async function createContent(): Promise<{ sid: string }> {
    const response = await fetch(`${messaging.sandbox.providerUrls.twilio}/v1/Content`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from('AC_tableflow_twilio_sid:tableflow_twilio_token').toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        friendly_name: 'order_ready',
        language: 'es',
        variables: { 1: 'Ana' },
        types: { 'twilio/text': { body: 'Hola {{1}}, tu pedido está listo' } },
      }),
    })
    return (await response.json()) as { sid: string }
  }
})

describe('automatic replies', () => {
  test('a keyword is answered, opt-out words are not, and one contact gets no more than its cap', async () => {
    await messaging.api.call('PUT', `/messaging/auto-replies/${tenantId}/menu`, {
      channel: 'whatsapp',
      keywords: ['menú'],
      body: 'Nuestro menú: tableflow.com/menu',
      max_per_hour: 2,
    })
    const from = '+56955550004'
    for (let index = 0; index < 4; index += 1) await messaging.customerWrites(`Quiero el MENU ${index}`, from)
    await messaging.customerWrites('STOP', from)
    await receiver.waitFor((event) => event.body.event === 'message.opted_out' && event.body.address === from)
    const log = await messaging.api.call<{ data: Array<{ auto_reply: string | null }> }>(
      'GET',
      `/messaging/logs/${tenantId}?to=${encodeURIComponent(from)}&direction=out`,
    )
    assert.deepEqual(
      log.body.data.map((message) => message.auto_reply),
      ['menu', 'menu'],
    )
  })
})

describe('changing credentials', () => {
  const configure = (credentials: Record<string, unknown>, provider = 'twilio') =>
    messaging.api.call<{ id: string; version: number }>('POST', '/messaging/config/provider', {
      tenantId,
      channel: 'sms',
      provider,
      credentials,
    })
  const first = {
    accountSid: 'AC_tableflow_twilio_sid',
    authToken: 'tableflow_twilio_token',
    phoneNumber: '+15005550006',
  }

  test('messages under way, and their callbacks, end at the account where they began', async () => {
    await messaging.control('POST', 'faults', {
      provider: 'twilio',
      match: { to: '+56977770002' },
      fault: 'slow',
      after_ms: 300,
      times: 1,
    })
    const message = await messaging.send('sms', { to: '+56977770002', body: 'begun before' })
    const saved = await configure({ ...first, accountSid: 'AC_other_account', authToken: 'other_token' })
    assert.equal(saved.body.version, 2)
    const story = await messaging.until(message.id, (one) => one.status === 'delivered')
    assert.notEqual(story.attempts[0]?.connection_id, saved.body.id)
    await configure(first)
  })

  test('the same credentials again keep the connection', async () => {
    const before = await configure(first)
    assert.equal((await configure(first)).body.id, before.body.id)
  })

  test('many first saves at once make one active connection', async () => {
    await messaging.api.call('POST', '/tenants', { id: 'roe_789', product_id: 'tableflow', name: 'ROE' })
    const save = (provider: string, credentials: Record<string, unknown>) =>
      messaging.api.call('POST', '/messaging/config/provider', {
        tenantId: 'roe_789',
        channel: 'email',
        provider,
        credentials,
      })
    const saves = Array.from({ length: 12 }, (_, index) =>
      index % 2 === 0
        ? save('resend', { apiKey: 're_roe_resend_key', fromEmail: 'a@roe.com' })
        : save('sendgrid', { apiKey: 'SG.roe_sendgrid_key', fromEmail: 'a@roe.com' }),
    )
    const statuses = (await Promise.all(saves)).map((answer) => answer.status)
    assert.deepEqual(new Set(statuses), new Set([200]))
    const { body } = await messaging.api.call<{ data: Array<{ isActive: boolean }> }>(
      'GET',
      '/messaging/config/roe_789',
    )
    assert.deepEqual([body.data.length, body.data.filter((one) => one.isActive).length], [2, 1])
  })
})

describe('switching providers', () => {
  test('new messages go to the new provider at once, those under way end where they began', async () => {
    await messaging.control('POST', 'faults', {
      provider: 'resend',
      match: { to: 'slow@example.com' },
      fault: 'slow',
      after_ms: 400,
    })
    const before = await messaging.send('email', { to: 'slow@example.com', subject: 'S', textContent: 'T' })
    const saved = await messaging.api.call('POST', '/messaging/config/provider', {
      tenantId,
      channel: 'email',
      provider: 'sendgrid',
      credentials: { apiKey: 'SG.new_tableflow_sendgrid_key', fromEmail: 'noreply@tableflow.com' },
    })
    assert.equal(saved.status, 200)
    const after = await messaging.send('email', { to: 'ana@example.com', subject: 'S', textContent: 'T' })
    assert.equal(after.provider, 'sendgrid')
    const story = await messaging.until(before.id, (one) => one.status === 'delivered')
    assert.equal(story.provider, 'resend')
  })
})
