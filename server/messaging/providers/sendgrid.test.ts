import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import sdkClient from '@sendgrid/client'
import sdk from '@sendgrid/mail'
import { createOutbound } from '#core/outbound.ts'
import { testMessagingProvider } from './conformance.ts'
import type { SendCommand } from './provider.ts'
import { type Recorder, type Reply, startRecorder } from '../../testing/recorder.ts'
import { sendgrid } from './sendgrid.ts'
import vectors from './signature-vectors.json' with { type: 'json' }

testMessagingProvider({
  provider: sendgrid,
  channel: 'email',
  account: { name: 'SG.secret_roe_key', input: {} },
  credentials: (made) => ({
    apiKey: 'SG.secret_roe_key',
    fromEmail: 'noreply@roe.com',
    webhookPublicKey: made.public_key,
  }),
  wrong: { apiKey: 'SG.invalid_secret_key' },
  stranger: {},
  withoutSecret: { webhookPublicKey: undefined },
  template: { name: 'd-0123456789abcdef0123456789abcdef', variables: [{ name: 'customer', value: 'Ana' }] },
  inbound: {
    input: {
      from: 'Juan Pérez <juan@example.net>',
      to: 'hola@inbound.roe.com',
      subject: 'Mi pedido ¿cuándo?',
      text: '¿Cuándo llega? 👋',
      headers: { 'In-Reply-To': '<1@roe.com>' },
    },
    from: 'juan@example.net',
    to: 'hola@inbound.roe.com',
    text: '¿Cuándo llega? 👋',
  },
  echo: (text) => JSON.stringify({ errors: [{ message: text, field: null, help: null }] }),
  signsUrl: false,
})

function readCredentials(changes: Record<string, unknown> = {}) {
  return sendgrid.credentials.parse({ apiKey: 'SG.test-secret', fromEmail: 'noreply@roe.com', ...changes })
}

describe('credentials', () => {
  test('the mission’s examples are taken as they are written', () => {
    const examples = [
      { apiKey: 'SG.roe_sendgrid_key', fromEmail: 'noreply@roe.com' },
      { apiKey: 'SG.new_tableflow_sendgrid_key', fromEmail: 'noreply@tableflow.com' },
    ]
    for (const example of examples) {
      assert.deepEqual(sendgrid.credentials.parse(example), { ...example, euDataResidency: false })
    }
  })

  test('one public key or several are taken, as base64 or PEM', () => {
    const { publicKey } = vectors.sendgrid
    const pem = `-----BEGIN PUBLIC KEY-----\n${publicKey}\n-----END PUBLIC KEY-----\n`
    for (const webhookPublicKey of [publicKey, [publicKey, pem]]) {
      assert.ok(sendgrid.credentials.safeParse({ ...readCredentials(), webhookPublicKey }).success)
    }
  })

  test('every fault is named at once', () => {
    const given = { apiKey: 're_1', fromEmail: 'a@b.cl, c@d.cl', webhookPublicKey: 'AAAA', fromName: 'A\nB' }
    const { error } = sendgrid.credentials.safeParse({ ...given, replyTo: 'nobody', extra: 1 })
    const fields = error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? issue.keys : issue.path,
    )
    const expected = ['apiKey', 'extra', 'fromEmail', 'fromName', 'replyTo', 'webhookPublicKey']
    assert.deepEqual(fields?.toSorted(), expected)
  })
})

describe('requests', () => {
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const accepted = { status: 202, headers: { 'x-message-id': '14c5d75ce93' } }
  let reply: Reply = accepted
  let recorder: Recorder

  before(async () => {
    recorder = await startRecorder(() => reply)
  })
  after(async () => {
    await recorder.close()
    await outbound.close()
  })

  async function record(
    command: Partial<SendCommand>,
    changes: Record<string, unknown> = {},
    answer: Reply = accepted,
  ) {
    const context = {
      credentials: readCredentials(changes),
      baseUrl: recorder.url,
      webhookUrl: 'https://pipe.example.com/w',
      outbound,
      timeoutMs: 5_000,
      now: () => new Date('2026-11-22T12:00:00Z'),
    }
    const given: SendCommand = {
      messageId: 'msg_1',
      tenantId: 't_1',
      channel: 'email',
      to: 'ana@example.org',
      subject: 'S',
      media: [],
      attachments: [],
      ...command,
    }
    reply = answer
    const outcome = await sendgrid.send(given, context)
    reply = accepted
    const request = recorder.requests.at(-1)
    return { outcome, request, body: JSON.parse(request?.body.toString() || '{}') as Record<string, unknown> }
  }

  async function recordSdk(mail: Parameters<typeof sdk.send>[0]) {
    sdkClient.setApiKey('SG.test-secret')
    sdkClient.setDefaultRequest('baseUrl', `${recorder.url}/`)
    sdk.setClient(sdkClient)
    await sdk.send(mail)
    const request = recorder.requests.at(-1)
    return { request, body: JSON.parse(request?.body.toString() ?? '') as Record<string, unknown> }
  }

  test('a mail goes out as the SDK sends it', async () => {
    const attachments = [
      { filename: 'a.txt', contentType: 'text/plain', contentBase64: 'aGVsbG8=' },
      { filename: 'b.png', contentType: 'image/png', contentBase64: 'aGVsbG8=', contentId: 'cid1' },
    ]
    const { request, body } = await record(
      { text: 'T', html: '<b>T</b>', attachments },
      { fromName: 'ROE, Inc.', replyTo: 'r@roe.com' },
    )
    // The SDK's types say contentId, which it passes on as it is and SendGrid does not know.
    const official = [
      { content: 'aGVsbG8=', filename: 'a.txt', type: 'text/plain', disposition: 'attachment' },
      {
        content: 'aGVsbG8=',
        filename: 'b.png',
        type: 'image/png',
        disposition: 'inline',
        content_id: 'cid1',
      },
    ]
    const expected = await recordSdk({
      to: 'ana@example.org',
      from: { email: 'noreply@roe.com', name: 'ROE, Inc.' },
      replyTo: 'r@roe.com',
      subject: 'S',
      text: 'T',
      html: '<b>T</b>',
      attachments: official,
      customArgs: { message_id: 'msg_1', tenant_id: 't_1' },
    })
    assert.deepEqual(body, expected.body)
    assert.deepEqual([request?.method, request?.target], [expected.request?.method, expected.request?.target])
    for (const name of ['authorization', 'content-type']) {
      assert.equal(request?.headers[name], expected.request?.headers[name])
    }
  })

  test('a template goes out as the SDK sends it, without the rendered text', async () => {
    const template = { name: 'd-abc', variables: [{ name: 'name', value: 'Ann' }] }
    const { body } = await record({ text: 'rendered', template, subject: '' })
    const expected = await recordSdk({
      to: 'ana@example.org',
      from: 'noreply@roe.com',
      templateId: 'd-abc',
      dynamicTemplateData: { name: 'Ann' },
      customArgs: { message_id: 'msg_1', tenant_id: 't_1' },
    })
    assert.deepEqual(body, expected.body)
  })

  test('another sender keeps its own name, the same sender the connection’s', async () => {
    const changes = { fromName: 'ROE' }
    const named = await record({ text: 'T', from: 'Ventas <ventas@roe.com>' }, changes)
    assert.deepEqual(named.body.from, { email: 'ventas@roe.com', name: 'Ventas' })
    const other = await record({ text: 'T', from: 'ventas@roe.com' }, changes)
    assert.deepEqual(other.body.from, { email: 'ventas@roe.com' })
    const same = await record({ text: 'T', from: 'noreply@roe.com' }, changes)
    assert.deepEqual(same.body.from, { email: 'noreply@roe.com', name: 'ROE' })
  })

  test('an EU account is called in the EU unless the operator names another URL', async () => {
    const seen: string[] = []
    const watching = {
      ...outbound,
      request: (request: { url: string }) => {
        seen.push(request.url)
        return Promise.reject(new Error('not called'))
      },
    }
    const context = { webhookUrl: '', outbound: watching, timeoutMs: 1, now: () => new Date() }
    const credentials = readCredentials({ euDataResidency: true })
    await sendgrid.check({ ...context, credentials, baseUrl: sendgrid.baseUrl })
    await sendgrid.check({ ...context, credentials, baseUrl: 'http://127.0.0.1:1' })
    await sendgrid.check({ ...context, credentials: readCredentials(), baseUrl: sendgrid.baseUrl })
    const paths = ['https://api.eu.sendgrid.com', 'http://127.0.0.1:1', 'https://api.sendgrid.com']
    assert.deepEqual(
      seen,
      paths.map((origin) => `${origin}/v3/scopes`),
    )
  })

  const errors: Array<[status: number, field: string | null, kind: string, failover: boolean]> = [
    [400, 'content.0.value', 'content', false],
    [400, 'from.email', 'config', true],
    [400, 'personalizations.0.to.0.email', 'recipient', false],
    [401, null, 'auth', false],
    [403, 'from', 'config', true],
    [403, null, 'auth', false],
    [404, null, 'config', false],
  ]
  for (const [status, field, kind, failover] of errors) {
    test(`HTTP ${status} about ${field ?? 'no field'} is ${kind}`, async () => {
      const body = JSON.stringify({ errors: [{ message: 'No.', field, help: null }] })
      const { outcome } = await record({ text: 'T' }, {}, { status, body })
      const error = { kind, retry: 'never', failover, message: 'SendGrid: No.', httpStatus: status }
      assert.deepEqual(outcome, { outcome: 'refused', error })
    })
  }

  test('credits used up is the account’s trouble: another provider may send', async () => {
    const body = JSON.stringify({ errors: [{ message: 'Maximum credits exceeded', field: null }] })
    const { outcome } = await record({ text: 'T' }, {}, { status: 401, body })
    assert.deepEqual(outcome.outcome === 'refused' && [outcome.error.kind, outcome.error.failover], [
      'account',
      true,
    ])
  })

  test('a 413 in HTML is a fault of the content', async () => {
    const body = '<html><head><title>413 Request Entity Too Large</title></head></html>'
    const { outcome } = await record({ text: 'T' }, {}, { status: 413, body })
    assert.equal(outcome.outcome === 'refused' && outcome.error.kind, 'content')
  })

  test('X-RateLimit-Reset is obeyed, also when it is past', async () => {
    const nowSeconds = Date.parse('2026-11-22T12:00:00Z') / 1000
    const waits = []
    for (const reset of [nowSeconds + 9, nowSeconds - 9]) {
      const headers = { 'x-ratelimit-reset': String(reset) }
      const { outcome } = await record({ text: 'T' }, {}, { status: 429, headers, body: '{}' })
      waits.push(outcome.outcome === 'refused' && outcome.error.retry)
    }
    assert.deepEqual(waits, [{ afterMs: 9_000 }, { afterMs: 1_000 }])
  })

  test('a key that may not send fails the check', async () => {
    const context = { credentials: readCredentials(), baseUrl: recorder.url, webhookUrl: '', outbound }
    reply = { status: 200, body: JSON.stringify({ scopes: ['alerts.read'] }) }
    const { ok, notes } = await sendgrid.check({ ...context, timeoutMs: 5_000, now: () => new Date() })
    reply = accepted
    assert.equal(ok, false)
    assert.match(notes.join(' '), /may not send mail/)
  })
})
