import { type Insertable, type Kysely, type Selectable, sql } from 'kysely'
import type { TenantsTables } from './tables.ts'

type Db = Kysely<TenantsTables>
export type KeyRow = Selectable<TenantsTables['api_keys']>
export type TenantRow = Selectable<TenantsTables['tenants']>
export type ProductRow = Selectable<TenantsTables['products']>

export function insertProduct(
  db: Db,
  product: { id: string; name: string },
): Promise<ProductRow | undefined> {
  return db
    .insertInto('products')
    .values(product)
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
}

export function findProduct(db: Db, id: string): Promise<ProductRow | undefined> {
  return db.selectFrom('products').selectAll().where('id', '=', id).executeTakeFirst()
}

export function listProducts(
  db: Db,
  filter: { id?: string; after?: string; limit: number },
): Promise<ProductRow[]> {
  let query = db.selectFrom('products').selectAll().orderBy('id').limit(filter.limit)
  if (filter.id !== undefined) query = query.where('id', '=', filter.id)
  if (filter.after !== undefined) query = query.where('id', '>', filter.after)
  return query.execute()
}

export function insertTenant(
  db: Db,
  tenant: Insertable<TenantsTables['tenants']>,
): Promise<TenantRow | undefined> {
  return db
    .insertInto('tenants')
    .values(tenant)
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
}

export function findTenant(db: Db, id: string): Promise<TenantRow | undefined> {
  return db.selectFrom('tenants').selectAll().where('id', '=', id).executeTakeFirst()
}

export function lockTenant(db: Db, id: string): Promise<TenantRow | undefined> {
  return db.selectFrom('tenants').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
}

export type Retention = Pick<TenantRow, 'retention_days' | 'raw_retention_days'>

/** Remembers from when on rows were kept until now: a longer retention brings none back. */
export function changeRetention(db: Db, id: string, retention: Retention): Promise<TenantRow> {
  return db
    .updateTable('tenants')
    .set({
      ...retention,
      retention_changed_at: sql<Date>`now()`,
      kept_from: sql<string>`greatest(kept_from, (now() at time zone 'UTC')::date - retention_days)`,
    })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

export function findProductsOfTenants(
  db: Db,
  ids: readonly string[],
): Promise<Pick<TenantRow, 'id' | 'product_id'>[]> {
  return db.selectFrom('tenants').select(['id', 'product_id']).where('id', 'in', ids).execute()
}

export function listTenants(
  db: Db,
  filter: { productId?: string; tenantId?: string; after?: string; limit: number },
): Promise<TenantRow[]> {
  let query = db.selectFrom('tenants').selectAll().orderBy('id').limit(filter.limit)
  if (filter.productId !== undefined) query = query.where('product_id', '=', filter.productId)
  if (filter.tenantId !== undefined) query = query.where('id', '=', filter.tenantId)
  if (filter.after !== undefined) query = query.where('id', '>', filter.after)
  return query.execute()
}

export function insertKey(db: Db, key: Insertable<TenantsTables['api_keys']>): Promise<KeyRow> {
  return db.insertInto('api_keys').values(key).returningAll().executeTakeFirstOrThrow()
}

/** The key and, for a tenant's key, the product its tenant belongs to. */
export function findKeyByHash(
  db: Db,
  hash: string,
): Promise<(KeyRow & { product_of_tenant: string | null }) | undefined> {
  return db
    .selectFrom('api_keys')
    .leftJoin('tenants', 'tenants.id', 'api_keys.tenant_id')
    .selectAll('api_keys')
    .select('tenants.product_id as product_of_tenant')
    .where('hash', '=', hash)
    .executeTakeFirst()
}

export interface KeyOwner {
  productId: string | null
  tenantId: string | null
}

export function listKeys(
  db: Db,
  owner: KeyOwner,
  page: { after?: string; limit: number },
): Promise<KeyRow[]> {
  let query = db
    .selectFrom('api_keys')
    .selectAll()
    .where('revoked_at', 'is', null)
    .orderBy('id')
    .limit(page.limit)
  query = query.where('product_id', owner.productId === null ? 'is' : '=', owner.productId)
  query = query.where('tenant_id', owner.tenantId === null ? 'is' : '=', owner.tenantId)
  if (page.after !== undefined) query = query.where('id', '>', page.after)
  return query.execute()
}

export async function revokeKey(db: Db, owner: KeyOwner, id: string, now: Date): Promise<boolean> {
  const revoked = await db
    .updateTable('api_keys')
    .set({ revoked_at: now })
    .where('id', '=', id)
    .where('product_id', owner.productId === null ? 'is' : '=', owner.productId)
    .where('tenant_id', owner.tenantId === null ? 'is' : '=', owner.tenantId)
    .where('revoked_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return revoked !== undefined
}

export async function touchKey(db: Db, id: string, now: Date): Promise<void> {
  await db.updateTable('api_keys').set({ last_used_at: now }).where('id', '=', id).execute()
}

export async function hasAdminKey(db: Db): Promise<boolean> {
  const key = await db
    .selectFrom('api_keys')
    .select('id')
    .where('product_id', 'is', null)
    .where('tenant_id', 'is', null)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  return key !== undefined
}

export interface DataKeyRow {
  owner: string
  kek_id: string
  wrapped: string
}

export function findDataKey(db: Db, owner: string): Promise<DataKeyRow | undefined> {
  return db
    .selectFrom('data_keys')
    .select(['owner', 'kek_id', 'wrapped'])
    .where('owner', '=', owner)
    .executeTakeFirst()
}

export async function insertDataKey(db: Db, key: DataKeyRow & { tenant_id: string | null }): Promise<void> {
  await db
    .insertInto('data_keys')
    .values(key)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export function listDataKeysNotUnder(db: Db, kekId: string, limit: number): Promise<DataKeyRow[]> {
  return db
    .selectFrom('data_keys')
    .select(['owner', 'kek_id', 'wrapped'])
    .where('kek_id', '!=', kekId)
    .orderBy('owner')
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute()
}

export async function countDataKeysNotUnder(db: Db, kekId: string): Promise<number> {
  const row = await db
    .selectFrom('data_keys')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('kek_id', '!=', kekId)
    .executeTakeFirstOrThrow()
  return row.count
}

export async function replaceDataKey(db: Db, key: DataKeyRow): Promise<void> {
  await db
    .updateTable('data_keys')
    .set({ kek_id: key.kek_id, wrapped: key.wrapped })
    .where('owner', '=', key.owner)
    .execute()
}
