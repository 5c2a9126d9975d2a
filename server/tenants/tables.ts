import type { ColumnType, Generated } from 'kysely'
import type { RetentionDays } from './schema.ts'

export interface TenantsTables {
  products: { id: string; name: string; created_at: ColumnType<Date, never, never> }
  tenants: {
    id: string
    product_id: string
    name: string
    created_at: ColumnType<Date, never, never>
    retention_days: Generated<RetentionDays>
    /** Null: as long as the rows. */
    raw_retention_days: RetentionDays | null
    retention_changed_at: ColumnType<Date | null, never, Date>
    /** Rows of earlier days may be gone. */
    kept_from: ColumnType<string | null, never, string>
  }
  api_keys: {
    id: string
    hash: string
    prefix: string
    name: string
    product_id: string | null
    tenant_id: string | null
    scopes: string[]
    expires_at: Date | null
    last_used_at: ColumnType<Date | null, never, Date>
    revoked_at: ColumnType<Date | null, never, Date>
    created_at: ColumnType<Date, never, never>
  }
  data_keys: {
    owner: string
    tenant_id: string | null
    kek_id: string
    wrapped: string
    created_at: ColumnType<Date, never, never>
  }
}

declare module '#core/database.ts' {
  interface Tables extends TenantsTables {}
}
