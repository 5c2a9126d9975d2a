import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { type BlockHeader, noHash, spellHeader } from './block.ts'
import { openAuditKey } from './keys.ts'
import {
  type BlockRow,
  type ChainName,
  type ChainRow,
  findChains,
  insertBlocks,
  insertLeaves,
  type Leaves,
  lockHorizon,
  noteNextPlace,
  readLastPlace,
  saveChains,
  saveSealedPlace,
} from './queries.ts'
import { type AuditKey, hashText, signText } from './signature.ts'

const attemptsPerPiece = 2_000

/**
 * Puts all attempts into blocks that can be: those up to a place below which no transaction is open any more. What
 * commits late waits for the next time.
 * @returns how many
 */
export async function sealAttempts(context: Context, signal: AbortSignal): Promise<number> {
  const { database } = context
  // Two statements, in this order: the id has to be younger than all who drew the place.
  await noteNextPlace(database.system, await readLastPlace(database.system))
  for (let sealed = 0; ;) {
    signal.throwIfAborted()
    const piece = await database.asSystem((db) => sealPiece(context, db))
    sealed += piece.attempts
    if (piece.isLast) return sealed
  }
}

async function sealPiece(
  context: Context,
  db: Kysely<Tables>,
): Promise<{ attempts: number; isLast: boolean }> {
  const horizon = await lockHorizon(db)
  const isOpen = horizon?.is_final === true && horizon.sealed_place < horizon.next_place
  if (!isOpen) return { attempts: 0, isLast: true }
  const { sealed_place: after, next_place: until } = horizon
  const now = context.now()
  const leaves = await insertLeaves(db, { after, until, limit: attemptsPerPiece }, now)
  await storeBlocks(context, db, leaves, now)
  const attempts = leaves.reduce((sum, ofChain) => sum + ofChain.attempts, 0)
  const isLast = attempts < attemptsPerPiece
  const lastPlace = Math.max(...leaves.map(({ last_place: place }) => place))
  await saveSealedPlace(db, isLast ? until : lastPlace)
  return { attempts, isLast }
}

async function storeBlocks(
  context: Context,
  db: Kysely<Tables>,
  leaves: readonly Leaves[],
  now: Date,
): Promise<void> {
  if (leaves.length === 0) return
  const known = new Map((await findChains(db, leaves)).map((chain) => [nameOf(chain), chain]))
  const keys = new Map<string, AuditKey>()
  const sealed: SealedBlock[] = []
  for (const ofChain of leaves) {
    const chain = known.get(nameOf(ofChain)) ?? emptyChain(ofChain)
    const key = keys.get(chain.product_id) ?? (await openAuditKey(context, db, chain.product_id))
    keys.set(chain.product_id, key)
    sealed.push(sealBlock(chain, ofChain, key, now))
  }
  await insertBlocks(
    db,
    sealed.map(({ block }) => block),
  )
  await saveChains(
    db,
    sealed.map(({ chain }) => chain),
  )
}

function nameOf({ product_id: productId, tenant_id: tenantId }: ChainName): string {
  return `${productId}/${tenantId}`
}

function emptyChain({ product_id, tenant_id }: ChainName): ChainRow {
  return {
    product_id,
    tenant_id,
    last_number: 0,
    last_hash: noHash,
    last_place: 0,
    has_news: false,
    announced_event_id: null,
  }
}

interface SealedBlock {
  block: BlockRow
  chain: ChainRow
}

function sealBlock(chain: ChainRow, leaves: Leaves, key: AuditKey, now: Date): SealedBlock {
  const header: BlockHeader = {
    product_id: chain.product_id,
    tenant_id: chain.tenant_id,
    number: leaves.number,
    after_place: chain.last_place,
    last_place: leaves.last_place,
    attempts: leaves.attempts,
    root: leaves.root,
    previous: chain.last_hash,
    sealed_at: now.toISOString(),
  }
  const spelled = spellHeader(header)
  const hash = hashText(spelled)
  const signature = signText(spelled, key.privateKey)
  return {
    block: { ...header, sealed_at: now, hash, key_id: key.id, signature },
    chain: {
      ...chain,
      last_number: header.number,
      last_hash: hash,
      last_place: header.last_place,
      has_news: chain.has_news || leaves.is_news,
    },
  }
}
