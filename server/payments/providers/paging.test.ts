import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuse } from '#connections'
import { readPages } from './paging.ts'

const pages = [['a', 'b'], ['c', 'd'], ['e']]

async function readAll(mostPages: number, wanted?: string) {
  const asked: Array<readonly [last: string | undefined, page: number]> = []
  const readPage = async (last: string | undefined, page: number) => {
    asked.push([last, page])
    return { outcome: 'done' as const, items: pages[page - 1] ?? [], hasMore: page < pages.length }
  }
  const until = wanted === undefined ? undefined : (item: string) => item === wanted
  return { read: await readPages(readPage, { mostPages, until }), asked }
}

test('pages are read to the end, to what is wanted, or to what is enough', async () => {
  const { read, asked } = await readAll(9)
  assert.deepEqual(read, { outcome: 'done', items: ['a', 'b', 'c', 'd', 'e'], isWhole: true })
  assert.deepEqual(asked, [
    [undefined, 1],
    ['b', 2],
    ['d', 3],
  ])
  const found = { outcome: 'done', items: ['a', 'b', 'c', 'd'], isWhole: true }
  assert.deepEqual((await readAll(9, 'c')).read, found)
  assert.deepEqual((await readAll(2)).read, { ...found, isWhole: false })
})

test('a page that can not be read says nothing of the others', async () => {
  const refused = refuse('auth', 'no')
  assert.deepEqual(await readPages(async () => refused, { mostPages: 9 }), refused)
})
