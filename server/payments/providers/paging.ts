import type { Outcome } from '#connections'

export interface ListPage<Item> {
  items: Item[]
  hasMore: boolean
}

/**
 * Page after page, each asked for by the last item of the one before or by its number, until one fits or there are
 * enough. `isWhole`: nothing was left out for length.
 */
export async function readPages<Item>(
  readPage: (last: Item | undefined, page: number) => Promise<Outcome<ListPage<Item>>>,
  { mostPages, until }: { mostPages: number; until?: ((item: Item) => boolean) | undefined },
): Promise<Outcome<{ items: Item[]; isWhole: boolean }>> {
  const items: Item[] = []
  for (let pages = 1; ; pages += 1) {
    const page = await readPage(items.at(-1), pages)
    if (page.outcome !== 'done') return page
    items.push(...page.items)
    const isEnough = !page.hasMore || (until !== undefined && page.items.some(until))
    if (isEnough || pages === mostPages) return { outcome: 'done', items, isWhole: isEnough }
  }
}
