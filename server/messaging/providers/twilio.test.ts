import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import twilioSdk from 'twilio'
import RequestClient from 'twilio/lib/base/RequestClient.js'
import type { ProviderContext, RawWebhook } from '#connections'
import { createOutbound } from '#core/outbound.ts'
import { testMessagingProvider } from './conformance.ts'
import type { InboundMessage, ProviderReport, SendCommand, StatusReport } from './provider.ts'
import { type Recorder, type Reply, startRecorder } from './recorder.ts'
import vectors from './signature-vectors.json' with { type: 'json' }
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

function createWebhook(
  params: Record<string, string | string[]>,
  url = webhookUrl,
  token = authToken,
): RawWebhook {
  const form = new URLSearchParams()
  for (const [name, values] of Object.entries(params)) {
    for (const value of [values].flat()) form.append(name, value)
  }
  return {
    method: 'POST',
    publicUrl: url,
    query: new URL(url).searchParams,
    headers: {
      'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
      'x-twilio-signature': twilioSdk.getExpectedTwilioSignature(token, url, params),
    },
    body: Buffer.from(form.toString()),
  }
}

function readStatus(params: Record<string, string>, query = ''): StatusReport | undefined {
  const webhook = createWebhook({ MessageSid: 'SM1', AccountSid: accountSid, ...params }, webhookUrl + query)
  return twilio.parse(webhook).find((report): report is StatusReport => report.type === 'status')
}

function readInbound(params: Record<string, string>): InboundMessage | undefined {
  const webhook = createWebhook({ MessageSid: 'SM1', SmsStatus: 'received', To: '+15005550006', ...params })
  return twilio.parse(webhook).find((report): report is InboundMessage => report.type === 'inbound')
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

  function createContext(changes: Record<string, unknown> = {}): ProviderContext<unknown> {
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
      override request<TData>(options: Parameters<RequestClient['request']>[0]) {
        const url = new URL(options.uri)
        return super.request<TData>({ ...options, uri: recorder.url + url.pathname + url.search })
      }
    }
    await twilioSdk(accountSid, authToken, { httpClient: new LocalClient() }).messages.create(message)
    return recorder.requests.at(-1)
  }

  function readForm(body: Buffer | undefined) {
    return [...new URLSearchParams(body?.toString())].toSorted()
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
      key: readStatus({ MessageStatus: 'undelivered' })?.key,
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

describe('signatures', () => {
  for (const vector of vectors.twilio.form) {
    test(`the vector “${vector.name}” verifies, and nothing near it does`, () => {
      const webhook = createWebhook(vector.params as Record<string, string>, vector.url, vector.authToken)
      webhook.headers['x-twilio-signature'] = vector.signature
      const account = readCredentials({ authToken: vector.authToken })
      const verify = (changes: Partial<RawWebhook>) =>
        twilio.verify({ ...webhook, ...changes }, account, new Date()).ok
      assert.equal(verify({}), true)
      assert.equal(verify({ publicUrl: vector.url.replace('t_1', 't_2') }), false)
      assert.equal(verify({ publicUrl: vector.url.replace('https', 'http') }), false)
      assert.equal(verify({ publicUrl: vector.url.replace(/\?(.*)&(.*)/, '?$2&$1') }), false)
      assert.equal(verify({ body: Buffer.from(`${webhook.body.toString()}&x=1`) }), false)
      assert.equal(verify({ headers: {} }), false)
    })
  }

  test('the JSON vector verifies, and only with the body its hash was made from', () => {
    const { body, url, signature, authToken: token } = vectors.twilio.json
    const account = readCredentials({ authToken: token })
    const webhook = {
      method: 'POST',
      publicUrl: url,
      query: new URL(url).searchParams,
      headers: { 'content-type': 'application/json', 'x-twilio-signature': signature },
    }
    const verify = (text: string) =>
      twilio.verify({ ...webhook, body: Buffer.from(text) }, account, new Date())
    assert.deepEqual(verify(body), { ok: true })
    const changed = verify(body.replace('1', '2'))
    assert.equal(!changed.ok && changed.check, 'body')
  })

  test('any form is judged as the SDK judges it, genuine and tampered', () => {
    const account = readCredentials()
    const form = fc.dictionary(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 3 }),
    )
    const path = fc.webUrl({ withQueryParameters: true, validSchemes: ['https'] })
    fc.assert(
      fc.property(form, path, fc.boolean(), (params, url, tamper) => {
        const webhook = createWebhook(params, url)
        const publicUrl = tamper ? `${url}x` : url
        const received = Object.fromEntries(
          [...new URLSearchParams(webhook.body.toString()).keys()].map((name) => [
            name,
            new URLSearchParams(webhook.body.toString()).getAll(name),
          ]),
        )
        const signature = webhook.headers['x-twilio-signature'] ?? ''
        const expected = twilioSdk.validateRequest(authToken, signature, publicUrl, received)
        assert.equal(twilio.verify({ ...webhook, publicUrl }, account, new Date()).ok, expected)
        assert.equal(expected, !tamper)
      }),
      { numRuns: 200 },
    )
  })

  test('a port in the URL makes no difference, as with the SDK', () => {
    const account = readCredentials()
    const pairs = [
      ['https://pipe.example.com/w?a=1', 'https://pipe.example.com:443/w?a=1'],
      ['http://pipe.example.com/w', 'http://pipe.example.com:80/w'],
      ['https://pipe.example.com/w', 'https://pipe.example.com:8443/w'],
    ]
    for (const [signed = '', seen = ''] of pairs) {
      const webhook = { ...createWebhook({ A: 'b' }, signed), publicUrl: seen }
      const signature = webhook.headers['x-twilio-signature'] ?? ''
      assert.equal(twilio.verify(webhook, account, new Date()).ok, true)
      assert.equal(twilioSdk.validateRequest(authToken, signature, seen, { A: 'b' }), true)
    }
  })

  test('during a rotation the former token still verifies', () => {
    const webhook = createWebhook({ MessageSid: 'SM1' }, webhookUrl, 'former-secret-token')
    assert.equal(twilio.verify(webhook, readCredentials(), new Date()).ok, false)
    const rotating = readCredentials({ previousAuthToken: 'former-secret-token' })
    assert.equal(twilio.verify(webhook, rotating, new Date()).ok, true)
  })
})

describe('reports', () => {
  test('every status has its meaning, and unknown ones are skipped', () => {
    const meanings = [
      'accepted',
      'queued',
      'sending',
      'scheduled',
      'sent',
      'delivered',
      'partially_delivered',
    ]
      .concat(['read', 'undelivered', 'failed', 'canceled', 'constructor', 'later_invention'])
      .map((status) => readStatus({ MessageStatus: status })?.status)
    assert.deepEqual(meanings, [
      ...['queued', 'queued', 'queued', 'scheduled', 'sent', 'delivered', 'delivered'],
      ...['read', 'failed', 'failed', 'canceled', undefined, undefined],
    ])
  })

  test('our message id comes from the callback’s URL', () => {
    assert.equal(readStatus({ MessageStatus: 'sent' }, '&mid=msg_9')?.messageId, 'msg_9')
  })

  test('63016 without a text says that the window is closed', () => {
    const error = readStatus({ MessageStatus: 'failed', ErrorCode: '63016', ErrorMessage: '' })?.error
    assert.equal(error?.kind, 'window_closed')
    assert.match(error?.message ?? '', /24-hour window is closed/)
  })

  test('an opt-out found on delivery goes to the suppression list, a bad number does not', () => {
    assert.equal(readStatus({ MessageStatus: 'failed', ErrorCode: '21610' })?.suppress, 'opted_out')
    assert.equal(readStatus({ MessageStatus: 'undelivered', ErrorCode: '30006' })?.suppress, undefined)
  })

  const callbackCodes: Record<string, string> = {
    30001: 'transient',
    30002: 'account',
    30003: 'recipient',
    30005: 'recipient',
    30007: 'content',
    30008: 'unknown',
    30034: 'account',
    30450: 'account',
    63013: 'content',
    63018: 'rate_limited',
    63020: 'account',
    63024: 'recipient',
    77777: 'unknown',
  }
  for (const [code, kind] of Object.entries(callbackCodes)) {
    test(`code ${code} on a callback is ${kind}`, () => {
      assert.equal(readStatus({ MessageStatus: 'undelivered', ErrorCode: code })?.error?.kind, kind)
    })
  }

  test('media, buttons, replies, places and opt-outs of a customer are understood', () => {
    const whatsapp = { From: 'whatsapp:+56911112222', To: 'whatsapp:+14155238886', ProfileName: 'Ana' }
    const media = { NumMedia: '1', MediaUrl0: 'https://api.twilio.com/m', MediaContentType0: 'audio/ogg' }
    const withMedia = readInbound({ ...whatsapp, Body: '', ...media })
    assert.deepEqual(withMedia?.media, [
      { kind: 'audio', url: 'https://api.twilio.com/m', contentType: 'audio/ogg' },
    ])
    assert.deepEqual(
      [withMedia?.from, withMedia?.to, withMedia?.profileName],
      ['+56911112222', '+14155238886', 'Ana'],
    )
    const button = readInbound({
      ...whatsapp,
      Body: 'Sí',
      ButtonPayload: 'yes',
      OriginalRepliedMessageSid: 'SM0',
    })
    assert.deepEqual([button?.text, button?.payload, button?.inReplyTo], ['Sí', 'yes', 'SM0'])
    const place = readInbound({ ...whatsapp, Body: '', Latitude: '-33.4', Longitude: '-70.6', Label: 'Casa' })
    assert.equal(place?.text, 'Casa (-33.4, -70.6)')
    assert.equal(readInbound({ From: '+1500', Body: 'STOP', OptOutType: 'STOP' })?.optOut, 'stop')
  })

  test('a person without a phone is known by the business-scoped id', () => {
    assert.equal(readInbound({ From: '', ExternalUserId: 'US.1349' })?.from, 'US.1349')
    assert.equal(readInbound({ From: 'whatsapp:US.1349' })?.from, 'US.1349')
  })

  test('what is no message gives no report', () => {
    const nothing: ProviderReport[] = []
    assert.deepEqual(twilio.parse(createWebhook({ CallSid: 'CA1' })), nothing)
    assert.deepEqual(twilio.parse(createWebhook({ MessageSid: 'SM1' })), nothing)
  })
})
