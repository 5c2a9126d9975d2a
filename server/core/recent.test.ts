import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { createRecent, type Recent } from './recent.ts'
import { collect } from './testing/memory.ts'

test('an entry is believed for its time, and the oldest makes room', async () => {
  const recent = createRecent<string, number>({ most: 2, forMs: 50 })
  for (const [index, key] of ['a', 'b', 'a', 'c'].entries()) recent.set(key, index)
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => recent.get(key)),
    [2, undefined, 3],
  )
  recent.forget('c')
  assert.equal(recent.get('c'), undefined)
  const deadline = performance.now() + 5_000
  while (recent.get('a') !== undefined) {
    assert.ok(performance.now() < deadline)
    await sleep(5)
  }
})

test('what expired is not kept in memory, though nobody asks for it or adds to it', async () => {
  const recent = createRecent<number, object>({ most: 100, forMs: 200 })
  const early = remember(recent, 0)
  await sleep(100)
  const late = remember(recent, 1)
  const deadline = performance.now() + 5_000
  while ([early, late].some((value) => value.deref() !== undefined)) {
    assert.ok(performance.now() < deadline, 'they are still held')
    await sleep(5)
    collect()
  }
  const again = remember(recent, 2)
  while (again.deref() !== undefined) {
    assert.ok(performance.now() < deadline, 'what came later is still held')
    await sleep(5)
    collect()
  }
  recent.forget(2)
})

test('each entry is kept no longer than its own time', async () => {
  const recent = createRecent<number, object>({ most: 100, forMs: 2_000 })
  const begin = performance.now()
  remember(recent, 0)
  await sleep(100)
  const late = remember(recent, 1)
  while (late.deref() !== undefined) {
    assert.ok(performance.now() < begin + 3_500, 'it is held until the next round')
    await sleep(5)
    collect()
  }
  recent.forget(1)
})

function remember(recent: Recent<number, object>, key: number): WeakRef<object> {
  const value = { key }
  recent.set(key, value)
  return new WeakRef(value)
}
