import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuse } from '#connections'
import { readPages } from './paging.ts'
import { findByReference } from './reference-search.ts'

const pages = [['a', 'b'], ['c', 'd'], ['e']]

function readAll(mostPages: number, wanted?: string) {
  const asked: Array<string | undefined> = []
  const readPage = async (last: string | undefined) => {
    asked.push(last)
    const items = pages[asked.length - 1] ?? []
    return { outcome: 'done' as const, items, hasMore: asked.length < pages.length }
  }
  const until = wanted === undefined ? undefined : (item: string) => item === wanted
  return readPages(readPage, { mostPages, until }).then((read) => ({ asked, read }))
}

test('pages are read to the end, to what is wanted, or to what is enough', async () => {
  const all = { outcome: 'done', items: ['a', 'b', 'c', 'd', 'e'], isWhole: true }
  assert.deepEqual(await readAll(9), { asked: [undefined, 'b', 'd'], read: all })
  const found = { outcome: 'done', items: ['a', 'b', 'c', 'd'], isWhole: true }
  assert.deepEqual((await readAll(9, 'c')).read, found)
  assert.deepEqual((await readAll(2)).read, { ...found, isWhole: false })
})

test('a page that can not be read says nothing of the others', async () => {
  const refused = refuse('auth', 'no')
  assert.deepEqual(await readPages(async () => refused, { mostPages: 9 }), refused)
})

const list = (items: string[], isWhole: boolean) => async () => ({ outcome: 'done' as const, items, isWhole })
const search = (items: string[]) => async () => ({ outcome: 'done' as const, items })
const ours = { message: 'wait', isOurs: (item: string) => item === 'ours', mayLag: true }

test('a whole list is believed, and the search is not asked', async () => {
  const never = () => assert.fail('was asked')
  const found = await findByReference({ ...ours, list: list(['x', 'ours'], false), search: never })
  assert.deepEqual(found, { outcome: 'done', found: 'ours' })
  const none = await findByReference({ ...ours, list: list(['x'], true), search: never })
  assert.deepEqual(none, { outcome: 'done', found: undefined })
})

test('a search that finds nothing is believed when it had the time to', async () => {
  const long = { ...ours, list: list(['x'], false), search: search(['y']) }
  assert.equal((await findByReference(long)).outcome, 'unknown')
  assert.deepEqual(await findByReference({ ...long, mayLag: false }), { outcome: 'done', found: undefined })
  const late = await findByReference({ ...long, search: search(['ours']) })
  assert.deepEqual(late, { outcome: 'done', found: 'ours' })
})
