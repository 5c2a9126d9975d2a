import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { RawWebhook } from '#connections'
import { meta } from './meta.ts'
import type { ProviderReport } from './provider.ts'
import vectors from './signature-vectors.json' with { type: 'json' }

const receivedAt = new Date('2026-11-22T12:00:00Z')

const appSecret = 'app-secret-0123456789'
const phoneNumberId = '106540352242922'
const credentials = readCredentials()

function readCredentials(changes: Record<string, unknown> = {}) {
  const required = { accessToken: 'meta-secret-token', phoneNumberId, verifyToken: 'verify-t1', appSecret }
  return meta.credentials.parse({ ...required, ...changes })
}

function createWebhook(body: string | Buffer, secret = appSecret): RawWebhook {
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
  const publicUrl = 'https://pipe.example.com/messaging/webhook/whatsapp?tenant_id=t_1&provider=meta'
  return {
    method: 'POST',
    publicUrl,
    query: new URL(publicUrl).searchParams,
    headers: { 'x-hub-signature-256': signature },
    body: Buffer.from(body),
  }
}

interface Entry {
  value: object
  field?: string
  number?: string
  waba?: string
}

function createBatch(...entries: Entry[]): RawWebhook {
  const entry = entries.map(({ value, field = 'messages', number = phoneNumberId, waba = 'waba_1' }) => {
    const metadata = { display_phone_number: '15550783881', phone_number_id: number }
    const named = number === '' ? value : { metadata, ...value }
    return { id: waba, time: 1750000100, changes: [{ field, value: named }] }
  })
  return createWebhook(JSON.stringify({ object: 'whatsapp_business_account', entry }))
}

function parse(value: object, field?: string): ProviderReport[] {
  return meta.parse(createBatch({ value, ...(field !== undefined && { field }) }), receivedAt)
}

const status = { id: 'wamid.1', status: 'delivered', timestamp: '1750000000', recipient_id: '16505551234' }
const message = {
  from: '16505551234',
  id: 'wamid.2',
  timestamp: '1750000001',
  type: 'text',
  text: { body: 'hola' },
}

describe('handshake', () => {
  function shake(query: string, method = 'GET') {
    const publicUrl = `https://pipe.example.com/messaging/webhook/whatsapp?tenant_id=t_1&provider=meta&${query}`
    const webhook = { ...createWebhook(''), method, publicUrl, query: new URL(publicUrl).searchParams }
    return meta.handshake?.(webhook, credentials)
  }

  test('the vector is answered with exactly its challenge', () => {
    const { request, response } = vectors.meta_handshake
    const webhook = {
      ...createWebhook(''),
      method: 'GET',
      publicUrl: request,
      query: new URL(request).searchParams,
    }
    assert.deepEqual(meta.handshake?.(webhook, credentials), { ...response, contentType: 'text/plain' })
  })

  test('a wrong token or a challenge that is markup is refused', () => {
    assert.equal(shake('hub.mode=subscribe&hub.challenge=1&hub.verify_token=other')?.status, 403)
    assert.equal(shake('hub.mode=subscribe&hub.challenge=1')?.status, 403)
    assert.equal(shake('hub.mode=subscribe&hub.challenge=%3Cb%3E&hub.verify_token=verify-t1')?.status, 403)
  })

  test('any other request is no handshake', () => {
    assert.equal(shake('a=1'), undefined)
    assert.equal(shake('hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-t1', 'POST'), undefined)
  })
})

describe('signatures', () => {
  for (const vector of vectors.meta) {
    test(`the vector “${vector.name}” verifies`, () => {
      const webhook = createWebhook(vector.body, vector.appSecret)
      assert.equal(webhook.headers['x-hub-signature-256'], vector.header)
      assert.deepEqual(meta.verify(webhook, credentials, new Date()), { ok: true })
    })
  }

  test('no changed byte passes', () => {
    const genuine = createBatch({ value: { statuses: [status] } })
    const change = fc.record({ at: fc.nat(genuine.body.length - 1), by: fc.integer({ min: 1, max: 255 }) })
    fc.assert(
      fc.property(change, ({ at, by }) => {
        const body = Buffer.from(genuine.body)
        body[at] = ((body[at] ?? 0) + by) % 256
        assert.equal(meta.verify({ ...genuine, body }, credentials, new Date()).ok, false)
      }),
    )
  })

  test('during a rotation the former secret still verifies', () => {
    const webhook = createWebhook('{}', 'former-secret')
    assert.equal(meta.verify(webhook, credentials, new Date()).ok, false)
    const rotating = readCredentials({ previousAppSecret: 'former-secret' })
    assert.equal(meta.verify(webhook, rotating, new Date()).ok, true)
  })
})

describe('ownership', () => {
  const ours = { value: { statuses: [status] } }
  const owns = (account: Record<string, unknown>, ...entries: Entry[]) =>
    meta.owns(createBatch(...entries), readCredentials(account), 't_1')

  test('every entry of a batch must be about our number', () => {
    assert.equal(owns({}, ours, ours), true)
    assert.equal(owns({}, ours, { ...ours, number: '999' }), false)
  })

  test('with a business account id, entries of another one are not ours', () => {
    assert.equal(owns({ wabaId: 'waba_1' }, ours), true)
    assert.equal(owns({ wabaId: 'waba_2' }, ours), false)
  })

  test('a report that names no number is ours only by the business account id', () => {
    const account = { value: { event: 'APPROVED' }, field: 'message_template_status_update', number: '' }
    assert.equal(owns({}, account), false)
    assert.equal(owns({ wabaId: 'waba_1' }, account), true)
  })

  test('an empty or unreadable body is nobody’s', () => {
    assert.equal(meta.owns(createWebhook('{}'), credentials, 't_1'), false)
    assert.equal(meta.owns(createWebhook('<xml>'), credentials, 't_1'), false)
  })
})

describe('reports', () => {
  test('a batch of entries gives every report, in order, and skips what it does not know', () => {
    const reports = meta.parse(
      createBatch(
        { value: { statuses: [status, { ...status, status: 'deleted' }, { broken: true }] } },
        { value: { messages: [message, { ...message, id: 'wamid.3' }] } },
        { value: { anything: 1 }, field: 'calls' },
        { value: { statuses: [{ ...status, id: 'wamid.4', status: 'read' }] } },
      ),
      receivedAt,
    )
    assert.deepEqual(
      reports.map(({ key }) => key),
      ['wamid.1:delivered', 'wamid.2', 'wamid.3', 'wamid.4:read'],
    )
  })

  test('a status carries our id, the time of the event and the recipient', () => {
    const [report] = parse({ statuses: [{ ...status, biz_opaque_callback_data: 'msg_1' }] })
    assert.deepEqual(report, {
      type: 'status',
      key: 'wamid.1:delivered',
      at: new Date(1750000000 * 1000),
      providerMessageId: 'wamid.1',
      status: 'delivered',
      messageId: 'msg_1',
      recipient: '+16505551234',
    })
  })

  test('played is read', () => {
    const [report] = parse({ statuses: [{ ...status, status: 'played' }] })
    assert.equal(report?.type === 'status' && report.status, 'read')
  })

  test('a failure is classed by its code, and a stop of the person suppresses', () => {
    const fail = (code: number) => {
      const errors = [{ code, title: 'T', error_data: { details: 'D' } }]
      const [report] = parse({ statuses: [{ ...status, status: 'failed', errors }] })
      return report?.type === 'status' ? [report.error?.kind, report.error?.code, report.suppress] : []
    }
    assert.deepEqual(fail(131047), ['window_closed', '131047', undefined])
    assert.deepEqual(fail(131050), ['opted_out', '131050', 'opted_out'])
  })

  const contents: Array<[type: string, content: object, expected: object]> = [
    ['image', { id: 'm1', mime_type: 'image/jpeg', caption: 'Mira' }, { text: 'Mira', media: 'image' }],
    ['document', { id: 'm1', mime_type: 'application/pdf', filename: 'a.pdf' }, { media: 'document' }],
    ['audio', { id: 'm1', mime_type: 'audio/ogg' }, { media: 'audio' }],
    ['button', { payload: 'yes', text: 'Sí' }, { text: 'Sí', payload: 'yes' }],
    [
      'interactive',
      { type: 'button_reply', button_reply: { id: 'b1', title: 'Uno' } },
      { text: 'Uno', payload: 'b1' },
    ],
    [
      'interactive',
      { type: 'list_reply', list_reply: { id: 'l1', title: 'Dos' } },
      { text: 'Dos', payload: 'l1' },
    ],
    ['location', { latitude: -33.4, longitude: -70.6, name: 'Casa' }, { text: 'Casa (-33.4, -70.6)' }],
    ['reaction', { message_id: 'wamid.0', emoji: '👍' }, { text: '👍', inReplyTo: 'wamid.0' }],
    ['unsupported', {}, {}],
  ]
  for (const [type, content, expected] of contents) {
    test(`a customer’s ${type} ${Object.keys(content)[1] ?? ''} is understood`, () => {
      const { text: _, ...rest } = message
      const [report] = parse({ messages: [{ ...rest, type, [type]: content }] })
      assert.ok(report?.type === 'inbound')
      const { text, payload, inReplyTo, media } = report
      const kind = media[0]?.kind
      const found = Object.entries({ text, payload, inReplyTo, media: kind }).filter(
        ([, value]) => value !== undefined,
      )
      assert.deepEqual(Object.fromEntries(found), expected)
    })
  }

  test('notices of WhatsApp and reactions taken back are nobody’s words', () => {
    const notices = ['system', 'request_welcome'].map((type) => ({ ...message, type }))
    const taken = { ...message, type: 'reaction', reaction: { message_id: 'wamid.0' } }
    assert.deepEqual(parse({ messages: [...notices, taken] }), [])
  })

  test('a person without a phone is known by the business-scoped id, with the name of the profile', () => {
    const { from: _, ...rest } = message
    const contacts = [{ profile: { name: 'Sheena' }, user_id: 'US.1349' }]
    const [report] = parse({ contacts, messages: [{ ...rest, from_user_id: 'US.1349' }] })
    assert.deepEqual(report?.type === 'inbound' && [report.from, report.profileName], ['US.1349', 'Sheena'])
    const [nameless] = parse({ contacts, messages: [rest] })
    assert.equal(nameless?.type === 'inbound' && nameless.from, 'US.1349')
  })

  test('our own number writing is automated', () => {
    const [report] = parse({ messages: [{ ...message, from: '15550783881' }] })
    assert.equal(report?.type === 'inbound' && report.automated, true)
  })

  test('stopping and resuming marketing is consent', () => {
    const preference = { wa_id: '16505551234', category: 'marketing_messages', timestamp: 1750000000 }
    const value = { user_preferences: ['stop', 'resume'].map((word) => ({ ...preference, value: word })) }
    const reports = parse(value, 'user_preferences')
    assert.deepEqual(
      reports.map((report) => report.type === 'consent' && [report.consent, report.recipient]),
      [
        ['out', '+16505551234'],
        ['in', '+16505551234'],
      ],
    )
  })

  test('news without a time happened when it was received', () => {
    const value = { metadata: { phone_number_id: phoneNumberId }, errors: [{ code: 131031, title: 'T' }] }
    const changes = ['messages', 'account_update'].map((field) => ({ field, value }))
    const reports = meta.parse(createWebhook(JSON.stringify({ entry: [{ id: 'w', changes }] })), receivedAt)
    assert.deepEqual(
      reports.map(({ at }) => at),
      [receivedAt, receivedAt],
    )
  })

  test('a NUL in a text is left out', () => {
    const [report] = parse({ messages: [{ ...message, text: { body: 'ho\0la \\u0000' } }] })
    assert.equal(report?.type === 'inbound' && report.text, 'hola \\u0000')
  })

  test('news about templates and the number is told at its own time', () => {
    const value = { event: 'REJECTED', message_template_name: 'order_ready', reason: 'INVALID_FORMAT' }
    const [report] = parse(value, 'message_template_status_update')
    assert.ok(report?.type === 'account')
    assert.equal(report.detail, 'event: REJECTED, message_template_name: order_ready, reason: INVALID_FORMAT')
    assert.equal(report.at.getTime(), 1750000100 * 1000)
  })
})
