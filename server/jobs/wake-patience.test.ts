import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createWakePatience } from './wake-patience.ts'

function createClock() {
  const clock = { ms: 0 }
  return { clock, patience: createWakePatience(() => clock.ms) }
}

test('a loop that is told of work looks at once, as long as it finds some', () => {
  const { patience } = createClock()
  for (let time = 0; time < 5; time += 1) {
    assert.equal(patience.isTold(), false)
    assert.equal(patience.hear(), true)
    assert.equal(patience.isTold(), true)
    patience.noteClaim(1)
  }
})

test('one that was told in vain rests, ever longer, and no longer than it waits without being told', () => {
  const { clock, patience } = createClock()
  for (const restMs of [20, 40, 80, 160, 250, 250]) {
    assert.equal(patience.hear(), true)
    patience.noteClaim(0)
    clock.ms += restMs - 1
    assert.equal(patience.hear(), false)
    clock.ms += 1
  }
})

test('what it finds by itself ends its rest', () => {
  const { patience } = createClock()
  assert.equal(patience.hear(), true)
  patience.noteClaim(0)
  assert.equal(patience.hear(), false)
  patience.noteClaim(3)
  assert.equal(patience.hear(), true)
  patience.noteClaim(0)
})

test('looks of its own that find nothing are no reason to rest', () => {
  const { patience } = createClock()
  patience.noteClaim(0)
  patience.noteClaim(0)
  assert.equal(patience.hear(), true)
})
