import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressKey, normalizeAddress } from './addresses.ts'

test('phone numbers become E.164 whatever their spaces, dashes and whatsapp: prefix', () => {
  assert.deepEqual(normalizeAddress('sms', '+56 9 8888 8888'), { address: '+56988888888' })
  assert.deepEqual(normalizeAddress('whatsapp', 'whatsapp:+56988888888'), { address: '+56988888888' })
})

test('a number without its country, or one that cannot exist, is refused with words', () => {
  assert.match(JSON.stringify(normalizeAddress('sms', '988888888')), /international form/)
  assert.match(JSON.stringify(normalizeAddress('sms', '+5698')), /can exist/)
  assert.ok('problem' in normalizeAddress('sms', 'ana@example.com'))
})

test('a WhatsApp user may be known by a business-scoped id instead of a phone', () => {
  assert.deepEqual(normalizeAddress('whatsapp', 'US.13491208655302741918'), {
    address: 'US.13491208655302741918',
  })
  assert.ok('problem' in normalizeAddress('sms', 'US.13491208655302741918'))
})

test('e-mail addresses are checked and only their domain is lower-cased', () => {
  assert.deepEqual(normalizeAddress('email', ' Ana.Perez@Example.COM '), { address: 'Ana.Perez@example.com' })
  for (const text of [
    'ana',
    'ana@',
    '@example.com',
    'a@b@c.com',
    'Ana <ana@example.com>',
    'ana@example.com\r\nbcc: x@y.com',
  ]) {
    assert.ok('problem' in normalizeAddress('email', text), text)
  }
})

test('two spellings of one mailbox are one entry of the suppression list', () => {
  assert.equal(addressKey('email', 'Ana@example.com'), addressKey('email', 'ana@example.com'))
})
