import { lookAgain, type Outcome } from '#connections'
import { type ListPage, readPages } from './paging.ts'
import { doubtSearch, type LaggingSearch } from './search-lag.ts'

interface NewestSearch<Item> extends LaggingSearch {
  /** The pages, newest first, by their number from 1. */
  readPage: (page: number) => Promise<Outcome<ListPage<Item>>>
  mostPages: number
  isOurs: (item: Item) => boolean
  /** When an item was made, as far as it tells. */
  timeOf: (item: Item) => Date | null | undefined
  /** What a person reads when the pages do not go back far enough. */
  tooMany: string
}

/**
 * By our own reference where a search has no filter for it: the newest are looked through, back to when it can have
 * been made.
 */
export async function findAmongNewest<Item>(
  { readPage, mostPages, isOurs, timeOf, tooMany, ...lag }: NewestSearch<Item>,
  madeAt: Date,
  now: Date,
): Promise<Outcome<{ found?: Item }>> {
  const earliestMs = madeAt.getTime() - lag.lagMs
  const readUntilEarliest = async (_last: Item | undefined, number: number) => {
    const page = await readPage(number)
    return page.outcome === 'done' && isBefore(earliestMs, page.items.map(timeOf))
      ? { ...page, hasMore: false }
      : page
  }
  const read = await readPages(readUntilEarliest, { mostPages, until: isOurs })
  if (read.outcome !== 'done') return read
  const found = read.items.find(isOurs)
  if (found !== undefined) return { outcome: 'done', found }
  if (!read.isWhole) return lookAgain(tooMany, lag.lagMs)
  return doubtSearch(lag, madeAt, now) ?? { outcome: 'done' }
}

/** Whether a page goes back further; one that has not the newest first says nothing. */
function isBefore(earliestMs: number, times: ReadonlyArray<Date | null | undefined>): boolean {
  const [newest, oldest] = [times[0], times.at(-1)].map((time) => time?.getTime())
  return newest !== undefined && oldest !== undefined && newest >= oldest && oldest < earliestMs
}
