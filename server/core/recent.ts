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
  const entries = new Map<Key, { value: Value; until: number }>()
  return {
    get(key) {
      const entry = entries.get(key)
      return entry !== undefined && entry.until > performance.now() ? entry.value : undefined
    },
    set(key, value) {
      entries.delete(key)
      entries.set(key, { value, until: performance.now() + forMs })
      const [oldest] = entries.keys()
      if (entries.size > most && oldest !== undefined) entries.delete(oldest)
    },
    forget: (key) => void entries.delete(key),
  }
}
