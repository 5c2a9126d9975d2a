import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { describe, test } from 'node:test'
import vectors from './messaging-vectors.json' with { type: 'json' }
import {
  createSigningKeys,
  seedFrom,
  signMeta,
  signSendgrid,
  signSvix,
  signTwilioForm,
  toEscapedJson,
} from './signatures.ts'

describe('our signatures are the ones of messaging-vectors.json', () => {
  for (const vector of vectors.twilio.form) {
    test(`Twilio: ${vector.name}`, () => {
      const params = Object.entries(vector.params).flatMap(([name, value]) =>
        [value].flat().map((one) => [name, one] as const),
      )
      assert.equal(signTwilioForm(vector.authToken, vector.url, params), vector.signature)
      assert.equal(signTwilioForm(vector.authToken, `${vector.url}#rc=3&rp=all`, params), vector.signature)
    })
  }

  for (const vector of vectors.meta) {
    test(`Meta: ${vector.name}`, () => {
      assert.equal(signMeta(vector.appSecret, vector.body), vector.header)
    })
  }

  test('SendGrid: same public key for the same private one, and signatures of both kinds verify', () => {
    const { testPrivateScalarHex, publicKey, timestamp, body, signature } = vectors.sendgrid
    const keys = createSigningKeys(Buffer.from(testPrivateScalarHex, 'hex'))
    assert.equal(keys.publicKey, publicKey)
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' })
    const verifies = (signed: string) =>
      verify('sha256', Buffer.from(timestamp + body), key, Buffer.from(signed, 'base64'))
    assert.ok(verifies(signature))
    assert.ok(verifies(signSendgrid(keys.privateKey, timestamp, body)))
    assert.ok(!verifies(signSendgrid(keys.privateKey, timestamp, body.trimEnd())))
  })

  test('Svix: one signature per secret', () => {
    const { secret, id, timestamp, body, signature } = vectors.svix
    assert.equal(signSvix([secret], id, timestamp, body), signature)
    assert.match(signSvix(['whsec_b3RoZXI=', secret], id, timestamp, body), /^v1,\S+ v1,gmCT9WGPS5/)
  })
})

test('keys of the same account are the same after a restart, those of another are not', () => {
  const first = createSigningKeys(seedFrom('SG.one', 'webhook 0')).publicKey
  assert.equal(createSigningKeys(seedFrom('SG.one', 'webhook 0')).publicKey, first)
  assert.notEqual(createSigningKeys(seedFrom('SG.two', 'webhook 0')).publicKey, first)
})

test('Meta JSON escapes what is not ASCII, and slashes, so that only raw bytes verify', () => {
  const text = toEscapedJson({ text: '¿hola? 👋 a/b' })
  assert.equal(text, String.raw`{"text":"\u00bfhola? \ud83d\udc4b a\/b"}`)
  assert.deepEqual(JSON.parse(text), { text: '¿hola? 👋 a/b' })
})
