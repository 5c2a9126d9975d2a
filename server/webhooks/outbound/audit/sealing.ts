import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import {
  type AuditKey,
  type BlockHeader,
  hashText,
  leafOf,
  noHash,
  rootOf,
  signHeader,
  spellHeader,
} from './block.ts'
import { openAuditKey } from './keys.ts'
import {
  type BlockRow,
  type ChainRow,
  findChains,
  insertBlocks,
  type LeavesRow,
  listSealable,
  lockHorizon,
  noteNextPlace,
  readLastPlace,
  saveChains,
  saveSealedPlace,
  type SealableAttempt,
} from './queries.ts'

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
  const attempts = await listSealable(db, { after, until, limit: attemptsPerPiece })
  const isLast = attempts.length < attemptsPerPiece
  await storeBlocks(context, db, attempts)
  await saveSealedPlace(db, isLast ? until : (attempts.at(-1)?.place ?? until))
  return { attempts: attempts.length, isLast }
}

async function storeBlocks(
  context: Context,
  db: Kysely<Tables>,
  attempts: readonly SealableAttempt[],
): Promise<void> {
  if (attempts.length === 0) return
  const groups = [...Map.groupBy(attempts, nameOf).values()]
  const known = new Map((await findChains(db, groups.map(firstOf))).map((chain) => [nameOf(chain), chain]))
  const keys = new Map<string, AuditKey>()
  const sealed: SealedBlock[] = []
  for (const group of groups) {
    const chain = known.get(nameOf(firstOf(group))) ?? emptyChain(firstOf(group))
    const key = keys.get(chain.product_id) ?? (await openAuditKey(context, db, chain.product_id))
    keys.set(chain.product_id, key)
    sealed.push(sealBlock(chain, group, key, context.now()))
  }
  await insertBlocks(
    db,
    sealed.map(({ block }) => block),
    sealed.map(({ leaves }) => leaves),
  )
  await saveChains(
    db,
    sealed.map(({ chain }) => chain),
  )
}

type ChainName = Pick<ChainRow, 'product_id' | 'tenant_id'>

function nameOf({ product_id: productId, tenant_id: tenantId }: ChainName): string {
  return `${productId}/${tenantId}`
}

function firstOf(group: readonly SealableAttempt[]): SealableAttempt {
  const [first] = group
  if (first === undefined) throw new Error('A block has attempts.')
  return first
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
  leaves: LeavesRow
  chain: ChainRow
}

function sealBlock(
  chain: ChainRow,
  attempts: readonly SealableAttempt[],
  key: AuditKey,
  now: Date,
): SealedBlock {
  const name = { product_id: chain.product_id, tenant_id: chain.tenant_id, number: chain.last_number + 1 }
  const leaves = attempts.map(leafOf).join('\n')
  const header: BlockHeader = {
    ...name,
    after_place: chain.last_place,
    last_place: attempts.at(-1)?.place ?? chain.last_place,
    attempts: attempts.length,
    root: rootOf(leaves),
    previous: chain.last_hash,
    sealed_at: now.toISOString(),
  }
  const hash = hashText(spellHeader(header))
  const signature = signHeader(header, key.privateKey)
  const isNews = attempts.some((attempt) => attempt.event_id !== chain.announced_event_id)
  return {
    block: { ...header, sealed_at: now, hash, key_id: key.id, signature },
    leaves: { ...name, sealed_at: now, leaves },
    chain: {
      ...chain,
      last_number: header.number,
      last_hash: hash,
      last_place: header.last_place,
      has_news: chain.has_news || isNews,
    },
  }
}
