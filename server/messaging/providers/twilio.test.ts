import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import twilioSdk from 'twilio'
import RequestClient from 'twilio/lib/base/RequestClient.js'
import { createOutbound } from '#core/outbound.ts'
import { testMessagingProvider } from './conformance.ts'
import type { SendCommand } from './provider.ts'
import { type Recorder, type Reply, startRecorder } from '../../testing/recorder.ts'
import { twilio } from './twilio.ts'

const accountSid = 'AC00000000000000000000000000000001'
const authToken = 'twilio-secret-token'
const webhookUrl = 'https://pipe.example.com/messaging/webhook/sms?tenant_id=t_1&provider=twilio'

testMessagingProvider({
  provider: twilio,
  channel: 'whatsapp',
  account: { name: 'AC_tableflow_twilio_sid', input: { token: authToken } },
  credentials: () => ({
    accountSid: 'AC_tableflow_twilio_sid',
    authToken,
    whatsappNumber: 'whatsapp:+14155238886',
  }),
  wrong: { authToken: 'another-secret-token' },
  stranger: { accountSid: 'AC_somebody_else' },
  template: {
    name: `HX${'0a'.repeat(16)}`,
    variables: [
      { name: 'customer', value: 'Ana' },
      { name: 'order', value: 'ORD-123' },
    ],
  },
  media: { kind: 'image', url: 'https://example.com/a%20b.png', caption: 'Mira' },
  inbound: {
    input: { from: 'whatsapp:+56933334444', to: 'whatsapp:+14155238886', text: 'Hola, ¿está listo? 👋 ' },
    from: '+56933334444',
    to: '+14155238886',
    text: 'Hola, ¿está listo? 👋 ',
  },
  echo: (text) => JSON.stringify({ code: 20001, message: text, status: 400 }),
  signsUrl: true,
})

function readCredentials(changes: Record<string, unknown> = {}) {
  return twilio.credentials.parse({ accountSid, authToken, phoneNumber: '+15005550006', ...changes })
}

describe('credentials', () => {
  test('the mission’s examples are taken as they are written', () => {
    const examples = [
      {
        accountSid: 'AC_tableflow_twilio_sid',
        authToken: 'tableflow_twilio_token',
        whatsappNumber: 'whatsapp:+14155238886',
      },
      { accountSid: 'AC_roe_twilio_sid', authToken: 'roe_twilio_token', phoneNumber: '+1234567890' },
      {
        accountSid: 'AC.genda_twilio_sid',
        authToken: 'genda_twilio_token',
        whatsappNumber: 'whatsapp:+14155238886',
      },
    ]
    for (const example of examples) assert.deepEqual(twilio.credentials.parse(example), example)
  })

  test('every fault is named at once', () => {
    const given = { accountSid: 'SK1', whatsAppNumber: '+1', apiKeySid: 'SK1', messagingServiceSid: 'X' }
    const { error } = twilio.credentials.safeParse(given)
    const fields = error?.issues
      .map((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : issue.path))
      .flat()
    assert.deepEqual(fields?.toSorted(), [
      'accountSid',
      'apiKeySecret',
      'authToken',
      'messagingServiceSid',
      'whatsAppNumber',
    ])
  })

  test('without any sender the fault says which fields would do', () => {
    const { error } = twilio.credentials.safeParse({ accountSid, authToken })
    assert.match(error?.issues[0]?.message ?? '', /whatsappNumber, phoneNumber or messagingServiceSid/)
  })

  test('the sender of a channel is the bare number', () => {
    const credentials = readCredentials({ whatsappNumber: 'whatsapp:+14155238886' })
    assert.equal(twilio.sender(credentials, 'whatsapp'), '+14155238886')
    assert.equal(twilio.sender(credentials, 'sms'), '+15005550006')
  })
})

describe('requests', () => {
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const accepted = { status: 201, body: JSON.stringify({ sid: 'SM1', status: 'queued', error_code: null }) }
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
    const credentials = readCredentials(changes)
    const now = () => new Date('2026-11-22T12:00:00Z')
    return { credentials, baseUrl: recorder.url, webhookUrl, outbound, timeoutMs: 5_000, now }
  }

  async function record(command: Partial<SendCommand>, changes: Record<string, unknown> = {}) {
    const given: SendCommand = {
      messageId: 'msg_1',
      tenantId: 't_1',
      channel: 'sms',
      to: '+15005550010',
      media: [],
      attachments: [],
      ...command,
    }
    const outcome = await twilio.send(given, createContext(changes))
    return { outcome, request: recorder.requests.at(-1) }
  }

  async function recordSdk(message: Parameters<ReturnType<typeof twilioSdk>['messages']['create']>[0]) {
    class LocalClient extends RequestClient {
      override request<TData>(options: RequestClient.RequestOptions<TData>) {
        const url = new URL(options.uri)
        return super.request<TData>({ ...options, uri: recorder.url + url.pathname + url.search })
      }
    }
    await twilioSdk(accountSid, authToken, { httpClient: new LocalClient() }).messages.create(message)
    return recorder.requests.at(-1)
  }

  function readForm(body: Buffer | undefined) {
    const form = new URLSearchParams(body?.toString())
    form.sort()
    return [...form]
  }

  test('text and media go out as the SDK sends them', async () => {
    const [body, first, second] = ['hi & bye é+ 👋', 'https://a.example/1.png', 'https://a.example/2.png?b=1']
    const media = [first, second].map((url) => ({ kind: 'image' as const, url }))
    const { request } = await record({ text: body, media })
    const statusCallback = `${webhookUrl}&mid=msg_1`
    const from = '+15005550006'
    const expected = await recordSdk({
      to: '+15005550010',
      from,
      body,
      mediaUrl: [first, second],
      statusCallback,
    })
    assert.deepEqual(readForm(request?.body), readForm(expected?.body))
    assert.deepEqual([request?.method, request?.target], [expected?.method, expected?.target])
    for (const name of ['authorization', 'content-type']) {
      assert.equal(request?.headers[name], expected?.headers[name])
    }
  })

  test('a WhatsApp template goes out as the SDK sends it, variables by their place', async () => {
    const variables = [
      { name: 'name', value: 'Ann "A"' },
      { name: 'order', value: '7' },
    ]
    const template = { name: `HX${'b'.repeat(32)}`, variables }
    const changes = { whatsappNumber: '+14155238886' }
    const { request } = await record({ channel: 'whatsapp', text: 'rendered', template }, changes)
    const expected = await recordSdk({
      to: 'whatsapp:+15005550010',
      from: 'whatsapp:+14155238886',
      contentSid: template.name,
      contentVariables: JSON.stringify({ 1: 'Ann "A"', 2: '7' }),
      statusCallback: `${webhookUrl}&mid=msg_1`,
    })
    assert.deepEqual(readForm(request?.body), readForm(expected?.body))
  })

  test('an API key signs the call and a messaging service picks the sender', async () => {
    const changes = { apiKeySid: 'SK1', apiKeySecret: 'key-secret', messagingServiceSid: 'MG1' }
    const { request } = await record({ text: 'hi' }, changes)
    const basic = Buffer.from('SK1:key-secret').toString('base64')
    assert.equal(request?.headers.authorization, `Basic ${basic}`)
    const form = new URLSearchParams(request?.body.toString())
    assert.deepEqual([form.get('MessagingServiceSid'), form.get('From')], ['MG1', null])
  })

  test('WhatsApp without a WhatsApp number is a fault of the connection', async () => {
    const { outcome } = await record({ channel: 'whatsapp', text: 'hi' })
    assert.equal(outcome.outcome === 'refused' && outcome.error.kind, 'config')
  })

  const codes: Array<[status: number, code: number, kind: string, retry: string, failover: boolean]> = [
    [401, 20003, 'auth', 'never', false],
    [404, 20404, 'config', 'never', false],
    [429, 20429, 'rate_limited', 'backoff', true],
    [400, 21211, 'recipient', 'never', false],
    [403, 21408, 'account', 'never', true],
    [400, 21610, 'opted_out', 'never', false],
    [400, 21617, 'content', 'never', false],
    [400, 99999, 'content', 'never', false],
  ]
  for (const [status, code, kind, retry, failover] of codes) {
    test(`HTTP ${status} with code ${code} is ${kind}`, async () => {
      reply = { status, body: JSON.stringify({ code, message: 'No.', status }) }
      const { outcome } = await record({ text: 'hi' })
      reply = accepted
      const message = `Twilio: No. (${code})`
      const error = { kind, retry, failover, code: String(code), message, httpStatus: status }
      assert.deepEqual(outcome, { outcome: 'refused', error })
    })
  }

  test('Retry-After of a 429 is obeyed, in seconds or as a date', async () => {
    const waits = []
    for (const retryAfter of ['7', 'Sun, 22 Nov 2026 12:00:09 GMT']) {
      reply = { status: 429, headers: { 'retry-after': retryAfter }, body: '{"code":20429}' }
      const { outcome } = await record({ text: 'hi' })
      waits.push(outcome.outcome === 'refused' && outcome.error.retry)
    }
    reply = accepted
    assert.deepEqual(waits, [{ afterMs: 7_000 }, { afterMs: 9_000 }])
  })

  test('a look-up tells state, time, cost and error under the key of the callback', async () => {
    const message = {
      sid: 'SM1',
      status: 'undelivered',
      to: 'whatsapp:+56911112222',
      date_updated: 'Sun, 22 Nov 2026 11:59:00 +0000',
      error_code: 30005,
      price: '-0.00750',
      price_unit: 'usd',
    }
    reply = { status: 200, body: JSON.stringify(message) }
    const found = await twilio.lookup?.('SM1', createContext())
    reply = accepted
    assert.equal(recorder.requests.at(-1)?.target, `/2010-04-01/Accounts/${accountSid}/Messages/SM1.json`)
    assert.deepEqual(found, {
      type: 'status',
      key: 'SM1:undelivered',
      at: new Date('2026-11-22T11:59:00Z'),
      providerMessageId: 'SM1',
      status: 'failed',
      detail: 'undelivered',
      recipient: '+56911112222',
      cost: { amount: '0.00750', currency: 'USD' },
      error: {
        kind: 'recipient',
        retry: 'never',
        failover: false,
        code: '30005',
        message: 'the recipient can not be reached (30005)',
      },
    })
  })

  test('the check tries the Auth Token and the API key, and names a trial account', async () => {
    reply = { status: 200, body: JSON.stringify({ friendly_name: 'Mesa', status: 'active', type: 'Trial' }) }
    const { ok, notes } = await twilio.check(createContext({ apiKeySid: 'SK1', apiKeySecret: 'key-secret' }))
    reply = accepted
    assert.equal(ok, true)
    assert.match(notes.join(' '), /"Mesa".*trial account.*API key works/)
    const users = recorder.requests.slice(-2).map(({ headers }) => {
      return Buffer.from(headers.authorization?.slice(6) ?? '', 'base64')
        .toString()
        .split(':')[0]
    })
    assert.deepEqual(users, [accountSid, 'SK1'])
  })
})
