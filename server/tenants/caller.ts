import { hash, timingSafeEqual } from 'node:crypto'
import type { Context } from '#core/context.ts'
import type { Database, TenantScope } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { hashKey, isWellFormedKey } from './key-format.ts'
import {
  findKeyByHash,
  findProduct,
  findProductsOfTenants,
  findTenant,
  type KeyRow,
  touchKey,
} from './queries.ts'
import type { Scope } from './schema.ts'

/** Who is calling: the platform's operator, a product (for its tenants), or one tenant (for itself). */
export type Caller =
  | ({ kind: 'admin' } & KeyLimits)
  | ({ kind: 'product'; productId: string } & KeyLimits)
  | ({ kind: 'tenant'; productId: string; tenantId: string } & KeyLimits)

interface KeyLimits {
  scopes: readonly string[]
  expiresAt: Date | null
}

const touchAfterMs = 60_000

/** @throws PipeError 401 that says what is wrong with the header or the key. */
export async function authenticate(context: Context, authorization: string | undefined): Promise<Caller> {
  const key = readKey(authorization)
  if (key === '') {
    throw unauthenticated('key_missing', 'Send your API key as "Authorization: Bearer pck_…".')
  }
  if (context.config.adminKey !== undefined && equalTexts(key, context.config.adminKey)) {
    return { kind: 'admin', scopes: ['*'], expiresAt: null }
  }
  if (!isWellFormedKey(key)) {
    throw unauthenticated('key_malformed', 'This is not a whole PipeCore key: its checksum does not fit.')
  }
  const row = await findKey(context.database, hashKey(key))
  const now = context.now()
  if (row === undefined || row.revoked_at !== null) {
    throw unauthenticated('key_unknown', 'This API key does not exist or was deleted.')
  }
  if (row.expires_at !== null && row.expires_at <= now) {
    throw unauthenticated('key_expired', `This API key expired at ${row.expires_at.toISOString()}.`)
  }
  if (row.last_used_at === null || now.getTime() - row.last_used_at.getTime() > touchAfterMs) {
    row.last_used_at = now
    await touchKey(context.database.system, row.id, now)
  }
  return toCaller(row)
}

/** Who is calling, where that was found out a moment ago; undefined where `authenticate` has to look. */
export function recallCaller(
  { database, now }: Context,
  authorization: string | undefined,
): Caller | undefined {
  const row = recentKeysOf(database).get(hashOf(authorization))?.row
  if (row === undefined || (row.expires_at !== null && row.expires_at <= now())) return undefined
  return toCaller(row)
}

const recentHashes = createRecent<string, string>({ most: 1_000, forMs: 1_000 })

/** Of the key in a header. Busy callers send theirs again and again, and hashing it costs more than finding it. */
function hashOf(authorization = ''): string {
  const known = recentHashes.get(authorization)
  if (known !== undefined) return known
  const keyHash = hashKey(readKey(authorization))
  recentHashes.set(authorization, keyHash)
  return keyHash
}

function readKey(authorization = ''): string {
  return /^Bearer (.+)$/i.exec(authorization)?.[1]?.trim() ?? ''
}

type FoundKey = Awaited<ReturnType<typeof findKeyByHash>>

/** So long a key may go on in other processes than the one that deleted it. */
const keyBelievedForMs = 1_000
const recentKeys = new WeakMap<Database, Recent<string, KnownKey>>()

interface KnownKey {
  look: Promise<FoundKey>
  /** Once it was found, and is good. */
  row?: FoundKey
}

function recentKeysOf(database: Database): Recent<string, KnownKey> {
  const keys = recentKeys.get(database) ?? createRecent({ most: 10_000, forMs: keyBelievedForMs })
  recentKeys.set(database, keys)
  return keys
}

/** One look-up a second for each key that is good; one that is not is looked for every time. */
function findKey(database: Database, keyHash: string): Promise<FoundKey> {
  const keys = recentKeysOf(database)
  const known = keys.get(keyHash)
  if (known !== undefined) return known.look
  const look = findKeyByHash(database.system, keyHash)
  const found: KnownKey = { look }
  keys.set(keyHash, found)
  void look.then(
    (row) => {
      if (row === undefined || row.revoked_at !== null) keys.forget(keyHash)
      else found.row = row
    },
    () => keys.forget(keyHash),
  )
  return look
}

export function forgetKeys(database: Database): void {
  recentKeys.delete(database)
}

function toCaller(row: KeyRow & { product_of_tenant: string | null }): Caller {
  const limits = { scopes: row.scopes, expiresAt: row.expires_at }
  if (row.tenant_id !== null) {
    return { kind: 'tenant', tenantId: row.tenant_id, productId: row.product_of_tenant ?? '', ...limits }
  }
  return row.product_id === null
    ? { kind: 'admin', ...limits }
    : { kind: 'product', productId: row.product_id, ...limits }
}

export function requireScope(caller: Caller, scope: Scope): void {
  if (!hasScope(caller, scope))
    throw new PipeError('scope_missing', 403, `This API key lacks the scope ${scope}.`)
}

export function hasScope({ scopes }: Caller, scope: Scope): boolean {
  return scopes.includes('*') || scopes.includes(scope)
}

/** @throws PipeError 403 */
export function requireAdmin(caller: Caller): void {
  if (caller.kind !== 'admin') throw new PipeError('admin_required', 403, 'Only the admin key may do this.')
}

/**
 * The scope to act in for a tenant.
 * @throws PipeError 404 when there is no such tenant or this caller may not know of it.
 */
export async function scopeFor(
  context: Context,
  caller: Caller,
  tenantId: string,
  traceId: string,
): Promise<TenantScope> {
  if (caller.kind === 'tenant') {
    if (caller.tenantId !== tenantId) throw notFound('tenant', tenantId)
    return { tenantId, productId: caller.productId, traceId }
  }
  const productId = await findProductOf(context, tenantId)
  const visible = productId !== undefined && (caller.kind === 'admin' || productId === caller.productId)
  if (!visible) throw notFound('tenant', tenantId)
  return { tenantId, productId, traceId }
}

/** The scopes of those of these tenants that this caller may act for. */
export async function scopesFor(
  context: Context,
  caller: Caller,
  tenantIds: readonly string[],
  traceId: string,
): Promise<ReadonlyMap<string, TenantScope>> {
  const products =
    caller.kind === 'tenant'
      ? new Map([[caller.tenantId, caller.productId]])
      : await findProductsOf(context, tenantIds)
  const mayKnow = (productId: string) => caller.kind === 'admin' || productId === caller.productId
  return new Map(
    [...products]
      .filter(([, productId]) => mayKnow(productId))
      .map(([tenantId, productId]) => [tenantId, { tenantId, productId, traceId }]),
  )
}

/** The scope of a tenant named by a request that proves itself otherwise, such as a provider's webhook. */
export async function findTenantScope(
  context: Context,
  tenantId: string,
  traceId: string,
): Promise<TenantScope | undefined> {
  const productId = await findProductOf(context, tenantId)
  return productId === undefined ? undefined : { tenantId, productId, traceId }
}

const recentProducts = new WeakMap<Database, Recent<string, string>>()

/** A tenant never changes its product. */
async function findProductOf({ database }: Context, tenantId: string): Promise<string | undefined> {
  const products = recentProducts.get(database) ?? createRecent({ most: 10_000, forMs: 10 * 60_000 })
  recentProducts.set(database, products)
  const known = products.get(tenantId)
  if (known !== undefined) return known
  const tenant = await findTenant(database.system, tenantId)
  if (tenant !== undefined) products.set(tenantId, tenant.product_id)
  return tenant?.product_id
}

/** The products of many tenants at once, for work that begins with rows of all of them. */
export async function findProductsOf(
  context: Context,
  tenantIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (tenantIds.length === 0) return new Map()
  const rows = await findProductsOfTenants(context.database.system, [...new Set(tenantIds)])
  return new Map(rows.map((row) => [row.id, row.product_id]))
}

/** @throws PipeError 404 when there is no such product or this caller may not act for it. */
export async function requireProduct(context: Context, caller: Caller, productId: string): Promise<void> {
  const mayKnow = caller.kind === 'admin' || (caller.kind === 'product' && caller.productId === productId)
  const exists = mayKnow && (await findProduct(context.database.system, productId)) !== undefined
  if (!exists) throw notFound('product', productId)
}

function unauthenticated(code: string, message: string): PipeError {
  return new PipeError(code, 401, message)
}

function equalTexts(left: string, right: string): boolean {
  const digest = (text: string) => hash('sha256', text, 'buffer')
  return timingSafeEqual(digest(left), digest(right))
}
