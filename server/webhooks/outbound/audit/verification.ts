import { z } from 'zod'
import { timeOfId } from '#core/ids.ts'
import { exportVersion, hashText, isSigned, keyIdOf, leafOf, noHash, rootOf, spellHeader } from './block.ts'

const count = z.number().int().min(0)
const Line = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('chain'),
    version: z.int().min(1).max(exportVersion),
    product_id: z.string(),
    tenant_id: z.string(),
    public_key: z.string(),
    attempts_kept_since: z.iso.datetime(),
  }),
  z.looseObject({
    kind: z.literal('block'),
    product_id: z.string(),
    tenant_id: z.string(),
    number: count,
    after_place: count,
    last_place: count,
    attempts: count,
    root: z.string(),
    previous: z.string(),
    sealed_at: z.string(),
    hash: z.string(),
    signature: z.string(),
    leaves: z.string().nullable(),
  }),
  z.looseObject({ kind: z.literal('attempt'), id: z.string(), place: count }),
  z.looseObject({ kind: z.literal('end'), next_after: count.nullable(), block: count }),
])
type ChainLine = Extract<z.infer<typeof Line>, { kind: 'chain' }>
type BlockLine = Extract<z.infer<typeof Line>, { kind: 'block' }>
type AttemptLine = Extract<z.infer<typeof Line>, { kind: 'attempt' }>

/** A block's hash that was noted at its time. */
export interface Anchor {
  block: number
  hash: string
}

export interface Expectations {
  /** Public key or its id, as it was noted. */
  key?: string | undefined
  anchors: readonly Anchor[]
}

export interface Verdict {
  /** Nothing proves `kept_since`: compare it with the tenant's retention. */
  chain: { product_id: string; tenant_id: string; key_id: string; kept_since: string } | undefined
  blocks: number
  attempts: number
  /** Past their retention: their hashes are in the chain, they themselves are gone. */
  expired: number
  last: Anchor | undefined
  /** The first ones, in the order of the chain. */
  faults: string[]
}

const mostFaults = 50

/** Reads an export, or several one after another, and says what does not fit; needs no server and no database. */
export async function verifyAudit(
  lines: AsyncIterable<string>,
  expectations: Expectations,
): Promise<Verdict> {
  const run = startRun(expectations)
  let place = 0
  for await (const text of lines) {
    place += 1
    if (text.trim() === '') continue
    const line = readLine(text)
    if (line === undefined) run.tell(`line ${place} is none of an export`)
    else take(run, line)
  }
  endBlock(run)
  endRun(run)
  return { ...run.verdict, faults: run.faults.slice(0, mostFaults) }
}

interface Run {
  expectations: Expectations
  verdict: Omit<Verdict, 'faults'>
  faults: string[]
  chain: ChainLine | undefined
  open: { block: BlockLine; attempts: AttemptLine[] } | undefined
  last: BlockLine | undefined
  promised: number
  /** The last line was an end. */
  isClosed: boolean
  tell(fault: string): void
}

function startRun(expectations: Expectations): Run {
  const faults: string[] = []
  return {
    expectations,
    verdict: { chain: undefined, blocks: 0, attempts: 0, expired: 0, last: undefined },
    faults,
    chain: undefined,
    open: undefined,
    last: undefined,
    promised: 0,
    isClosed: false,
    tell: (fault) => void faults.push(fault),
  }
}

function readLine(text: string): z.infer<typeof Line> | undefined {
  try {
    return Line.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function take(run: Run, line: z.infer<typeof Line>): void {
  run.isClosed = line.kind === 'end'
  if (line.kind === 'attempt') {
    if (run.open === undefined) run.tell(`attempt ${line.id} is in no block`)
    else run.open.attempts.push(line)
    return
  }
  endBlock(run)
  if (line.kind === 'chain') beginChain(run, line)
  if (line.kind === 'block') run.open = { block: line, attempts: [] }
  if (line.kind === 'end') run.promised = Math.max(run.promised, line.block)
}

function beginChain(run: Run, line: ChainLine): void {
  const known = run.chain
  const keyId = keyIdOf(line.public_key)
  const { key } = run.expectations
  if (key !== undefined && key !== line.public_key && key !== keyId)
    run.tell(`the key is ${keyId}, which is not the one that was noted`)
  const isOther =
    known !== undefined &&
    (known.product_id !== line.product_id ||
      known.tenant_id !== line.tenant_id ||
      known.public_key !== line.public_key)
  if (isOther) run.tell('the file has more than one chain')
  run.chain ??= line
  run.verdict.chain ??= {
    product_id: line.product_id,
    tenant_id: line.tenant_id,
    key_id: keyId,
    kept_since: line.attempts_kept_since,
  }
}

function endBlock(run: Run): void {
  const { open, chain } = run
  run.open = undefined
  if (open === undefined) return
  const { block } = open
  checkHeader(run, block)
  checkAttempts(run, open, chain?.attempts_kept_since ?? '')
  run.last = block
  run.verdict.blocks += 1
  run.verdict.last = { block: block.number, hash: block.hash }
}

function checkHeader(run: Run, block: BlockLine): void {
  const told = (fault: string) => run.tell(`block ${block.number}: ${fault}`)
  const { chain } = run
  if (chain?.product_id !== block.product_id || chain.tenant_id !== block.tenant_id)
    told('it is of another chain')
  const hash = hashText(spellHeader(block))
  if (hash !== block.hash) told('it was changed: its hash does not fit')
  if (!isSigned(block, block.signature, chain?.public_key ?? '')) told('its signature does not fit')
  checkLink(run, block, told)
  const anchor = run.expectations.anchors.find((one) => one.block === block.number)
  if (anchor !== undefined && anchor.hash !== hash) told('it is not the block that was noted')
}

function checkLink(run: Run, block: BlockLine, told: (fault: string) => void): void {
  const { last } = run
  const before = run.expectations.anchors.find((anchor) => anchor.block === block.number - 1)
  if (last === undefined) {
    if (block.number === 1 ? block.previous !== noHash : before === undefined)
      return told(block.number === 1 ? 'it names a block before it' : 'the blocks before it are missing')
    if (before !== undefined && before.hash !== block.previous)
      told('it does not follow the block that was noted')
    return
  }
  if (block.number !== last.number + 1) told(`it follows block ${last.number}: blocks are missing or doubled`)
  else if (block.previous !== last.hash) told(`it does not follow block ${last.number}`)
  if (block.after_place !== last.last_place) told('attempts are missing before it')
}

function checkAttempts(
  run: Run,
  { block, attempts }: { block: BlockLine; attempts: readonly AttemptLine[] },
  keptSince: string,
): void {
  const told = (fault: string) => run.tell(`block ${block.number}: ${fault}`)
  if (block.leaves === null) {
    if (block.sealed_at >= keptSince) told('the hashes of its attempts were removed')
    for (const { id } of attempts) told(`attempt ${id} can not be checked`)
    run.verdict.expired += block.attempts
    return
  }
  const leaves = block.leaves.split('\n')
  if (rootOf(block.leaves) !== block.root || leaves.length !== block.attempts)
    told('the hashes of its attempts were changed')
  const missing = new Map(leaves.map((leaf) => [leaf.split(' ')[0] ?? '', leaf]))
  for (const attempt of attempts) {
    const leaf = missing.get(attempt.id)
    if (leaf === undefined) told(`attempt ${attempt.id} was inserted`)
    else if (leaf !== leafOf(attempt as AttemptLine & Parameters<typeof leafOf>[0]))
      told(`attempt ${attempt.id} was changed`)
    missing.delete(attempt.id)
    run.verdict.attempts += 1
  }
  for (const id of missing.keys()) {
    if (timeOfId(id).toISOString() < keptSince) run.verdict.expired += 1
    else told(`attempt ${id} was removed`)
  }
}

function endRun(run: Run): void {
  const { last, promised } = run
  if (run.chain === undefined) return run.tell('it is no export: it has no chain')
  if (!run.isClosed) run.tell('its last line is no end: it was cut')
  const end = last?.number ?? 0
  if (promised > end) run.tell(`it ends at block ${end}, but the chain goes on to block ${promised}`)
  for (const anchor of run.expectations.anchors)
    if (anchor.block > end)
      run.tell(`it ends at block ${end}, but block ${anchor.block} was noted: its tail is missing`)
}
