import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuse } from '#connections'
import { findAmongNewest } from './newest-search.ts'

const now = new Date('2026-11-22T12:00:00Z')
const minuteMs = 60_000
const ago = (minutes: number) => new Date(now.getTime() - minutes * minuteMs)

/** Each item is how many minutes ago it was made; pages are asked for until there is none left. */
async function find(pages: number[][], wanted: number, madeAt = ago(wanted)) {
  const asked: number[] = []
  const search = {
    readPage: async (page: number) => {
      asked.push(page)
      return { outcome: 'done' as const, items: pages[page - 1] ?? [], hasMore: page < pages.length }
    },
    mostPages: 3,
    isOurs: (minutes: number) => minutes === wanted,
    timeOf: ago,
    lagMs: 10 * minuteMs,
    message: 'wait',
    tooMany: 'too many',
  }
  return { asked, outcome: await findAmongNewest(search, madeAt, now) }
}

test('the newest are looked through until ours is there', async () => {
  const { asked, outcome } = await find([[1, 2], [30], [60]], 30)
  assert.deepEqual(outcome, { outcome: 'done', found: 30 })
  assert.deepEqual(asked, [1, 2])
})

test('what is older than ours can be ends the look', async () => {
  const { asked, outcome } = await find([[1, 50], [51], [52]], 99, ago(30))
  assert.deepEqual(outcome, { outcome: 'done' })
  assert.deepEqual(asked, [1])
})

test('a page that has the oldest first ends nothing', async () => {
  const { asked } = await find([[50, 1], [51], [52]], 99, ago(30))
  assert.deepEqual(asked, [1, 2])
})

test('nothing is believed only when the search had the time to, and all was seen', async () => {
  const early = await find([[1]], 99, ago(4))
  assert.equal(early.outcome.outcome, 'unknown')
  assert.deepEqual(errorOf(early.outcome).retry, { afterMs: 6 * minuteMs })
  const crowded = await find([[1], [2], [3], [4]], 99, ago(30))
  assert.equal(errorOf(crowded.outcome).message, 'too many')
  const empty = await find([[]], 99, ago(30))
  assert.deepEqual(empty.outcome, { outcome: 'done' })
})

test('a page that can not be read says nothing', async () => {
  const refused = refuse('auth', 'no')
  const search = {
    readPage: async () => refused,
    mostPages: 3,
    isOurs: () => true,
    timeOf: () => undefined,
    lagMs: minuteMs,
    message: 'wait',
    tooMany: 'too many',
  }
  assert.deepEqual(await findAmongNewest(search, now, now), refused)
})

function errorOf(outcome: Awaited<ReturnType<typeof find>>['outcome']) {
  assert.ok(outcome.outcome !== 'done')
  return outcome.error
}
