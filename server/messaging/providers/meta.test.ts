import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createOutbound } from '#core/outbound.ts'
import { testMessagingProvider } from './conformance.ts'
import { meta } from './meta.ts'
import type { SendCommand } from './provider.ts'
import { type Recorder, type Reply, startRecorder } from '../../testing/recorder.ts'

const accessToken = 'meta-secret-token'

testMessagingProvider({
  provider: meta,
  channel: 'whatsapp',
  account: {
    name: 'genda_phone_number_id',
    input: { token: accessToken, app_secret: 'app-secret-0123456789', waba_id: 'waba_1' },
  },
  credentials: () => ({
    accessToken,
    phoneNumberId: 'genda_phone_number_id',
    verifyToken: 'verify-secret',
    appSecret: 'app-secret-0123456789',
    wabaId: 'waba_1',
  }),
  wrong: { accessToken: 'another-secret-token' },
  stranger: { phoneNumberId: 'somebody_else' },
  withoutSecret: { appSecret: undefined },
  template: {
    name: 'order_ready',
    language: 'es_CL',
    variables: [
      { name: 'customer', value: 'Ana' },
      { name: 'order', value: 'ORD-123' },
    ],
  },
  media: { kind: 'document', url: 'https://example.com/a.pdf', filename: 'Boleta.pdf' },
  inbound: {
    input: { from: '+56 9 3333 4444', text: 'Lucía: ¿está listo? 👋' },
    from: '+56933334444',
    to: 'genda_phone_number_id',
    text: 'Lucía: ¿está listo? 👋',
  },
  echo: (text) => JSON.stringify({ error: { code: 100, message: text, error_data: { details: text } } }),
  signsUrl: false,
})

function readCredentials(changes: Record<string, unknown> = {}) {
  const required = { accessToken, phoneNumberId: '106540352242922', verifyToken: 'verify-t1' }
  return meta.credentials.parse({ ...required, ...changes })
}

describe('credentials', () => {
  test('the mission’s example is taken as it is written, with a version of the API', () => {
    const example = {
      accessToken: 'meta_genda_access_token',
      phoneNumberId: 'genda_phone_number_id',
      verifyToken: 'genda_verify_token',
    }
    assert.deepEqual(meta.credentials.parse(example), { ...example, graphVersion: 'v23.0' })
  })

  test('every fault is named at once', () => {
    const given = { accessToken: 'EAA\n', phoneNumberId: '+56 9', graphVersion: '23', token: 'x' }
    const { error } = meta.credentials.safeParse(given)
    const fields = error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? issue.keys : issue.path,
    )
    assert.deepEqual(fields?.toSorted(), [
      'accessToken',
      'graphVersion',
      'phoneNumberId',
      'token',
      'verifyToken',
    ])
  })
})

describe('requests', () => {
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const accepted = { status: 200, body: JSON.stringify({ messages: [{ id: 'wamid.1' }] }) }
  let reply: Reply = accepted
  let recorder: Recorder

  before(async () => {
    recorder = await startRecorder(() => reply)
  })
  after(async () => {
    await recorder.close()
    await outbound.close()
  })

  async function record(command: Partial<SendCommand>, answer: Reply = accepted) {
    const context = {
      credentials: readCredentials(),
      baseUrl: recorder.url,
      webhookUrl: 'https://pipe.example.com/w',
      outbound,
      timeoutMs: 5_000,
      now: () => new Date('2026-11-22T12:00:00Z'),
    }
    const given: SendCommand = {
      messageId: 'msg_1',
      tenantId: 't_1',
      channel: 'whatsapp',
      to: '+16505551234',
      media: [],
      attachments: [],
      ...command,
    }
    reply = answer
    const outcome = await meta.send(given, context)
    reply = accepted
    const request = recorder.requests.at(-1)
    return { outcome, request, body: JSON.parse(request?.body.toString() || '{}') as Record<string, unknown> }
  }

  const common = {
    messaging_product: 'whatsapp',
    recipient_type: 'individual',
    biz_opaque_callback_data: 'msg_1',
  }

  test('text goes to the number’s messages, with our id beside it', async () => {
    const { request, body } = await record({ text: 'hi' })
    assert.equal(request?.target, '/v23.0/106540352242922/messages')
    assert.equal(request?.headers.authorization, `Bearer ${accessToken}`)
    assert.equal(request?.headers['content-type'], 'application/json')
    const text = { preview_url: false, body: 'hi' }
    assert.deepEqual(body, { ...common, to: '16505551234', type: 'text', text })
  })

  test('a business-scoped id goes in `recipient`', async () => {
    const { body } = await record({ to: 'US.1349', text: 'hi' })
    assert.deepEqual([body.recipient, body.to], ['US.1349', undefined])
  })

  test('media carry the text as caption, documents their name', async () => {
    const link = 'https://example.com/a'
    const image = await record({ text: 'Mira', media: [{ kind: 'image', url: link, filename: 'a.png' }] })
    assert.deepEqual(image.body.image, { link, caption: 'Mira' })
    const document = await record({
      media: [{ kind: 'document', url: link, caption: 'B', filename: 'b.pdf' }],
    })
    assert.deepEqual(document.body.document, { link, caption: 'B', filename: 'b.pdf' })
  })

  test('a template carries language, variables in order, and its header medium', async () => {
    const variables = [
      { name: 'first', value: 'Ann' },
      { name: 'second', value: '7' },
    ]
    const template = { name: 'order_ready', language: 'en_US', variables }
    const media = [{ kind: 'image' as const, url: 'https://example.com/a' }]
    const { body } = await record({ text: 'rendered', template, media })
    assert.deepEqual(body.template, {
      name: 'order_ready',
      language: { code: 'en_US' },
      components: [
        { type: 'header', parameters: [{ type: 'image', image: { link: 'https://example.com/a' } }] },
        {
          type: 'body',
          parameters: [
            { type: 'text', text: 'Ann' },
            { type: 'text', text: '7' },
          ],
        },
      ],
    })
    assert.equal(body.text, undefined)
  })

  const url = 'https://example.com/a'
  const impossible: Array<[name: string, command: Partial<SendCommand>]> = [
    [
      'two media',
      {
        media: [
          { kind: 'image', url },
          { kind: 'image', url },
        ],
      },
    ],
    ['text beside audio', { text: 'hi', media: [{ kind: 'audio', url }] }],
    ['a template without language', { template: { name: 'a', variables: [] } }],
    [
      'a sticker as header',
      { template: { name: 'a', language: 'es', variables: [] }, media: [{ kind: 'sticker', url }] },
    ],
  ]
  for (const [name, command] of impossible) {
    test(`${name} can not be carried and is refused in words`, async () => {
      const sent = recorder.requests.length
      const { outcome } = await record(command)
      assert.equal(outcome.outcome === 'refused' && outcome.error.kind, 'content')
      assert.equal(recorder.requests.length, sent)
    })
  }

  test('a number that Meta writes otherwise is told as the recipient, one it writes alike is not', async () => {
    const answer = (waId: string) => ({
      status: 200,
      body: JSON.stringify({ contacts: [{ input: 'x', wa_id: waId }], messages: [{ id: 'wamid.1' }] }),
    })
    const same = (await record({ text: 'hi' }, answer('16505551234'))).outcome
    assert.equal(same.outcome === 'done' && same.recipient, undefined)
    const other = (await record({ text: 'hi', to: '+5491155550000' }, answer('541155550000'))).outcome
    assert.equal(other.outcome === 'done' && other.recipient, '+541155550000')
  })

  test('a message held back for a look at its quality is queued, and says so', async () => {
    const messages = [{ id: 'wamid.1', message_status: 'held_for_quality_assessment' }]
    const { outcome } = await record({ text: 'hi' }, { status: 200, body: JSON.stringify({ messages }) })
    assert.deepEqual(outcome, {
      outcome: 'done',
      providerMessageId: 'wamid.1',
      status: 'queued',
      detail: 'held_for_quality_assessment',
    })
  })

  const day = { afterMs: 86_400_000 }
  const codes: Array<[code: number, kind: string, retry: string | object, failover: boolean]> = [
    [190, 'auth', 'never', false],
    [10, 'auth', 'never', false],
    [230, 'auth', 'never', false],
    [1, 'unknown', 'backoff', true],
    [4, 'rate_limited', 'backoff', true],
    [130429, 'rate_limited', 'backoff', true],
    [131056, 'rate_limited', { afterMs: 6_000 }, false],
    [131048, 'account', 'never', false],
    [131049, 'recipient', day, false],
    [131050, 'opted_out', 'never', false],
    [131047, 'window_closed', 'never', false],
    [131026, 'recipient', 'never', false],
    [131030, 'config', 'never', false],
    [131051, 'content', 'never', false],
    [131031, 'account', 'never', false],
    [132001, 'content', 'never', false],
    [132069, 'rate_limited', { afterMs: 3_600_000 }, false],
    [987654, 'unknown', 'never', false],
  ]
  for (const [code, kind, retry, failover] of codes) {
    test(`HTTP 400 with code ${code} is ${kind}`, async () => {
      const body = JSON.stringify({ error: { code, message: '(#1) No.', error_data: { details: 'Why.' } } })
      const { outcome } = await record({ text: 'hi' }, { status: 400, body })
      const message = `Meta: (#1) No.: Why. (${code})`
      const error = { kind, retry, failover, code: String(code), message, httpStatus: 400 }
      assert.deepEqual(outcome, { outcome: 'refused', error })
    })
  }

  test('a 5xx is unknown, but “service down” says that nothing was taken', async () => {
    const fail = async (code: number) => {
      const body = JSON.stringify({ error: { code, is_transient: true } })
      return (await record({ text: 'hi' }, { status: 503, body })).outcome.outcome
    }
    assert.deepEqual(
      [await fail(131000), await fail(987654), await fail(2)],
      ['unknown', 'unknown', 'refused'],
    )
  })

  test('is_transient makes an unknown code one to try again', async () => {
    const body = JSON.stringify({ error: { code: 987654, is_transient: true } })
    const { outcome } = await record({ text: 'hi' }, { status: 400, body })
    assert.deepEqual(outcome.outcome === 'refused' && [outcome.error.kind, outcome.error.retry], [
      'transient',
      'backoff',
    ])
  })

  test('the usage header says how long calls are not taken', async () => {
    const usage = { 1029: [{ type: 'whatsapp', estimated_time_to_regain_access: 3 }] }
    const headers = { 'x-business-use-case-usage': JSON.stringify(usage) }
    const { outcome } = await record(
      { text: 'hi' },
      { status: 400, headers, body: '{"error":{"code":80007}}' },
    )
    assert.deepEqual(outcome.outcome === 'refused' && outcome.error.retry, { afterMs: 180_000 })
  })
})
