import type { Context } from '#core/context.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import { type Caller, requireProduct, scopeFor } from '#tenants'
import { exportVersion, idsOf } from './block.ts'
import { openAuditKey } from './keys.ts'
import { nextAfter, type Page, spellPage } from './page.ts'
import {
  type ChainName,
  findChains,
  findCheckpoint,
  listBlocks,
  listOfChain,
  readKeptSince,
  type ChainAttempt,
  type StoredBlock,
} from './queries.ts'
import type { ChainHead, ChainQuery, ExportQuery } from './schema.ts'
import { type AuditKey, signText } from './signature.ts'

const mostBlocks = 200
const mostAttempts = 2_000
/** More than a block ever has: what was put into its span shows, without bound it need not. */
const mostAttemptsFound = 10_000

/** @throws PipeError 404 when this caller may not know of the tenant or product */
export async function getChainHead(context: Context, caller: Caller, query: ChainQuery): Promise<ChainHead> {
  const name = await chainFor(context, caller, query)
  return readHead(context, name, await keyOf(context, name))
}

function keyOf(context: Context, { product_id: productId }: ChainName): Promise<AuditKey> {
  return context.database.asSystem((db) => openAuditKey(context, db, productId))
}

async function readHead(context: Context, name: ChainName, key: AuditKey): Promise<ChainHead> {
  const [chain] = await findChains(context.database.system, [name])
  return {
    product_id: name.product_id,
    tenant_id: name.tenant_id === '' ? null : name.tenant_id,
    block: chain?.last_number ?? 0,
    hash: chain?.last_hash ?? '',
    key_id: key.id,
    public_key: key.publicKey,
  }
}

/**
 * The next blocks of a chain with their attempts, as JSON Lines.
 * @throws PipeError as `getChainHead`
 */
export async function exportChain(context: Context, caller: Caller, query: ExportQuery): Promise<string> {
  const { system } = context.database
  const name = await chainFor(context, caller, query)
  const key = await keyOf(context, name)
  const head = await readHead(context, name, key)
  const found = await listBlocks(system, name, { after: query.after, limit: mostBlocks })
  // After the blocks: those that went meanwhile are left out.
  const checkpoint = await findCheckpoint(system, name)
  const begin = checkpoint?.number ?? 0
  const blocks = fitting(found.filter(({ number }) => number > begin))
  const firstCheckpoint = query.after <= begin ? checkpoint : undefined
  const page: Page = {
    ...name,
    attempts_kept_since: (await readKeptSince(system, name.tenant_id)).toISOString(),
    exported_at: context.now().toISOString(),
    after: query.after,
    checkpoint: firstCheckpoint?.number ?? null,
    first_block: blocks[0]?.number ?? null,
    last_block: blocks.at(-1)?.number ?? null,
    head_block: head.block,
    head_hash: head.hash,
  }
  const lines = [
    chainLine(page, key),
    ...(firstCheckpoint === undefined ? [] : [{ kind: 'checkpoint', ...firstCheckpoint }]),
    ...linesOf(blocks, await attemptsOf(context, name, blocks)),
    { kind: 'end', next_after: nextAfter(page), block: head.block, hash: head.hash },
  ]
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('')
}

function chainLine(page: Page, key: AuditKey): object {
  const signature = signText(spellPage(page), key.privateKey)
  return {
    kind: 'chain',
    version: exportVersion,
    ...page,
    key_id: key.id,
    public_key: key.publicKey,
    signature,
  }
}

async function attemptsOf(
  context: Context,
  name: ChainName,
  blocks: readonly StoredBlock[],
): Promise<ChainAttempt[]> {
  const known = blocks.filter(({ leaves }) => leaves !== null)
  const ids = known.flatMap(({ leaves }) => idsOf(leaves ?? '')).toSorted()
  const [first, last] = [ids[0], ids.at(-1)]
  if (first === undefined || last === undefined) return []
  const isNoted = known.every(({ event_ids: events }) => events !== null)
  return listOfChain(context.database.system, name, {
    eventIds: isNoted ? known.flatMap(({ event_ids: events }) => events ?? []) : undefined,
    ids: { first, last },
    span: {
      after: blocks[0]?.after_place ?? 0,
      until: blocks.at(-1)?.last_place ?? 0,
      limit: mostAttemptsFound,
    },
  })
}

function fitting(found: readonly StoredBlock[]): StoredBlock[] {
  let attempts = 0
  const blocks: StoredBlock[] = []
  for (const block of found) {
    attempts += block.attempts
    if (attempts > mostAttempts && blocks.length > 0) break
    blocks.push(block)
  }
  return blocks
}

function linesOf(blocks: readonly StoredBlock[], attempts: readonly ChainAttempt[]): object[] {
  let rest = attempts
  return blocks.flatMap((block, index) => {
    const isLast = index === blocks.length - 1
    const end = isLast ? -1 : rest.findIndex(({ place }) => place > block.last_place)
    const own = end === -1 ? rest : rest.slice(0, end)
    rest = end === -1 ? [] : rest.slice(end)
    const { event_ids: _, ...told } = block
    return [{ kind: 'block', ...told }, ...own.map((attempt) => ({ kind: 'attempt', ...attempt }))]
  })
}

async function chainFor(context: Context, caller: Caller, query: ChainQuery): Promise<ChainName> {
  const { tenant_id: asked, product_id: productId } = query
  const isOwn = caller.kind === 'tenant' && productId === undefined
  const tenantId = asked ?? (isOwn ? caller.tenantId : undefined)
  if (tenantId !== undefined) {
    const scope = await scopeFor(context, caller, tenantId, '')
    if (productId !== undefined && productId !== scope.productId) throw notFound('product', productId)
    return { product_id: scope.productId, tenant_id: tenantId }
  }
  if (productId !== undefined) {
    await requireProduct(context, caller, productId)
    return { product_id: productId, tenant_id: '' }
  }
  if (caller.kind === 'product') return { product_id: caller.productId, tenant_id: '' }
  throw invalidRequest('Name the chain that is meant.', [
    { field: 'tenant_id', message: 'or product_id is needed with an admin key' },
  ])
}
