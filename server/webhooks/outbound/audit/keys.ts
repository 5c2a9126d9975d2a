import { createPrivateKey } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { openSecret, type SecretCell, sealSecret } from '#tenants'
import { findAuditKey, insertAuditKey } from './queries.ts'
import { type AuditKey, makeAuditKey } from './signature.ts'

function cellOf(productId: string): SecretCell {
  return { owner: `product:${productId}`, table: 'audit_keys', row: productId, column: 'sealed_private_key' }
}

/** What a product's blocks are signed with; made when it is first needed. */
export async function openAuditKey(
  context: Context,
  db: Kysely<Tables>,
  productId: string,
): Promise<AuditKey> {
  const known = await findAuditKey(db, productId)
  if (known === undefined) {
    await storeKey(context, db, productId)
    // Another process may have been first: its key is the one that counts.
    return openAuditKey(context, db, productId)
  }
  const der = await openSecret(context, db, cellOf(productId), known.sealed_private_key)
  const privateKey = createPrivateKey({ key: Buffer.from(der, 'base64url'), type: 'pkcs8', format: 'der' })
  return { id: known.key_id, publicKey: known.public_key, privateKey }
}

async function storeKey(context: Context, db: Kysely<Tables>, productId: string): Promise<void> {
  const { id, publicKey, privateKey } = makeAuditKey()
  const der = privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64url')
  await insertAuditKey(db, {
    product_id: productId,
    key_id: id,
    public_key: publicKey,
    sealed_private_key: await sealSecret(context, db, cellOf(productId), der),
    created_at: context.now(),
  })
}
