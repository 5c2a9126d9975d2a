import { describeError, type Outcome } from '#connections'

interface ReferenceSearch<Item> {
  /** What a person reads while the search may lag behind. */
  message: string
  isOurs: (item: Item) => boolean
  list: () => Promise<Outcome<{ items: readonly Item[]; isWhole: boolean }>>
  search: () => Promise<Outcome<{ items: readonly Item[] }>>
  /** Whether what was made may not be found by the search yet. */
  mayLag: boolean
}

/**
 * By our own reference. The list is exact; a search lags behind, so it is asked only where the list is too long, and
 * that it finds nothing is believed only when it had the time to.
 */
export async function findByReference<Item>({
  message,
  isOurs,
  list,
  search,
  mayLag,
}: ReferenceSearch<Item>): Promise<Outcome<{ found: Item | undefined }>> {
  const listed = await list()
  if (listed.outcome !== 'done') return listed
  const found = listed.items.find(isOurs)
  if (found !== undefined || listed.isWhole) return { outcome: 'done', found }
  const searched = await search()
  if (searched.outcome !== 'done') return searched
  const late = searched.items.find(isOurs)
  if (late !== undefined || !mayLag) return { outcome: 'done', found: late }
  return { outcome: 'unknown', error: describeError(['transient', 'backoff', false], { message }) }
}
