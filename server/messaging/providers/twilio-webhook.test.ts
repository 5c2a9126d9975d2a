import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import twilioSdk from 'twilio'
import type { RawWebhook } from '#connections'
import type { InboundMessage, StatusReport } from './provider.ts'
import vectors from './signature-vectors.json' with { type: 'json' }
import { twilio } from './twilio.ts'

const receivedAt = new Date('2026-11-22T12:00:00Z')

const accountSid = 'AC00000000000000000000000000000001'
const authToken = 'twilio-secret-token'
const webhookUrl = 'https://pipe.example.com/messaging/webhook/sms?tenant_id=t_1&provider=twilio'

function readCredentials(changes: Record<string, unknown> = {}) {
  return twilio.credentials.parse({ accountSid, authToken, phoneNumber: '+15005550006', ...changes })
}

function createWebhook(
  params: Record<string, string | string[] | undefined>,
  url = webhookUrl,
  token = authToken,
): RawWebhook {
  const form = new URLSearchParams()
  for (const [name, values] of Object.entries(params)) {
    for (const value of [values ?? []].flat()) form.append(name, value)
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
  return twilio.parse(webhook, receivedAt).find((report): report is StatusReport => report.type === 'status')
}

function readInbound(params: Record<string, string>): InboundMessage | undefined {
  const webhook = createWebhook({ MessageSid: 'SM1', SmsStatus: 'received', To: '+15005550006', ...params })
  return twilio
    .parse(webhook, receivedAt)
    .find((report): report is InboundMessage => report.type === 'inbound')
}

describe('signatures', () => {
  for (const vector of vectors.twilio.form) {
    test(`the vector “${vector.name}” verifies, and nothing near it does`, () => {
      const webhook = createWebhook(vector.params, vector.url, vector.authToken)
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

  test('a form signed with a NUL in it is verified as it was signed', () => {
    const webhook = createWebhook({ MessageSid: 'SM1', Body: 'a\0b' })
    assert.deepEqual(twilio.verify(webhook, readCredentials(), receivedAt), { ok: true })
  })

  const floods: Record<string, Record<string, string | string[]>> = {
    'more bytes': { Body: 'x'.repeat(300_000) },
    'more parameters': Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`p${index}`, ''])),
    'more values of one parameter': { p: Array.from({ length: 1_001 }, (_, index) => String(index)) },
  }
  for (const [name, params] of Object.entries(floods)) {
    test(`${name} than Twilio sends are refused before a signature is made of them`, () => {
      const verification = twilio.verify(createWebhook(params), readCredentials(), receivedAt)
      assert.equal(!verification.ok && verification.check, 'body')
    })
  }

  test('during a rotation the former token still verifies', () => {
    const webhook = createWebhook({ MessageSid: 'SM1' }, webhookUrl, 'former-secret-token')
    assert.equal(twilio.verify(webhook, readCredentials(), new Date()).ok, false)
    const rotating = readCredentials({ previousAuthToken: 'former-secret-token' })
    assert.equal(twilio.verify(webhook, rotating, new Date()).ok, true)
  })
})

describe('reports', () => {
  const meanings: Record<string, string | undefined> = {
    accepted: 'queued',
    queued: 'queued',
    sending: 'queued',
    scheduled: 'scheduled',
    sent: 'sent',
    delivered: 'delivered',
    partially_delivered: 'delivered',
    read: 'read',
    undelivered: 'failed',
    failed: 'failed',
    canceled: 'canceled',
    constructor: undefined,
    later_invention: undefined,
  }
  for (const [status, meaning] of Object.entries(meanings)) {
    test(`the status ${status} is ${meaning ?? 'skipped'}`, () => {
      assert.equal(readStatus({ MessageStatus: status })?.status, meaning)
    })
  }

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
    assert.deepEqual(twilio.parse(createWebhook({ CallSid: 'CA1' }), receivedAt), [])
    assert.deepEqual(twilio.parse(createWebhook({ MessageSid: 'SM1' }), receivedAt), [])
  })
})

test('a report happened when it was received: Twilio gives no time', () => {
  assert.deepEqual(readStatus({ MessageStatus: 'sent' })?.at, receivedAt)
  assert.deepEqual(readInbound({ From: '+56911112222', Body: 'hola' })?.at, receivedAt)
})

test('NUL characters of a text do not reach what is stored', () => {
  const [report] = twilio.parse(
    createWebhook({
      MessageSid: 'SM1',
      SmsStatus: 'received',
      From: '+56988888888',
      To: '+15005550006',
      Body: 'ho\0la',
    }),
    receivedAt,
  )
  assert.equal(report?.type === 'inbound' && report.text, 'hola')
})
