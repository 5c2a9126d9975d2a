import type { Context } from '#core/context.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import { type Caller, requireProduct, scopeFor } from '#tenants'
import { exportVersion } from './block.ts'
import { openAuditKey } from './keys.ts'
import {
  type ChainRow,
  findChains,
  listBlocks,
  listOfChain,
  readKeptSince,
  type SealableAttempt,
  type StoredBlock,
} from './queries.ts'
import type { ChainHead, ChainQuery, ExportQuery } from './schema.ts'

type ChainName = Pick<ChainRow, 'product_id' | 'tenant_id'>

const mostBlocks = 200
const mostAttempts = 2_000
/** More than a block ever has: what was put into its span shows, without bound it need not. */
const mostAttemptsFound = 10_000

/** @throws PipeError 404 when this caller may not know of the tenant or product */
export async function getChainHead(context: Context, caller: Caller, query: ChainQuery): Promise<ChainHead> {
  const name = await chainFor(context, caller, query)
  const key = await context.database.asSystem((db) => openAuditKey(context, db, name.product_id))
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
  const head = await getChainHead(context, caller, query)
  const name = { product_id: head.product_id, tenant_id: head.tenant_id ?? '' }
  const found = await listBlocks(system, name, { after: query.after, limit: mostBlocks })
  const blocks = fitting(found)
  const span = { after: blocks[0]?.after_place ?? 0, until: blocks.at(-1)?.last_place ?? 0 }
  const attempts = await listOfChain(system, name, { ...span, limit: mostAttemptsFound })
  const last = blocks.at(-1)?.number ?? query.after
  const lines = [
    {
      kind: 'chain',
      version: exportVersion,
      ...name,
      key_id: head.key_id,
      public_key: head.public_key,
      attempts_kept_since: (await readKeptSince(system, name.tenant_id)).toISOString(),
    },
    ...linesOf(blocks, attempts),
    {
      kind: 'end',
      next_after: blocks.length > 0 && last < head.block ? last : null,
      block: head.block,
      hash: head.hash,
    },
  ]
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('')
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

function linesOf(blocks: readonly StoredBlock[], attempts: readonly SealableAttempt[]): object[] {
  let rest = attempts
  return blocks.flatMap((block, index) => {
    const isLast = index === blocks.length - 1
    const end = isLast ? -1 : rest.findIndex(({ place }) => place > block.last_place)
    const own = end === -1 ? rest : rest.slice(0, end)
    rest = end === -1 ? [] : rest.slice(end)
    return [{ kind: 'block', ...block }, ...own.map((attempt) => ({ kind: 'attempt', ...attempt }))]
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
