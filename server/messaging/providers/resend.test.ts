import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type CreateEmailOptions, Resend } from 'resend'
import { PipeError } from '#core/errors.ts'
import { createOutbound } from '#core/outbound.ts'
import { testMessagingProvider } from './conformance.ts'
import type { InboundMessage, SendCommand } from './provider.ts'
import { type Recorder, type Reply, startRecorder } from '../../testing/recorder.ts'
import { resend } from './resend.ts'

testMessagingProvider({
  provider: resend,
  channel: 'email',
  account: { name: 're_secret_tableflow_key', input: { verified_domains: ['tableflow.com'] } },
  credentials: (made) => ({
    apiKey: 're_secret_tableflow_key',
    fromEmail: 'noreply@tableflow.com',
    webhookSecret: made.signing_secret,
  }),
  wrong: { apiKey: 're_invalid_secret_key' },
  stranger: {},
  withoutSecret: { webhookSecret: undefined },
  template: { name: 'order-ready', variables: [{ name: 'customer', value: 'Ana' }] },
  inbound: {
    input: {
      from: 'Juan Pérez <juan@example.net>',
      to: 'hola@inbound.tableflow.com',
      subject: 'Mi pedido',
      text: '¿Cuándo llega? 👋',
    },
    from: 'juan@example.net',
    to: 'hola@inbound.tableflow.com',
    text: '¿Cuándo llega? 👋',
  },
  echo: (text) => JSON.stringify({ statusCode: 422, name: 'validation_error', message: text }),
  signsUrl: false,
})

function readCredentials(changes: Record<string, unknown> = {}) {
  return resend.credentials.parse({
    apiKey: 're_test_secret',
    fromEmail: 'noreply@tableflow.com',
    ...changes,
  })
}

describe('credentials', () => {
  test('the mission’s examples are taken as they are written', () => {
    const examples = [
      { apiKey: 're_tableflow_resend_key', fromEmail: 'noreply@tableflow.com' },
      { apiKey: 're_genda_resend_key', fromEmail: 'noreply@genda.com' },
    ]
    for (const example of examples) assert.deepEqual(resend.credentials.parse(example), example)
  })

  test('every fault is named at once', () => {
    const given = { apiKey: 'SG.1', webhookSecret: 'secret', fromName: '', extra: 1 }
    const { error } = resend.credentials.safeParse(given)
    const fields = error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? issue.keys : issue.path,
    )
    assert.deepEqual(fields?.toSorted(), ['apiKey', 'extra', 'fromEmail', 'fromName', 'webhookSecret'])
  })
})

describe('requests', () => {
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const accepted = { status: 200, body: JSON.stringify({ id: '49a3999c' }) }
  let reply: Reply = accepted
  let recorder: Recorder

  before(async () => {
    recorder = await startRecorder(() => reply)
  })
  after(async () => {
    await recorder.close()
    await outbound.close()
  })

  function createContext(changes: Record<string, unknown> = {}) {
    return {
      credentials: readCredentials(changes),
      baseUrl: recorder.url,
      webhookUrl: 'https://pipe.example.com/w',
      outbound,
      timeoutMs: 5_000,
      now: () => new Date('2026-11-22T12:00:00Z'),
    }
  }

  async function answering<Result>(answer: Reply, run: () => Promise<Result>): Promise<Result> {
    reply = answer
    const result = await run()
    reply = accepted
    return result
  }

  async function record(
    command: Partial<SendCommand>,
    changes: Record<string, unknown> = {},
    answer: Reply = accepted,
  ) {
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
    const outcome = await answering(answer, () => resend.send(given, createContext(changes)))
    const request = recorder.requests.at(-1)
    return { outcome, request, body: JSON.parse(request?.body.toString() || '{}') as Record<string, unknown> }
  }

  async function recordSdk(mail: CreateEmailOptions) {
    const sdk = new Resend('re_test_secret', { baseUrl: recorder.url })
    await sdk.emails.send(mail, { idempotencyKey: 'msg_1' })
    const request = recorder.requests.at(-1)
    return { request, body: JSON.parse(request?.body.toString() ?? '') as Record<string, unknown> }
  }

  const tags = [
    { name: 'tenant_id', value: 't_1' },
    { name: 'message_id', value: 'msg_1' },
  ]

  test('a mail goes out as the SDK sends it, under our id as idempotency key', async () => {
    const attachments = [
      { filename: 'a.txt', contentType: 'text/plain', contentBase64: 'aGVsbG8=', contentId: 'cid1' },
    ]
    const { request, body } = await record(
      { text: 'T', html: '<b>T</b>', attachments },
      { fromName: 'Mesa 1', replyTo: 'r@tableflow.com' },
    )
    const expected = await recordSdk({
      from: 'Mesa 1 <noreply@tableflow.com>',
      to: ['ana@example.org'],
      replyTo: 'r@tableflow.com',
      subject: 'S',
      text: 'T',
      html: '<b>T</b>',
      attachments: [{ filename: 'a.txt', content: 'aGVsbG8=', contentType: 'text/plain', contentId: 'cid1' }],
      tags,
    })
    assert.deepEqual(body, expected.body)
    assert.deepEqual([request?.method, request?.target], [expected.request?.method, expected.request?.target])
    for (const name of ['authorization', 'content-type', 'idempotency-key']) {
      assert.equal(request?.headers[name], expected.request?.headers[name])
    }
  })

  test('a template goes out as the SDK sends it, without the rendered text', async () => {
    const template = { name: 'order-ready', variables: [{ name: 'name', value: 'Ann' }] }
    const { body } = await record({ text: 'rendered', template })
    const expected = await recordSdk({
      from: 'noreply@tableflow.com',
      to: ['ana@example.org'],
      subject: 'S',
      template: { id: 'order-ready', variables: { name: 'Ann' } },
      tags,
    })
    assert.deepEqual(body, expected.body)
  })

  test('tags hold only what Resend allows, and a sender’s name is quoted where it must be', async () => {
    const { body } = await record({ text: 'T', tenantId: 'café/1', from: '"Doe, \\"J\\"" <j@tableflow.com>' })
    assert.deepEqual(body.tags, [{ name: 'tenant_id', value: 'caf__1' }, tags[1]])
    assert.equal(body.from, '"Doe, \\"J\\"" <j@tableflow.com>')
  })

  const errors: Array<
    [status: number, name: string, kind: string, retry: string | object, failover: boolean]
  > = [
    [400, 'invalid_idempotency_key', 'content', 'never', false],
    [401, 'missing_api_key', 'auth', 'never', false],
    [401, 'restricted_api_key', 'auth', 'never', false],
    [403, 'invalid_api_key', 'auth', 'never', false],
    [403, 'validation_error', 'config', 'never', true],
    [404, 'not_found', 'config', 'never', false],
    [422, 'validation_error', 'content', 'never', false],
    [429, 'rate_limit_exceeded', 'rate_limited', { afterMs: 2_000 }, true],
    [429, 'daily_quota_exceeded', 'account', 'never', true],
    [429, 'monthly_quota_exceeded', 'account', 'never', true],
    [451, 'security_error', 'account', 'never', true],
  ]
  for (const [status, name, kind, retry, failover] of errors) {
    test(`HTTP ${status} ${name} is ${kind}`, async () => {
      const body = JSON.stringify({ statusCode: status, name, message: 'No.' })
      const { outcome } = await record({ text: 'T' }, {}, { status, headers: { 'retry-after': '2' }, body })
      const error = {
        kind,
        retry,
        failover,
        code: name,
        message: `Resend: No. (${name})`,
        httpStatus: status,
      }
      assert.deepEqual(outcome, { outcome: 'refused', error })
    })
  }

  test('a key in use or used otherwise leaves the first mail’s outcome unknown; only the former is repeated', async () => {
    const conflict = async (name: string) => {
      const { outcome } = await record({ text: 'T' }, {}, { status: 409, body: JSON.stringify({ name }) })
      return outcome.outcome === 'done' ? [] : [outcome.outcome, outcome.error.retry]
    }
    assert.deepEqual(await conflict('concurrent_idempotent_requests'), ['unknown', { afterMs: 1_000 }])
    assert.deepEqual(await conflict('invalid_idempotent_request'), ['unknown', 'never'])
  })

  test('a 500 may be repeated under the same key', async () => {
    const body = JSON.stringify({ name: 'application_error', message: 'Oops.' })
    const { outcome } = await record({ text: 'T' }, {}, { status: 500, body })
    assert.deepEqual(outcome.outcome === 'unknown' && [outcome.error.retry, outcome.error.failover], [
      'backoff',
      false,
    ])
  })

  const lastEvents: Record<string, string | undefined> = {
    queued: 'queued',
    scheduled: 'scheduled',
    sent: 'sent',
    delivery_delayed: 'sent',
    delivered: 'delivered',
    opened: 'delivered',
    clicked: 'delivered',
    complained: 'delivered',
    bounced: 'failed',
    suppressed: 'failed',
    canceled: 'canceled',
    later_invention: undefined,
  }
  for (const [lastEvent, status] of Object.entries(lastEvents)) {
    test(`a look-up that finds ${lastEvent} reports ${status ?? 'nothing'}`, async () => {
      const answer = { status: 200, body: JSON.stringify({ id: '49a', last_event: lastEvent }) }
      const report = await answering(answer, async () => resend.lookup?.('49a', createContext()))
      assert.equal(report?.status, status)
      assert.equal(recorder.requests.at(-1)?.target, '/emails/49a')
    })
  }

  const received: InboundMessage = {
    type: 'inbound',
    key: 'evt_1',
    at: new Date(0),
    providerMessageId: '49a',
    from: 'juan@example.net',
    to: 'hola@tableflow.com',
    media: [],
    automated: false,
    fetchContent: true,
  }

  test('a received mail is completed with its text, and with what its headers tell', async () => {
    const mail = {
      text: 'hola',
      html: null,
      headers: { 'In-Reply-To': '<1@t>', 'Auto-Submitted': 'auto-replied' },
    }
    const answer = { status: 200, body: JSON.stringify(mail) }
    const complete = await answering(answer, async () => resend.fetchInbound?.(received, createContext()))
    assert.match(recorder.requests.at(-1)?.target ?? '', /^\/emails\/receiving\/49a\b/)
    assert.deepEqual(
      [complete?.text, complete?.html, complete?.inReplyTo, complete?.automated, complete?.fetchContent],
      ['hola', undefined, '<1@t>', true, false],
    )
  })

  test('a received mail that Resend no longer has stays as its webhook told it', async () => {
    const answer = { status: 404, body: '{"name":"not_found","message":"No."}' }
    const complete = await answering(answer, async () => resend.fetchInbound?.(received, createContext()))
    assert.deepEqual(complete, { ...received, fetchContent: false })
  })

  test('a received mail that can not be fetched is an outage', async () => {
    const fetching = answering({ status: 503 }, async () => resend.fetchInbound?.(received, createContext()))
    await assert.rejects(
      fetching,
      (error) => error instanceof PipeError && error.code === 'provider_unavailable',
    )
    reply = accepted
  })

  const domains = (status: string, name = 'tableflow.com') => JSON.stringify({ data: [{ name, status }] })
  const checks: Array<[name: string, answer: Reply, ok: boolean, words: RegExp]> = [
    ['a verified domain', { status: 200, body: domains('verified') }, true, /tableflow\.com is verified/],
    ['a pending domain', { status: 200, body: domains('pending') }, false, /tableflow\.com is pending/],
    ['another domain', { status: 200, body: domains('verified', 'x.cl') }, false, /not in this account/],
    [
      'a key that may only send',
      { status: 401, body: JSON.stringify({ name: 'restricted_api_key', message: 'x' }) },
      true,
      /may only send/,
    ],
    [
      'a bad key',
      { status: 403, body: JSON.stringify({ name: 'invalid_api_key', message: 'x' }) },
      false,
      /Resend: x/,
    ],
  ]
  for (const [name, answer, ok, words] of checks) {
    test(`the check with ${name} ${ok ? 'passes' : 'fails'} and says so`, async () => {
      const result = await answering(answer, () => resend.check(createContext()))
      assert.equal(result.ok, ok)
      assert.match(result.notes.join(' ').replaceAll(/<\w+>/g, ''), words)
    })
  }
})
