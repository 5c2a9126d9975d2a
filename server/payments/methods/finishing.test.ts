import assert from 'node:assert/strict'
import { test } from 'node:test'
import { finishMethod, firstWaitMs, waitAfter } from './finishing.ts'

test('six tries to learn the end of a method fall into the minute that Oneclick knows it, and some come much later', () => {
  let at = firstWaitMs
  const tries = Array.from({ length: finishMethod.attempts }, (_, index) => {
    const begins = at
    at += waitAfter(index + 1)
    return begins
  })
  assert.equal(tries.filter((begins) => begins < 60_000).length, 6)
  assert.ok((tries.at(-1) ?? 0) > 10 * 60_000)
})
