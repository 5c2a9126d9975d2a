/** What a run counted, and every promise it found broken. */
export interface Verdict {
  counts: Array<[label: string, count: number]>
  violations: string[]
}

export function createVerdict(): Verdict {
  return { counts: [], violations: [] }
}

export function count(verdict: Verdict, label: string, number: number): void {
  verdict.counts.push([label, number])
}

const examplesShown = 5

/** Counts what must not be, and shows the first few of it. */
export function forbid<Item>(
  verdict: Verdict,
  label: string,
  found: readonly Item[],
  describe: (item: Item) => string = String,
): void {
  count(verdict, label, found.length)
  if (found.length === 0) return
  const examples = found.slice(0, examplesShown).map((item) => describe(item))
  const more = found.length > examplesShown ? ` and ${found.length - examplesShown} more` : ''
  verdict.violations.push(`${label}: ${found.length} (${examples.join('; ')}${more})`)
}

export function groupBy<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string | null,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const key = keyOf(item)
    if (key === null) continue
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
