import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, test } from 'node:test'
import { EventWebhook } from '@sendgrid/eventwebhook'
import fc from 'fast-check'
import type { RawWebhook } from '#connections'
import type { ProviderReport } from './provider.ts'
import { sendgrid } from './sendgrid.ts'
import vectors from './signature-vectors.json' with { type: 'json' }

const receivedAt = new Date('2026-11-22T12:00:00Z')

const now = new Date('2026-11-22T12:00:00Z')
const nowText = String(now.getTime() / 1000)
const pair = createPair()

function createPair() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, publicKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64') }
}

function readCredentials(webhookPublicKey: string | string[] = pair.publicKey) {
  return sendgrid.credentials.parse({
    apiKey: 'SG.test-secret',
    fromEmail: 'noreply@roe.com',
    webhookPublicKey,
  })
}

function createWebhook(body: string | Buffer, headers: Record<string, string> = {}): RawWebhook {
  const publicUrl = 'https://pipe.example.com/messaging/webhook/email?tenant_id=t_1&provider=sendgrid'
  const timestamp = headers['x-twilio-email-event-webhook-timestamp'] ?? nowText
  const signed = Buffer.concat([Buffer.from(timestamp), Buffer.from(body)])
  return {
    method: 'POST',
    publicUrl,
    query: new URL(publicUrl).searchParams,
    headers: {
      'content-type': 'application/json',
      'x-twilio-email-event-webhook-signature': sign('sha256', signed, pair.privateKey).toString('base64'),
      'x-twilio-email-event-webhook-timestamp': timestamp,
      ...headers,
    },
    body: Buffer.from(body),
  }
}

function writeEvents(...events: object[]): string {
  const common = {
    email: 'a@example.com',
    timestamp: 1600112492,
    sg_message_id: '14c5d75ce93.filter0001.1.2-0',
  }
  const lines = events.map((event, index) =>
    JSON.stringify({ ...common, sg_event_id: `ev_${index}`, ...event }),
  )
  return `[${lines.join(',\r\n')}]\r\n`
}

function parse(...events: object[]): ProviderReport[] {
  return sendgrid.parse(createWebhook(writeEvents(...events)), receivedAt)
}

describe('signatures', () => {
  const vector = vectors.sendgrid
  const official = new EventWebhook()
  const key = official.convertPublicKeyToECDSA(vector.publicKey)
  const signedAt = new Date(Number(vector.timestamp) * 1000)
  const account = readCredentials(vector.publicKey)

  function verify(changes: Partial<Record<'body' | 'timestamp' | 'signature', string>>) {
    const { body, timestamp, signature } = { ...vector, ...changes }
    const webhook = createWebhook(body, {
      'x-twilio-email-event-webhook-signature': signature,
      'x-twilio-email-event-webhook-timestamp': timestamp,
    })
    return { ours: sendgrid.verify(webhook, account, signedAt).ok, body, timestamp, signature }
  }

  test('the vector verifies with us and the SDK; without its last line break or with another time it does not', () => {
    const cases = [
      {},
      { body: vector.body.trimEnd() },
      { timestamp: '1600112503' },
      { body: vector.body.replace('t_1', 't_2') },
    ]
    for (const changes of cases) {
      const { ours, body, timestamp, signature } = verify(changes)
      assert.equal(ours, official.verifySignature(key, body, signature, timestamp))
    }
    assert.equal(verify({}).ours, true)
  })

  test('no changed byte passes', () => {
    const genuine = createWebhook(writeEvents({ event: 'delivered' }))
    const change = fc.record({ at: fc.nat(genuine.body.length - 1), by: fc.integer({ min: 1, max: 255 }) })
    fc.assert(
      fc.property(change, ({ at, by }) => {
        const body = Buffer.from(genuine.body)
        body[at] = ((body[at] ?? 0) + by) % 256
        assert.equal(sendgrid.verify({ ...genuine, body }, readCredentials(), now).ok, false)
      }),
      { numRuns: 50 },
    )
  })

  test('any of several keys verifies', () => {
    const webhook = createWebhook(writeEvents({ event: 'delivered' }))
    assert.equal(sendgrid.verify(webhook, readCredentials(vector.publicKey), now).ok, false)
    assert.equal(sendgrid.verify(webhook, readCredentials([vector.publicKey, pair.publicKey]), now).ok, true)
  })

  test('a day of retries is let in; what is older, from the future or without a time is not', () => {
    const check = (timestamp: string) => {
      const webhook = createWebhook('[]', { 'x-twilio-email-event-webhook-timestamp': timestamp })
      const verification = sendgrid.verify(webhook, readCredentials(), now)
      return verification.ok ? 'ok' : verification.check
    }
    const seconds = Number(nowText)
    assert.equal(check(String(seconds - 24 * 3600)), 'ok')
    assert.equal(check(String(seconds - 26 * 3600)), 'timestamp')
    assert.equal(check(String(seconds + 600)), 'timestamp')
    assert.equal(check('soon'), 'timestamp')
    assert.equal(check(''), 'header_missing')
  })
})

describe('ownership', () => {
  const owns = (...events: object[]) =>
    sendgrid.owns(createWebhook(writeEvents(...events)), readCredentials(), 't_1')

  test('every event that names a tenant must name ours', () => {
    assert.equal(owns({ event: 'delivered', tenant_id: 't_1' }, { event: 'open' }), true)
    assert.equal(owns({ event: 'delivered', tenant_id: 't_1' }, { event: 'open', tenant_id: 't_2' }), false)
  })

  test('a body that is neither events nor a mail is nobody’s', () => {
    assert.equal(sendgrid.owns(createWebhook('{}'), readCredentials(), 't_1'), false)
    assert.equal(
      sendgrid.owns(
        createWebhook('--x--', { 'content-type': 'multipart/form-data; boundary=y' }),
        readCredentials(),
        't_1',
      ),
      false,
    )
  })
})

describe('events', () => {
  const hard = { event: 'bounce', type: 'bounce', reason: '550 unknown', status: '5.1.1' }
  const soft = { event: 'bounce', type: 'blocked', reason: '452 full', status: '4.2.2' }

  test('a batch gives every report in order and skips what it does not know', () => {
    const reports = parse(
      { event: 'processed' },
      { event: 'later_invention' },
      { event: 'delivered', timestamp: 'x' },
      { event: 'delivered' },
    )
    assert.deepEqual(
      reports.map(({ key }) => key),
      ['ev_0', 'ev_3'],
    )
  })

  test('a status carries our id, SendGrid’s without its tail, the recipient and the time of the event', () => {
    const told = { event: 'delivered', response: '250 OK', message_id: 'msg_1', tenant_id: 't_1' }
    assert.deepEqual(parse(told), [
      {
        type: 'status',
        key: 'ev_0',
        at: new Date(1600112492 * 1000),
        messageId: 'msg_1',
        providerMessageId: '14c5d75ce93',
        recipient: 'a@example.com',
        status: 'delivered',
        detail: '250 OK',
      },
    ])
  })

  const statuses: Array<[told: object, status: string, suppress?: string, kind?: string]> = [
    [{ event: 'processed' }, 'sent'],
    [{ event: 'deferred', response: '421' }, 'sent'],
    [hard, 'failed', 'bounced', 'recipient'],
    [soft, 'failed', undefined, 'transient'],
    [{ event: 'dropped', reason: 'Bounced Address' }, 'failed', 'bounced', 'recipient'],
    [{ event: 'dropped', reason: 'Unsubscribed Address' }, 'failed', 'unsubscribed', 'opted_out'],
    [{ event: 'dropped', reason: 'Spam Reporting Address' }, 'failed', 'complained', 'opted_out'],
    [{ event: 'dropped', reason: 'Invalid' }, 'failed', 'bounced', 'recipient'],
    [{ event: 'dropped', reason: 'Invalid SMTPAPI header' }, 'failed', undefined, 'content'],
  ]
  for (const [told, status, suppress, kind] of statuses) {
    test(`${Object.values(told).join(' ')} is ${status}, suppressing ${suppress ?? 'nobody'}`, () => {
      const [report] = parse(told)
      assert.ok(report?.type === 'status')
      assert.deepEqual([report.status, report.suppress, report.error?.kind], [status, suppress, kind])
    })
  }

  test('a late bounce is known by our own id alone', () => {
    const [report] = parse({ ...hard, sg_message_id: undefined, message_id: 'msg_1' })
    assert.deepEqual(report?.type === 'status' && [report.messageId, report.providerMessageId], [
      'msg_1',
      undefined,
    ])
  })

  test('machine opens are told apart, clicks carry their link', () => {
    const [person, machine, click] = parse(
      { event: 'open', sg_machine_open: false },
      { event: 'open', sg_machine_open: true },
      { event: 'click', url: 'https://roe.com/' },
    )
    assert.equal(person?.type === 'engagement' && person.machine, false)
    assert.equal(machine?.type === 'engagement' && machine.machine, true)
    assert.equal(click?.type === 'engagement' && click.url, 'https://roe.com/')
  })

  test('a complaint is engagement and consent, each with its own key', () => {
    const reports = parse({ event: 'spamreport' })
    assert.deepEqual(
      reports.map(({ type, key }) => [type, key]),
      [
        ['engagement', 'ev_0'],
        ['consent', 'ev_0:consent'],
      ],
    )
    const [, consent] = reports
    assert.deepEqual(consent?.type === 'consent' && [consent.consent, consent.reason], ['out', 'complained'])
  })

  test('unsubscribing and coming back is consent, trouble of the account a report of its own', () => {
    const told = ['unsubscribe', 'group_unsubscribe', 'group_resubscribe', 'account_status_change']
    const reports = parse(...told.map((event) => ({ event, type: 'compliance_suspend' })))
    assert.deepEqual(
      reports.map((report) => (report.type === 'consent' ? report.consent : report.type)),
      ['out', 'out', 'in', 'account'],
    )
  })
})

test('a NUL in an event is left out', () => {
  const [report] = parse({ event: 'delivered', response: '250 ok\0' })
  assert.equal(report?.type === 'status' && report.detail, '250 ok')
})

describe('mails', () => {
  function createMail(fields: Record<string, string | Buffer>, file?: string): RawWebhook {
    const envelope = JSON.stringify({ to: ['hola@inbound.roe.com'], from: 'juan@example.net' })
    const parts = Object.entries({ envelope, from: 'Juan <juan@example.net>', ...fields }).map(
      ([name, value]) =>
        Buffer.concat([
          Buffer.from(`--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`),
          Buffer.from(value),
          Buffer.from('\r\n'),
        ]),
    )
    const attachment = `--b\r\nContent-Disposition: form-data; name="attachment1"; filename="${file}"\r\nContent-Type: image/png\r\n\r\n\u0000\r\n`
    const body = Buffer.concat([...parts, Buffer.from(`${file ? attachment : ''}--b--\r\n`)])
    return createWebhook(body, { 'content-type': 'multipart/form-data; boundary=b' })
  }

  function readMail(fields: Record<string, string | Buffer>, file?: string) {
    const [report] = sendgrid.parse(createMail(fields, file), receivedAt)
    assert.ok(report?.type === 'inbound')
    return report
  }

  test('a mail is verified over its raw bytes and ours by the key', () => {
    const mail = createMail({ text: Buffer.from([0xff, 0x00, 0x80]) })
    assert.deepEqual(sendgrid.verify(mail, readCredentials(), now), { ok: true })
    assert.equal(sendgrid.owns(mail, readCredentials(), 't_1'), true)
  })

  test('every text is read in its own charset', () => {
    const charsets = JSON.stringify({ subject: 'UTF-8', text: 'iso-8859-1', html: 'no-such-charset' })
    const latin = Buffer.from('¿cuándo?', 'latin1')
    const mail = readMail({ charsets, subject: '¿cuándo?', text: latin, html: '<b>¿cuándo?</b>' })
    assert.deepEqual([mail.subject, mail.text, mail.html], ['¿cuándo?', '¿cuándo?', '<b>¿cuándo?</b>'])
  })

  test('the envelope says to whom, the headers what it answers, SendGrid when', () => {
    const headers =
      'Message-ID: <m1@example.net>\nIn-Reply-To: <1@roe.com>\nDate: Mon, 1 Jan 1990 00:00:00 +0000\n'
    const mail = readMail({ headers, to: 'Otro <otro@roe.com>', text: 'hola' })
    assert.deepEqual(
      [mail.key, mail.providerMessageId, mail.inReplyTo],
      ['inbound:<m1@example.net>', '<m1@example.net>', '<1@roe.com>'],
    )
    assert.deepEqual(
      [mail.from, mail.profileName, mail.to],
      ['juan@example.net', 'Juan', 'hola@inbound.roe.com'],
    )
    assert.deepEqual([mail.at, mail.automated], [now, false])
  })

  test('a mail without a time of SendGrid’s came when it was received, whatever its author wrote', () => {
    const mail = createMail({ headers: 'Date: Mon, 1 Jan 1990 00:00:00 +0000\n' })
    const { 'x-twilio-email-event-webhook-timestamp': _, ...headers } = mail.headers
    const arrived = new Date('2026-11-23T08:00:00Z')
    const [report] = sendgrid.parse({ ...mail, headers }, arrived)
    assert.deepEqual(report?.at, arrived)
  })

  test('NULs in a mail are left out, wherever they stand', () => {
    const envelope = JSON.stringify({ to: ['ho\0la@roe.com'], from: 'juan@example.net' })
    const mail = readMail(
      { envelope, subject: 'a\0b', text: 'c\0d', headers: 'In-Reply-To: <1\0>\n' },
      'e\0f',
    )
    assert.doesNotMatch(JSON.stringify(mail), /\\u0000/)
    assert.deepEqual([mail.to, mail.subject, mail.text], ['hola@roe.com', 'ab', 'cd'])
  })

  test('a message id longer than a line of mail is none', () => {
    const mail = readMail({ headers: `Message-ID: <${'a'.repeat(3_000)}@example.net>\n` })
    assert.match(mail.key, /^inbound:[\da-f]{64}$/)
  })

  test('attachments are named, not carried', () => {
    const { media } = readMail({ text: 'hola' }, 'foto.png')
    const expected = {
      kind: 'image',
      providerMediaId: 'attachment1',
      contentType: 'image/png',
      filename: 'foto.png',
    }
    assert.deepEqual(media, [expected])
  })

  test('mail written by machines is automated', () => {
    const headers = ['Auto-Submitted: auto-replied', 'Precedence: bulk', 'List-Id: <l.example.net>']
    for (const header of headers) assert.equal(readMail({ headers: `${header}\n` }).automated, true, header)
    const bounce = JSON.stringify({ to: ['hola@inbound.roe.com'], from: '' })
    assert.equal(readMail({ envelope: bounce }).automated, true)
    assert.equal(readMail({ headers: 'Auto-Submitted: no\n' }).automated, false)
  })

  test('of a raw mail at least the headers are read', () => {
    const email = 'Subject: Hola\r\nMessage-ID: <m2@example.net>\r\nPrecedence: list\r\n\r\nSubject: no\r\n'
    const mail = readMail({ email })
    assert.deepEqual(
      [mail.subject, mail.providerMessageId, mail.automated],
      ['Hola', '<m2@example.net>', true],
    )
  })
})
