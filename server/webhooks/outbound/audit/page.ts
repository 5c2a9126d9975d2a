/** What a page of an export says of itself. Signed when it is exported, it fits these blocks and no others. */
export interface Page {
  product_id: string
  tenant_id: string
  /** Attempts of before may be gone. */
  attempts_kept_since: string
  exported_at: string
  /** The block behind which it was asked for. */
  after: number
  /** The block of its checkpoint, if it has one. */
  checkpoint: number | null
  first_block: number | null
  last_block: number | null
  /** The newest of the chain, on this page or not; 0 while there is none. */
  head_block: number
  head_hash: string
}

const spellingVersion = 1

/** The one spelling of it. No block begins with a word: what was signed as one is nothing else. */
export function spellPage(page: Page): string {
  const { product_id: product, tenant_id: tenant, attempts_kept_since: since, exported_at: at } = page
  const { after, checkpoint, first_block: first, last_block: last, head_block: head, head_hash: hash } = page
  return JSON.stringify([
    'page',
    spellingVersion,
    product,
    tenant,
    since,
    at,
    after,
    checkpoint,
    first,
    last,
    head,
    hash,
  ])
}

/** Behind which block the next page begins; null when this one has the newest. */
export function nextAfter({ after, checkpoint, last_block: last, head_block: head }: Page): number | null {
  const end = last ?? Math.max(after, checkpoint ?? 0)
  return end > after && end < head ? end : null
}
