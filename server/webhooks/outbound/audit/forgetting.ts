import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { openAuditKey } from './keys.ts'
import {
  type ChainName,
  deleteBlocks,
  type ExpiredBlock,
  findCheckpoint,
  listExpired,
  lockChain,
  saveCheckpoint,
} from './queries.ts'
import { type Checkpoint, spellCheckpoint } from './checkpoint.ts'
import { signText } from './signature.ts'

const chainsAtOnce = 200

/**
 * Takes away the blocks whose attempts are past their retention, from the beginning of each chain; a checkpoint tells
 * what the first one that stays follows.
 * @returns how many blocks
 */
export async function forgetBlocks(context: Context, signal: AbortSignal): Promise<number> {
  for (let forgotten = 0; ;) {
    const blocks = await forgetSome(context, signal)
    if (blocks === 0) return forgotten
    forgotten += blocks
  }
}

/** Some blocks of every chain that has such. */
async function forgetSome(context: Context, signal: AbortSignal): Promise<number> {
  let forgotten = 0
  for (let after: ChainName | undefined; ;) {
    const expired = await listExpired(context.database.system, after, chainsAtOnce)
    for (const last of expired) {
      signal.throwIfAborted()
      forgotten += await context.database.asSystem((db) => forgetUntil(context, db, last))
    }
    after = expired.at(-1)
    if (after === undefined) return forgotten
  }
}

async function forgetUntil(context: Context, db: Kysely<Tables>, last: ExpiredBlock): Promise<number> {
  await lockChain(db, last)
  const known = await findCheckpoint(db, last)
  const gone = await deleteBlocks(db, last)
  if (gone.blocks === 0) return 0
  const checkpoint: Checkpoint = {
    product_id: last.product_id,
    tenant_id: last.tenant_id,
    number: last.number,
    last_place: last.last_place,
    hash: last.hash,
    sealed_at: last.sealed_at.toISOString(),
    attempts: (known?.attempts ?? 0) + gone.attempts,
  }
  const key = await openAuditKey(context, db, last.product_id)
  const signature = signText(spellCheckpoint(checkpoint), key.privateKey)
  await saveCheckpoint(db, { ...checkpoint, sealed_at: last.sealed_at, signature })
  return gone.blocks
}
