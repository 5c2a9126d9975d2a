import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PaymentStatus } from './providers/provider.ts'
import { advances } from './status.ts'

const statuses: readonly PaymentStatus[] = [
  'requires_action',
  'pending',
  'processing',
  'authorized',
  'confirmed',
  'failed',
  'canceled',
  'expired',
  'unknown',
]

function follow(seen: readonly PaymentStatus[]): PaymentStatus[] {
  const path: PaymentStatus[] = ['pending']
  for (const status of seen) {
    const current = path.at(-1) ?? 'pending'
    if (advances(current, status, path.includes('authorized'))) path.push(status)
  }
  return path
}

test('whatever is seen in whatever order, taken money stays taken', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...statuses)), (seen) => {
      const path = follow(seen)
      if (seen.includes('confirmed')) assert.equal(path.at(-1), 'confirmed')
    }),
  )
})

test('a payment is confirmed, authorized, failed, canceled and expired at most once each', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...statuses)), (seen) => {
      const path = follow(seen)
      for (const end of ['authorized', 'confirmed', 'failed', 'canceled', 'expired'] as const) {
        // An expired page may still be paid, and that money let go again.
        const most = end === 'authorized' || end === 'confirmed' ? 1 : 2
        assert.ok(path.filter((status) => status === end).length <= most, path.join(' → '))
      }
    }),
  )
})

test('an end without money gives way to money only', () => {
  for (const end of ['failed', 'canceled', 'expired'] as const) {
    const next = statuses.filter((status) => advances(end, status))
    assert.deepEqual(next, ['authorized', 'confirmed'])
  }
})

test('a word of the provider that nobody knows changes nothing', () => {
  for (const status of statuses) assert.equal(advances(status, 'unknown'), false)
})
