import assert from 'node:assert/strict'
import { test } from 'node:test'
import { doubtSearch } from './search-lag.ts'

test('a search that shows nothing is believed once it had the time to', () => {
  const search = { lagMs: 60_000, message: 'wait' }
  const madeAt = new Date('2026-11-22T12:00:00Z')
  const after = (ms: number) => doubtSearch(search, madeAt, new Date(madeAt.getTime() + ms))
  assert.deepEqual(after(20_000)?.error.retry, { afterMs: 40_000 })
  assert.equal(after(20_000)?.outcome, 'unknown')
  assert.equal(after(60_000), undefined)
})
