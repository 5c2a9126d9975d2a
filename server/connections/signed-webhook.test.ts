import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readSignaturePairs, verifyAge } from './raw-webhook.ts'

test('the pairs of a signature are read whatever surrounds them', () => {
  const valuesOf = readSignaturePairs('t=1, V1 = a== ,v1=b,odd')
  assert.deepEqual([valuesOf('t'), valuesOf('v1'), valuesOf('v0')], [['1'], ['a==', 'b'], []])
  assert.deepEqual(readSignaturePairs(undefined)('t'), [])
})

test('what was signed long ago or in the future does not pass, and the reason says so', () => {
  const now = new Date('2026-11-22T12:00:00.900Z')
  const signed = (secondsAgo: number, aheadSeconds?: number) => {
    const signedAtSeconds = Math.floor(now.getTime() / 1000) - secondsAgo
    const time = { signedAtSeconds, mostSeconds: 300, words: 'five minutes' }
    return verifyAge({ ok: true }, aheadSeconds === undefined ? time : { ...time, aheadSeconds }, now)
  }
  assert.deepEqual(
    [0, 300, 301, -300, -301].map((age) => signed(age).ok),
    [true, true, false, true, false],
  )
  assert.deepEqual(
    [-60, -61].map((age) => signed(age, 60).ok),
    [true, false],
  )
  assert.equal(signed(Number.NaN).ok, false)
  assert.match(JSON.stringify(signed(999)), /timestamp.*more than five minutes ago or in the future/)
  const refused = { ok: false, check: 'signature', reason: 'no' } as const
  const time = { signedAtSeconds: 1, mostSeconds: 1, words: 'a second' }
  assert.equal(verifyAge(refused, time, now), refused)
})
