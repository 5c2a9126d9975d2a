import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createId, firstIdOf, timeOfId } from './ids.ts'

test('ids sort by the time they were made and tell it', () => {
  const times = [0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 2 ** 48 - 1].map((ms) => new Date(ms))
  const ids = times.map((time) => createId('msg', time))
  assert.deepEqual(ids.toSorted(), ids)
  assert.deepEqual(ids.map(timeOfId), times)
})

test('the first id of a moment is not above any id made in it', () => {
  const now = new Date()
  for (let index = 0; index < 100; index += 1) assert.ok(firstIdOf('evt', now) <= createId('evt', now))
  assert.ok(firstIdOf('evt', new Date(now.getTime() + 1)) > createId('evt', now))
})

test('ids of one moment do not collide', () => {
  const now = new Date()
  assert.equal(new Set(Array.from({ length: 100_000 }, () => createId('job', now))).size, 100_000)
})

test('the id of a delivery does not pass off the time of its event as its own', () => {
  assert.throws(() => timeOfId(createId('dlv')), /time of its event/)
})
