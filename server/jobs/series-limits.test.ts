import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { noteClaim, noteEnd, noteStart, ownedSeries, type SeriesBook } from './series-limits.ts'
import type { Claim, SeriesLimits } from './work.ts'
import { createConduct } from './work-conduct.ts'

function claimOf(series: string, limits: Partial<SeriesLimits> | undefined): Claim {
  const item = {
    id: series,
    kind: 'delivery' as const,
    lane: `${series}/x`,
    tenantId: null,
    productId: null,
    ref: series,
    runAt: new Date(0),
    attempt: 1,
    series,
    number: 1,
    ordered: false,
  }
  const given = limits && { mostRunning: null, perSecond: null, ...limits }
  return { item, limits: given, token: '', claimedAt: 0 }
}

describe('series that this process stays the owner of', () => {
  test('are those with limits of which something runs or waits', () => {
    const book: SeriesBook = new Map()
    const limited = claimOf('limited', { mostRunning: 2 })
    for (const claim of [limited, claimOf('free', undefined)]) noteClaim(book, claim, createConduct, 0)
    assert.deepEqual(ownedSeries(book, 0), ['limited'])
    noteStart(book, limited.item)
    assert.deepEqual(ownedSeries(book, 0), ['limited'])
    noteEnd(book, limited.item, true)
    assert.deepEqual(ownedSeries(book, 0), [])
  })

  test('and those whose last starts still count against their rate', () => {
    const book: SeriesBook = new Map()
    const rated = claimOf('rated', { perSecond: 1 })
    noteClaim(book, rated, createConduct, 0)
    noteStart(book, rated.item)
    noteEnd(book, rated.item, true)
    assert.deepEqual(ownedSeries(book, 500), ['rated'])
    assert.deepEqual(ownedSeries(book, 1_500), [])
  })
})
