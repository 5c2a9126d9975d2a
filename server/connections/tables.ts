import type { ColumnType, Generated } from 'kysely'

export interface ConnectionsTables {
  connections: {
    id: string
    tenant_id: string
    capability: string
    provider: string
    sealed_credentials: string
    version: Generated<number>
    active: Generated<boolean>
    priority: Generated<number>
    weight: Generated<number>
    created_at: ColumnType<Date, never, never>
    updated_at: ColumnType<Date, never, Date>
    deleted_at: ColumnType<Date | null, never, Date>
  }
}

declare module '#core/database.ts' {
  interface Tables extends ConnectionsTables {}
}
