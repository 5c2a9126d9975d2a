import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxAttempts, nextWaitMs, retryAfterMs } from './retry-schedule.ts'

const now = new Date('2026-11-22T12:00:00Z')

test('waits grow from five seconds to a day, over about three days, and end', () => {
  const waits = Array.from({ length: maxAttempts - 1 }, (_, index) => nextWaitMs(index + 1, 0.5) ?? 0)
  assert.equal(waits[0], 5_000)
  assert.deepEqual(
    waits,
    waits.toSorted((left, right) => left - right),
  )
  const days = waits.reduce((sum, wait) => sum + wait, 0) / 86_400_000
  assert.ok(days > 2.5 && days < 4, `${days} days`)
  assert.equal(nextWaitMs(maxAttempts, 0.5), undefined)
})

test('jitter spreads a wait by a fifth to either side', () => {
  assert.deepEqual([nextWaitMs(1, 0), nextWaitMs(1, 1)], [4_000, 6_000])
})

test('Retry-After is read as seconds or as a date and never beyond a day', () => {
  assert.equal(retryAfterMs('120', now), 120_000)
  assert.equal(retryAfterMs('Sun, 22 Nov 2026 12:01:00 GMT', now), 60_000)
  assert.equal(retryAfterMs('999999999', now), 86_400_000)
  for (const text of [undefined, '', 'soon', '-5'])
    assert.equal(retryAfterMs(text, now), undefined, String(text))
})
