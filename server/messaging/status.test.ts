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

const reports: readonly MessageStatus[] = ['queued', 'sent', 'delivered', 'read', 'failed']

for (const channel of ['sms', 'whatsapp', 'email'] as const) {
  test(`on ${channel} reports leave a message the same in whatever order they come, and once or twice`, () => {
    for (const some of subsetsOf(reports)) {
      const ends = new Set(ordersOf([...some, ...some.slice(0, 1)]).map((order) => endOf(channel, order)))
      assert.equal(ends.size, 1, `${some.join(', ')}: ${[...ends].join(' or ')}`)
    }
  })
}

function endOf(channel: Channel, order: readonly MessageStatus[]): MessageStatus {
  let status: MessageStatus = 'queued'
  for (const report of order) if (advances(channel, status, report)) status = report
  return status
}

function subsetsOf<Item>([first, ...rest]: readonly Item[]): Item[][] {
  if (first === undefined) return [[]]
  return subsetsOf(rest).flatMap((some) => [some, [first, ...some]])
}

function ordersOf<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, index) => ordersOf(items.toSpliced(index, 1)).map((order) => [item, ...order]))
}
