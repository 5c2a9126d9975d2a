import type { Context } from '#core/context.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { type Caller, forgetKeys } from './caller.ts'
import { createKey, hashKey, prefixOfKey } from './key-format.ts'
import { hasAdminKey, insertKey, type KeyOwner, type KeyRow, listKeys, revokeKey } from './queries.ts'
import type { Key, NewKey } from './schema.ts'

/**
 * Makes a key on behalf of a caller, who gives away no more than it has: neither scopes nor time.
 * @throws PipeError `scope_missing` (403), or `request_invalid` for an expiry that is past or after the maker's
 */
export async function issueKeyFor(
  context: Context,
  caller: Caller,
  owner: KeyOwner,
  input: NewKey,
): Promise<Key & { key: string }> {
  const excess = input.scopes.filter(
    (scope) => !caller.scopes.includes('*') && !caller.scopes.includes(scope),
  )
  if (excess.length > 0) {
    throw new PipeError(
      'scope_missing',
      403,
      `A key can not be given scopes its maker lacks: ${excess.join(', ')}.`,
    )
  }
  const expiresAt = input.expires_at === undefined ? caller.expiresAt : new Date(input.expires_at)
  const isPast = expiresAt !== null && expiresAt <= context.now()
  const outlivesMaker = caller.expiresAt !== null && expiresAt !== null && expiresAt > caller.expiresAt
  if (isPast || outlivesMaker) {
    const message = isPast ? 'is past' : `is after the maker's own, ${caller.expiresAt?.toISOString()}`
    throw invalidRequest('The key can not expire then.', [{ field: 'expires_at', message }])
  }
  return issueKey(context, owner, { ...input, expires_at: expiresAt?.toISOString() })
}

/** The answer is the only place where the key itself ever stands. */
export async function issueKey(
  context: Context,
  owner: KeyOwner,
  input: NewKey,
): Promise<Key & { key: string }> {
  const key = createKey()
  const row = await insertKey(context.database.system, {
    id: createId('key', context.now()),
    hash: hashKey(key),
    prefix: prefixOfKey(key),
    name: input.name,
    product_id: owner.productId,
    tenant_id: owner.tenantId,
    scopes: input.scopes,
    expires_at: input.expires_at === undefined ? null : new Date(input.expires_at),
  })
  return { ...presentKey(row), key }
}

export async function getKeys(
  context: Context,
  owner: KeyOwner,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Key>> {
  const after = decodeCursor(page.cursor)
  const rows = await listKeys(context.database.system, owner, {
    ...(after !== undefined && { after }),
    limit: page.limit + 1,
  })
  return toPage(rows, page.limit, presentKey)
}

/** @throws PipeError 404 */
export async function deleteKey(context: Context, owner: KeyOwner, keyId: string): Promise<void> {
  const revoked = await revokeKey(context.database.system, owner, keyId, context.now())
  forgetKeys(context.database)
  if (!revoked) throw notFound('key', keyId)
}

/** Makes the platform's first admin key; undefined when there is one already. */
export async function issueFirstAdminKey(context: Context): Promise<string | undefined> {
  if (context.config.adminKey !== undefined || (await hasAdminKey(context.database.system))) return undefined
  const made = await issueKey(context, { productId: null, tenantId: null }, { name: 'admin', scopes: ['*'] })
  return made.key
}

function presentKey(row: KeyRow): Key {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    product_id: row.product_id,
    tenant_id: row.tenant_id,
    scopes: row.scopes,
    expires_at: row.expires_at?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  }
}
