/** Things in no order, to be gone through now and then. */
export interface Bag<Item> {
  /** @returns takes it out again, and tells whether it was still in */
  add(item: Item): () => boolean
  items(): Item[]
  clear(): void
}

interface Held<Item> {
  item: Item
  place: number
}

/**
 * For what comes and goes all the time. A `Set` or `Map` would keep it in memory long after: their tables in V8 are
 * replaced every few changes and point to the next one, so that a dead table which has grown old keeps, until a whole
 * collection, what the later ones held.
 */
export function createBag<Item>(): Bag<Item> {
  const held: Array<Held<Item>> = []

  function remove(entry: Held<Item>): boolean {
    if (held[entry.place] !== entry) return false
    const last = held.pop()
    if (last === undefined || last === entry) return true
    held[entry.place] = last
    last.place = entry.place
    return true
  }

  return {
    add(item) {
      const entry = { item, place: held.length }
      held.push(entry)
      return () => remove(entry)
    },
    items: () => held.map(({ item }) => item),
    clear: () => void held.splice(0),
  }
}
