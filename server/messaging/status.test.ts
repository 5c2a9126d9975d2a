import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Channel, MessageStatus } from './providers/provider.ts'
import { advances } from './status.ts'

const rows: ReadonlyArray<readonly [Channel, MessageStatus, MessageStatus, boolean]> = [
  ['sms', 'queued', 'sent', true],
  ['sms', 'sent', 'delivered', true],
  ['sms', 'delivered', 'sent', false],
  ['sms', 'sent', 'sent', false],
  ['whatsapp', 'read', 'delivered', false],
  ['whatsapp', 'sent', 'read', true],
  ['whatsapp', 'failed', 'sent', false],
  ['whatsapp', 'failed', 'delivered', true],
  ['whatsapp', 'delivered', 'failed', false],
  ['email', 'delivered', 'failed', true],
  ['email', 'failed', 'delivered', false],
  ['sms', 'unknown', 'queued', true],
  ['sms', 'unknown', 'failed', true],
  ['sms', 'delivered', 'unknown', false],
  ['sms', 'canceled', 'sent', false],
]

for (const [channel, current, reported, expected] of rows) {
  test(`on ${channel} a report of ${reported} ${expected ? 'moves' : 'does not move'} a message that is ${current}`, () => {
    assert.equal(advances(channel, current, reported), expected)
  })
}
