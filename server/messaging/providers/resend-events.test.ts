import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Resend } from 'resend'
import { Webhook } from 'standardwebhooks'
import type { RawWebhook } from '#connections'
import type { ProviderReport } from './provider.ts'
import { resend } from './resend.ts'
import vectors from './signature-vectors.json' with { type: 'json' }

const receivedAt = new Date('2026-11-22T12:00:00Z')

const vector = vectors.svix
const signedAt = new Date(Number(vector.timestamp) * 1000)

function readCredentials(changes: Record<string, unknown> = {}) {
  const required = {
    apiKey: 're_test_secret',
    fromEmail: 'noreply@tableflow.com',
    webhookSecret: vector.secret,
  }
  return resend.credentials.parse({ ...required, ...changes })
}

function sign(body: string, timestamp: string, secret = vector.secret): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  return `v1,${createHmac('sha256', key).update(`${vector.id}.${timestamp}.${body}`).digest('base64')}`
}

function createWebhook(
  body: string,
  timestamp = vector.timestamp,
  signature = sign(body, timestamp),
): RawWebhook {
  const publicUrl = 'https://pipe.example.com/messaging/webhook/email?tenant_id=t_1&provider=resend'
  return {
    method: 'POST',
    publicUrl,
    query: new URL(publicUrl).searchParams,
    headers: { 'svix-id': vector.id, 'svix-timestamp': timestamp, 'svix-signature': signature },
    body: Buffer.from(body),
  }
}

function parse(type: string, data: object): ProviderReport[] {
  const event = { type, created_at: '2026-11-22T12:00:00.000Z', data: { email_id: '49a', ...data } }
  return resend.parse(createWebhook(JSON.stringify(event)), receivedAt)
}

describe('signatures', () => {
  const verify = (webhook: RawWebhook, account = readCredentials(), now = signedAt) => {
    const verification = resend.verify(webhook, account, now)
    return verification.ok ? 'ok' : verification.check
  }

  test('the vector verifies', () => {
    assert.equal(verify(createWebhook(vector.body, vector.timestamp, vector.signature)), 'ok')
  })

  test('one good signature among several passes, other versions do not count', () => {
    const good = vector.signature
    assert.equal(verify(createWebhook(vector.body, vector.timestamp, `v1,AAAA ${good}`)), 'ok')
    assert.equal(verify(createWebhook(vector.body, vector.timestamp, good.replace('v1', 'v2'))), 'signature')
  })

  test('five minutes either way are let in, more is not', () => {
    const at = (seconds: number) => new Date(signedAt.getTime() + seconds * 1000)
    const checks = [299, 300, 301, -300, -301].map((seconds) =>
      verify(createWebhook(vector.body), undefined, at(seconds)),
    )
    assert.deepEqual(checks, ['ok', 'ok', 'timestamp', 'ok', 'timestamp'])
    assert.equal(verify(createWebhook(vector.body, 'soon')), 'timestamp')
  })

  test('every header is needed', () => {
    const webhook = createWebhook(vector.body)
    for (const name of Object.keys(webhook.headers)) {
      const { [name]: _, ...headers } = webhook.headers
      assert.notEqual(verify({ ...webhook, headers }), 'ok')
    }
  })

  test('during a rotation the former secret still verifies', () => {
    const former = `whsec_${Buffer.from('former').toString('base64')}`
    const webhook = createWebhook(vector.body, vector.timestamp, sign(vector.body, vector.timestamp, former))
    assert.equal(verify(webhook), 'signature')
    assert.equal(verify(webhook, readCredentials({ previousWebhookSecret: former })), 'ok')
  })

  test('any body is judged as both official libraries judge it, genuine and tampered', () => {
    const now = new Date()
    const timestamp = String(Math.floor(now.getTime() / 1000))
    const sdk = new Resend('re_test_secret')
    const library = new Webhook(vector.secret)
    const passes = (run: () => unknown) => {
      try {
        run()
        return true
      } catch {
        return false
      }
    }
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (json, tamper) => {
        const webhook = createWebhook(json, timestamp)
        const payload = tamper ? `${json} ` : json
        const signature = webhook.headers['svix-signature'] ?? ''
        const headers = { id: vector.id, timestamp, signature }
        const ours = verify({ ...webhook, body: Buffer.from(payload) }, undefined, now) === 'ok'
        assert.equal(ours, !tamper)
        assert.equal(
          ours,
          passes(() => sdk.webhooks.verify({ payload, headers, webhookSecret: vector.secret })),
        )
        const standard = {
          'webhook-id': vector.id,
          'webhook-timestamp': timestamp,
          'webhook-signature': signature,
        }
        assert.equal(
          ours,
          passes(() => library.verify(payload, standard)),
        )
      }),
      { numRuns: 50 },
    )
  })
})

describe('ownership', () => {
  const owns = (data: object, tenantId = 't_1') => {
    return resend.owns(
      createWebhook(JSON.stringify({ type: 'email.sent', data })),
      readCredentials(),
      tenantId,
    )
  }

  test('the tag of the tenant must be ours, as it was written', () => {
    assert.equal(owns({ tags: { tenant_id: 't_1' } }), true)
    assert.equal(owns({ tags: { tenant_id: 't_2' } }), false)
    assert.equal(owns({ tags: { tenant_id: 'caf__1' } }, 'café/1'), true)
    assert.equal(owns({ email_id: '49a' }), true)
  })

  test('a body that can not be read is nobody’s', () => {
    assert.equal(resend.owns(createWebhook('[]'), readCredentials(), 't_1'), false)
  })
})

describe('events', () => {
  test('a status carries our id, Resend’s, the recipient, the time of the event and the id of the delivery', () => {
    const data = { tags: { tenant_id: 't_1', message_id: 'msg_1' }, to: ['Ana <a@example.com>'] }
    assert.deepEqual(parse('email.delivered', data), [
      {
        type: 'status',
        key: vector.id,
        at: new Date('2026-11-22T12:00:00.000Z'),
        messageId: 'msg_1',
        providerMessageId: '49a',
        recipient: 'a@example.com',
        status: 'delivered',
      },
    ])
  })

  const statuses: Array<[type: string, data: object, status: string, suppress?: string, kind?: string]> = [
    ['email.scheduled', {}, 'scheduled'],
    ['email.sent', {}, 'sent'],
    ['email.delivery_delayed', {}, 'sent'],
    ['email.bounced', { bounce: { type: 'Permanent', message: 'gone' } }, 'failed', 'bounced', 'recipient'],
    ['email.bounced', { bounce: { type: 'Transient', message: 'full' } }, 'failed', undefined, 'transient'],
    ['email.failed', { failed: { reason: 'reached_daily_quota' } }, 'failed', undefined, 'rate_limited'],
    ['email.failed', { failed: { reason: 'other' } }, 'failed', undefined, 'unknown'],
    ['email.suppressed', { suppressed: { reason: 'previous_bounce' } }, 'failed', 'bounced', 'recipient'],
    [
      'email.suppressed',
      { suppressed: { reason: 'previous_complaint' } },
      'failed',
      'complained',
      'opted_out',
    ],
  ]
  for (const [type, data, status, suppress, kind] of statuses) {
    test(`${type} ${JSON.stringify(data)} is ${status}, suppressing ${suppress ?? 'nobody'}`, () => {
      const [report] = parse(type, data)
      assert.ok(report?.type === 'status')
      assert.deepEqual([report.status, report.suppress, report.error?.kind], [status, suppress, kind])
    })
  }

  test('a used-up quota found late lets another provider send', () => {
    const [report] = parse('email.failed', { failed: { reason: 'reached_daily_quota' } })
    assert.equal(report?.type === 'status' && report.error?.failover, true)
  })

  test('opening and clicking is engagement, a complaint is consent as well', () => {
    const [open] = parse('email.opened', { to: ['a@example.com'] })
    const [click] = parse('email.clicked', { click: { link: 'https://tableflow.com/' } })
    const complaint = parse('email.complained', { to: ['a@example.com'] })
    assert.equal(open?.type === 'engagement' && open.engagement, 'opened')
    assert.equal(click?.type === 'engagement' && click.url, 'https://tableflow.com/')
    assert.deepEqual(
      complaint.map(({ type, key }) => [type, key]),
      [
        ['engagement', vector.id],
        ['consent', `${vector.id}:consent`],
      ],
    )
  })

  const optOut = { id: 't1', subscription: 'opt_out' }
  const optIn = { id: 't2', subscription: 'opt_in' }
  const consents: Array<[type: string, data: object, consent?: string, reason?: string]> = [
    ['suppression.added', { origin: 'bounce' }, 'out', 'bounced'],
    ['suppression.added', { origin: 'complaint' }, 'out', 'complained'],
    ['suppression.removed', { origin: 'manual' }, 'in', 'unsubscribed'],
    ['contact.updated', { unsubscribed: true }, 'out', 'unsubscribed'],
    ['contact.updated', { unsubscribed: false }],
    ['contact.topics.updated', { topics: [optOut] }, 'out', 'unsubscribed'],
    ['contact.topics.updated', { topics: [optIn] }, 'in', 'unsubscribed'],
    ['contact.topics.updated', { topics: [optIn, optOut] }],
  ]
  for (const [type, data, consent, reason] of consents) {
    test(`${type} ${JSON.stringify(data)} is ${consent ? `consent ${consent}` : 'no report'}`, () => {
      const [report] = parse(type, { email_id: undefined, email: 'a@example.com', ...data })
      const found = report?.type === 'consent' ? [report.consent, report.reason, report.recipient] : undefined
      assert.deepEqual(found, consent ? [consent, reason, 'a@example.com'] : undefined)
    })
  }

  test('an event without a readable time happened when it was received, and a NUL in it is left out', () => {
    for (const createdAt of [undefined, 'soon']) {
      const event = { type: 'email.failed', created_at: createdAt, data: { failed: { reason: 'a\0b' } } }
      const [report] = resend.parse(createWebhook(JSON.stringify(event)), receivedAt)
      assert.ok(report?.type === 'status')
      assert.deepEqual([report.at, report.error?.message], [receivedAt, 'ab'])
    }
  })

  test('a received mail is announced without its text, to be fetched', () => {
    const data = {
      from: 'Juan <juan@example.net>',
      to: ['otro@tableflow.com'],
      received_for: ['hola@tableflow.com'],
      subject: 'Hola',
      attachments: [{ id: 'a1', filename: 'f.png', content_type: 'image/png' }],
    }
    assert.deepEqual(parse('email.received', data), [
      {
        type: 'inbound',
        key: vector.id,
        at: new Date('2026-11-22T12:00:00.000Z'),
        providerMessageId: '49a',
        from: 'juan@example.net',
        to: 'hola@tableflow.com',
        profileName: 'Juan',
        subject: 'Hola',
        media: [{ kind: 'image', providerMediaId: 'a1', contentType: 'image/png', filename: 'f.png' }],
        automated: false,
        fetchContent: true,
      },
    ])
  })

  test('mail from a daemon is automated before it is fetched', () => {
    const [report] = parse('email.received', { from: 'MAILER-DAEMON@example.net' })
    assert.equal(report?.type === 'inbound' && report.automated, true)
  })

  test('unknown kinds and odd details are skipped, not the event around them', () => {
    assert.deepEqual(parse('domain.created', {}), [])
    assert.equal(parse('email.sent', { to: 'not-a-list', tags: ['odd'], bounce: 7 }).length, 1)
  })
})
