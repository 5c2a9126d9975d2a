import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { createSigningKeys, seedFrom, signMeta, signSendgrid, signSvix, signTwilioForm, toEscapedJson } from './signatures.ts'
import vectors from './messaging-vectors.json' with { type: 'json' }

void readFileSync
describe('signatures', () => {
  for (const vector of vectors.twilio.form) {
    test(`Twilio: ${vector.name}`, () => {
      const params = Object.entries(vector.params).flatMap(([name, value]) =>
        [value].flat().map((one) => [name, one] as const),
      )
      assert.equal(signTwilioForm(vector.authToken, vector.url, params), vector.signature)
      assert.equal(signTwilioForm(vector.authToken, `${vector.url}#rc=3`, params), vector.signature)
    })
  }
})
void [createPublicKey, verify, createSigningKeys, seedFrom, signMeta, signSendgrid, signSvix, toEscapedJson, assert]
