import { timeOfId } from '#core/ids.ts'
import { leafOf, noHash, rootOf, spellHeader } from './block.ts'
import type { AttemptLine, BlockLine } from './lines.ts'
import { hashText, isSigned } from './signature.ts'
import { anchorsOf, keptSinceOf, type Run } from './verification-run.ts'
import { isLater } from './verified-page.ts'

export function endBlock(run: Run): void {
  const { open, page } = run
  run.open = undefined
  if (open === undefined) return
  const { block } = open
  checkHeader(run, block)
  checkAttempts(run, open)
  run.begin ??= block.number
  run.last = block
  page.first ??= block.number
  page.last = block.number
  run.verdict.blocks += 1
  run.verdict.last = { block: block.number, hash: block.hash }
}

function checkHeader(run: Run, block: BlockLine): void {
  const told = (fault: string) => run.tell(`block ${block.number}: ${fault}`)
  const { chain, page, head } = run
  if (chain?.product_id !== block.product_id || chain.tenant_id !== block.tenant_id)
    told('it is of another chain')
  const spelled = spellHeader(block)
  const hash = hashText(spelled)
  if (hash !== block.hash) told('it was changed: its hash does not fit')
  if (block.key_id !== chain?.key_id || !isSigned(spelled, block.signature, chain.public_key))
    told('its signature does not fit')
  checkLink(run, block, told)
  const { proven } = page
  if (proven !== undefined && isLater(block.sealed_at, proven.exported_at))
    told(`it is younger than its page, which is of ${proven.exported_at}`)
  if (block.number === head.block && block.hash !== head.hash)
    told('it is not the newest block that its page names')
  if (anchorsOf(run, block.number).some((anchor) => anchor.hash !== hash))
    told('it is not the block that was noted')
}

function checkLink(run: Run, block: BlockLine, told: (fault: string) => void): void {
  const { last } = run
  if (last === undefined) {
    const before = anchorsOf(run, block.number - 1)
    if (block.number === 1 ? block.previous !== noHash : before.length === 0)
      return told(block.number === 1 ? 'it names a block before it' : 'the blocks before it are missing')
    if (before.some(({ hash }) => hash !== block.previous))
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
): void {
  const keptSince = keptSinceOf(run)
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
    else if (attempt.product_id !== block.product_id || leaf !== leafOf(attempt))
      told(`attempt ${attempt.id} was changed`)
    missing.delete(attempt.id)
    run.verdict.attempts += 1
  }
  for (const id of missing.keys()) {
    if (timeOfId(id).toISOString() < keptSince) run.verdict.expired += 1
    else told(`attempt ${id} was removed`)
  }
}
