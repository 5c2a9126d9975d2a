export interface RecentOptions {
  /** The oldest entry makes room for the next. */
  most: number
  /** How long an entry is believed, by the monotonic clock. */
  forMs: number
}

export interface Recent<Key, Value> {
  get(key: Key): Value | undefined
  set(key: Key, value: Value): void
  forget(key: Key): void
}

/** Remembers what was read a moment ago, for what never changes or may be a little old. */
export function createRecent<Key, Value>({ most, forMs }: RecentOptions): Recent<Key, Value> {
  // In the order in which they expire.
  const entries = new Map<Key, { value: Value | undefined; until: number }>()
  let isSwept = false

  /** What a table of V8 points to may stay in memory long after it was taken out (`bag.ts`): that is the entry alone. */
  function remove(key: Key): void {
    const entry = entries.get(key)
    if (entry !== undefined) entry.value = undefined
    entries.delete(key)
  }

  /** What nobody asks for any more would otherwise stay in a process that has nothing to do. */
  function sweep(): void {
    const now = performance.now()
    for (const [key, { until }] of entries) {
      if (until > now) break
      remove(key)
    }
    const [oldest] = entries.values()
    isSwept = oldest !== undefined
    if (oldest !== undefined) setTimeout(sweep, Math.ceil(oldest.until - now)).unref()
  }

  return {
    get(key) {
      const entry = entries.get(key)
      return entry !== undefined && entry.until > performance.now() ? entry.value : undefined
    },
    set(key, value) {
      remove(key)
      entries.set(key, { value, until: performance.now() + forMs })
      const [oldest] = entries.keys()
      if (entries.size > most && oldest !== undefined) remove(oldest)
      if (!isSwept) setTimeout(sweep, forMs).unref()
      isSwept = true
    },
    forget: remove,
  }
}
