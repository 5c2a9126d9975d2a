/** Where a chain begins whose first blocks are past their retention. Signed when they go. */
export interface Checkpoint {
  product_id: string
  tenant_id: string
  /** The last block that is gone. The next one follows it: */
  number: number
  last_place: number
  hash: string
  sealed_at: string
  /** Of all blocks that are gone. */
  attempts: number
}

const spellingVersion = 1

/** The one spelling of it. No block begins with a word: what was signed as one is nothing else. */
export function spellCheckpoint(checkpoint: Checkpoint): string {
  const { product_id: product, tenant_id: tenant, number, last_place: place, hash } = checkpoint
  const { sealed_at: sealedAt, attempts } = checkpoint
  return JSON.stringify([
    'checkpoint',
    spellingVersion,
    product,
    tenant,
    number,
    place,
    hash,
    sealedAt,
    attempts,
  ])
}
