import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { scrubHeaders, scrubText } from './scrub.ts'

const awkward = 'p@ss/w"rd\\ ñ+✓&=%'

describe('a given secret', () => {
  const forms: [string, string][] = [
    ['as it is', awkward],
    ['in JSON', JSON.stringify(awkward)],
    ['in JSON inside JSON', JSON.stringify(JSON.stringify({ awkward }))],
    ['in JSON with escaped slashes', JSON.stringify(awkward).replace('/', '\\/')],
    ['in ASCII-only JSON', escapeUnicode(JSON.stringify(awkward))],
    ['percent-encoded', encodeURIComponent(awkward)],
    [
      'percent-encoded in lower case',
      encodeURIComponent(awkward).replace(/%../g, (code) => code.toLowerCase()),
    ],
    ['in a form', new URLSearchParams({ key: awkward }).toString()],
    ['in hex', Buffer.from(awkward).toString('hex')],
  ]
  for (const [name, form] of forms) {
    test(`is hidden ${name}`, () => {
      const scrubbed = scrubText(`before ${form} after`, [awkward])
      assert.match(scrubbed, /^before .*\[redacted\].* after$/)
      assert.doesNotMatch(scrubbed, /p@ss|p%40ss|w\\*"rd|w%22rd/i)
    })
  }

  test('is hidden in base64 at every position among other bytes, in both alphabets', () => {
    const secret = 'fake-token-0123456789'
    for (const prefix of ['', 'u', 'us', 'use:']) {
      for (const alphabet of ['base64', 'base64url'] as const) {
        const encoded = Buffer.from(`${prefix}${secret}&rest`).toString(alphabet)
        const scrubbed = scrubText(`x=${encoded};`, [secret])
        const left = scrubbed.replace('[redacted]', '').length - 'x=;'.length
        assert.ok(scrubbed.includes('[redacted]'), scrubbed)
        assert.ok(left <= encoded.length - Math.floor((secret.length * 4) / 3) + 3, scrubbed)
      }
    }
  })

  test('is hidden whole when another secret is part of it', () => {
    assert.equal(scrubText('fake-token-long', ['fake-token', 'fake-token-long']), '[redacted]')
  })

  test('never survives, whatever it is and wherever it stands', () => {
    const secret = fc
      .string({ unit: 'grapheme', minLength: 6, maxLength: 30 })
      .filter((text) => text.trim().length > 5)
    fc.assert(
      fc.property(fc.string(), secret, fc.string(), (before, value, after) => {
        fc.pre(!'[redacted]'.includes(value))
        for (const form of [value, encodeURIComponent(value.toWellFormed()), JSON.stringify(value)]) {
          const scrubbed = scrubText(`${before}\n${form}\n${after}`, [value])
          assert.ok(scrubbed.includes('[redacted]'), `${form} in ${scrubbed}`)
        }
      }),
    )
  })

  test('too short to be one hides nothing', () => {
    assert.equal(scrubText('status 1 of a', ['1', 'a', '']), 'status 1 of a')
  })

  const lengthy = Array.from({ length: 4_096 }, (_, index) => `${index} "p/ss`).join('\\')
  for (const [name, form] of [
    ['as it is', lengthy],
    ['in JSON', JSON.stringify(lengthy)],
    ['percent-encoded', encodeURIComponent(lengthy)],
    ['in base64', Buffer.from(lengthy).toString('base64')],
  ]) {
    test(`may be as long as it likes and is hidden whole ${name}`, () => {
      const scrubbed = scrubText(`a ${form} b`, [lengthy])
      assert.ok(scrubbed.includes('[redacted]') && scrubbed.length < 30, scrubbed.slice(0, 100))
    })
  }

  test('costs no more for being one of many, long, or made of what is escaped', () => {
    const texts = ['\\'.repeat(20_000), '\\\\"'.repeat(5_000), '%25'.repeat(5_000), 'x'.repeat(20_000)]
    const awkwards = ['\\'.repeat(60), '"\\'.repeat(2_000), '%25'.repeat(1_000), 'x'.repeat(4_096)]
    const secrets = awkwards.map((secret) => `${secret}z`)
    const headers = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(4_096))
    for (const text of texts) assert.doesNotMatch(scrubText(text, [...secrets, ...headers]), /redacted/)
  })
})

describe('a known kind of credential is hidden without being given', () => {
  const credentials = [
    'Bearer abc123.def-456',
    'bearer EAAfakefakefake',
    'Basic dXNlcjpwYXNzd29yZA==',
    'SG.fakefakefake.fakefakefakefake',
    're_123fake_ABCdef',
    'EAAGfakefake0123',
    'whsec_ZmFrZWZha2VmYWtl',
    'pck_fakefakefakefakefakefakefakefake_0fakefa',
    'sk_test_fakefakefake01',
    'APP_USR-1234-fake-5678',
    'eyJhbGciOiJub25l.eyJzdWIiOiJmYWtl.fake-signature',
    '-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----',
  ]
  for (const credential of credentials) {
    test(credential.slice(0, 4).split('\n')[0] ?? '', () => {
      for (const [open, close] of [
        ['', ''],
        ['key "', '" was refused'],
        ['?k=', '&x=1'],
        ['{"a":"', '"}'],
      ]) {
        const scrubbed = scrubText(`${open}${credential}${close}`)
        const kept = /^(?:bearer|basic) /i.exec(credential)?.[0] ?? ''
        assert.equal(scrubbed, `${open}${kept}[redacted]${close}`)
      }
    })
  }

  test('the password in a URL', () => {
    assert.equal(scrubText('at https://user:fake-pass@example.com/x'), 'at https://[redacted]@example.com/x')
  })

  test('the value after a name that says what it is', () => {
    assert.equal(scrubText('?access_token=fake1234&limit=1'), '?access_token=[redacted]&limit=1')
    assert.equal(scrubText('{"api_key":"fake1234","n":1}'), '{"api_key":"[redacted]","n":1}')
    assert.equal(scrubText('password: fake1234, ok'), 'password: [redacted], ok')
    assert.equal(
      scrubText('?payment_intent=pi_fake01&payment_intent_client_secret=fake1234'),
      '?payment_intent=pi_fake01&payment_intent_client_secret=[redacted]',
    )
  })

  test('the secret half of what names an object of Stripe', () => {
    for (const id of ['pi_3FakeFake01', 'seti_1FakeFake02']) {
      assert.equal(scrubText(`for ${id}_secret_fake1234.`), `for ${id}_secret_[redacted].`)
    }
  })
})

test('ordinary words stay as they are', () => {
  const sentences = [
    'The bearer token is missing; basic authentication failed.',
    'Basic Authentication is off',
    're_delivered to Recipient, re_try later, EAA and SG. are short',
    'Message msg_01jd0000000000000000000000 to +56912345678 was refused (21211).',
    'See https://www.twilio.com/docs/errors/21211 or mail ops@example.com',
    'Your API key is invalid',
  ]
  for (const sentence of sentences) assert.equal(scrubText(sentence), sentence)
})

describe('scrubHeaders', () => {
  test('hides the values of headers that carry credentials or signatures, in any spelling of the name', () => {
    const names = [
      'Authorization',
      'proxy-authorization',
      'Cookie',
      'set-cookie',
      'X-Api-Key',
      'apikey',
      'x-access-token',
      'X-Hub-Signature-256',
      'x-twilio-signature',
      'x-twilio-email-event-webhook-signature',
      'svix-signature',
      'webhook-signature',
      'x-shared-secret',
      'x-amz-security-token',
    ]
    const headers = Object.fromEntries(names.map((name) => [name, 'fake-value']))
    const scrubbed = scrubHeaders(headers)
    assert.deepEqual(Object.keys(scrubbed), names)
    for (const name of names) assert.equal(scrubbed[name], '[redacted]', name)
  })

  test('keeps the others, but for secrets inside them', () => {
    const headers = {
      'content-type': 'application/json',
      'idempotency-key': 'msg_1',
      'webhook-id': 'evt_1',
      'user-agent': 'fake-secret-1 agent',
      referer: 'https://example.com/?access_token=fake1234',
    }
    assert.deepEqual(scrubHeaders(headers, ['fake-secret-1']), {
      ...headers,
      'user-agent': '[redacted] agent',
      referer: 'https://example.com/?access_token=[redacted]',
    })
  })
})

function escapeUnicode(text: string): string {
  return text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
