export interface AuditTables {
  audit_horizon: {
    is_sole: boolean
    sealed_place: number
    next_place: number
    next_transaction: number
  }
  audit_keys: {
    product_id: string
    key_id: string
    public_key: string
    sealed_private_key: string
    created_at: Date
  }
  audit_chains: {
    product_id: string
    /** '' for the product's own. */
    tenant_id: string
    last_number: number
    last_hash: string
    last_place: number
    has_news: boolean
    announced_event_id: string | null
  }
  audit_blocks: {
    product_id: string
    tenant_id: string
    number: number
    after_place: number
    last_place: number
    attempts: number
    root: string
    previous: string
    sealed_at: Date
    hash: string
    key_id: string
    signature: string
  }
  audit_leaves: {
    product_id: string
    tenant_id: string
    number: number
    sealed_at: Date
    leaves: string
    /** What the attempts are about; null of blocks from before that was noted. */
    event_ids: string[] | null
  }
  audit_checkpoints: {
    product_id: string
    tenant_id: string
    number: number
    last_place: number
    hash: string
    sealed_at: Date
    attempts: number
    signature: string
  }
}

declare module '#core/database.ts' {
  interface Tables extends AuditTables {}
}
