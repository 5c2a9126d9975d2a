import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfCall, nextRecoveryAt } from './checks.ts'

const start = new Date('2026-11-30T12:00:00Z')
const pageEndsAt = new Date('2026-11-30T12:10:00Z')

/** Seconds from the start at which a call of unknown end is looked at. */
function looksWithin(minutes: number, endsAt: Date | null): number[] {
  const looks: number[] = []
  let at = start
  for (let round = 0; at.getTime() < start.getTime() + minutes * 60_000; round += 1) {
    const next = nextRecoveryAt(round, at, endsAt)
    assert.ok(next)
    at = next
    looks.push((at.getTime() - start.getTime()) / 1000)
  }
  return looks
}

test('what a customer agreed to is confirmed until the page ends, a minute apart at most', () => {
  const endsAt = endOfCall({ kind: 'commit' }, { expires_at: pageEndsAt })
  const looks = looksWithin(10, endsAt)
  assert.deepEqual(looks, [5, 20, 65, 125, 185, 245, 305, 365, 425, 485, 545, 605])
})

test('any other call of unknown end is looked at ever later', () => {
  const endsAt = endOfCall({ kind: 'refund' }, { expires_at: pageEndsAt })
  assert.deepEqual(looksWithin(10, endsAt), [5, 20, 65, 185, 545, 1745])
})
