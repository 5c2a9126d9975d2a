import { exportVersion } from './block.ts'
import { spellCheckpoint } from './checkpoint.ts'
import type { ChainLine, CheckpointLine, EndLine } from './lines.ts'
import { nextAfter, type Page, spellPage } from './page.ts'
import { isSigned, keyIdOf } from './signature.ts'
import { type Anchor, anchorsOf, keptSinceOf, openPage, type Run } from './verification-run.ts'

/** Servers of one installation may disagree about the time by so much. */
const clocksDifferMs = 5 * 60_000

export function beginPage(run: Run, line: ChainLine): void {
  endPage(run)
  checkChain(run, line)
  run.chain ??= line
  const proven = provenPage(run, line)
  run.page = openPage(proven)
  if (proven !== undefined) placePage(run, proven)
  const since = [run.verdict.chain?.kept_since, proven?.attempts_kept_since].filter(
    (one) => one !== undefined,
  )
  run.verdict.chain = {
    product_id: line.product_id,
    tenant_id: line.tenant_id,
    key_id: keyIdOf(line.public_key),
    kept_since: since.toSorted().at(-1),
    exported_at: proven?.exported_at,
  }
}

function checkChain(run: Run, line: ChainLine): void {
  const known = run.chain
  const keyId = keyIdOf(line.public_key)
  const { key } = run.expectations
  if (key !== undefined && key !== line.public_key && key !== keyId)
    run.tell(`the key is ${keyId}, which is not the one that was noted`)
  if (line.key_id !== keyId) run.tell(`the id of the key is ${keyId}, but another is named`)
  const isOther =
    known !== undefined &&
    (known.product_id !== line.product_id ||
      known.tenant_id !== line.tenant_id ||
      known.public_key !== line.public_key)
  if (isOther) run.tell('the file has more than one chain')
}

function provenPage(run: Run, line: ChainLine): Page | undefined {
  if (line.version !== exportVersion) return undefined
  if (isSigned(spellPage(line), line.signature, line.public_key)) return line
  run.tell('what a page says of itself was changed: its signature does not fit')
  return undefined
}

function placePage(run: Run, page: Page): void {
  const told = (fault: string) => run.tell(`the page of ${page.exported_at}: ${fault}`)
  const { last, exportedAt } = run
  if (exportedAt !== undefined && isLater(exportedAt, page.exported_at))
    told(`it stands behind that of ${exportedAt}, which is younger`)
  if (last !== undefined && page.after > last.number)
    told(`it begins behind block ${page.after}, but the one before ends at block ${last.number}`)
  run.exportedAt = page.exported_at
  expectHead(run, { block: page.head_block, hash: page.head_hash })
}

export function isLater(time: string, other: string): boolean {
  return Date.parse(time) > Date.parse(other) + clocksDifferMs
}

/** The chain goes on to this block, at least. */
function expectHead(run: Run, head: Anchor): void {
  if (head.block === run.last?.number && head.hash !== run.last.hash)
    run.tell(`block ${head.block}: it is not the newest block that its page names`)
  if (head.block > run.head.block) run.head = head
}

export function takeCheckpoint(run: Run, line: CheckpointLine): void {
  const { chain, last, page } = run
  const told = (fault: string) => run.tell(`the checkpoint after block ${line.number}: ${fault}`)
  if (chain?.product_id !== line.product_id || chain.tenant_id !== line.tenant_id)
    return told('it is of another chain')
  if (!isSigned(spellCheckpoint(line), line.signature, chain.public_key))
    return told('it was changed: its signature does not fit')
  if (page.first !== null || page.checkpoint !== null) told('it is not at the beginning of its page')
  page.checkpoint = line.number
  if (line.sealed_at >= keptSinceOf(run)) told('blocks went before their attempts were past their retention')
  if (anchorsOf(run, line.number).some(({ hash }) => hash !== line.hash))
    told('it is not the block that was noted')
  run.begin ??= line.number
  if (last !== undefined && last.number >= line.number) {
    // Pages that were fetched while blocks went.
    if (last.number === line.number && last.hash !== line.hash) told('it is not the block before it')
    return
  }
  run.last = line
  run.verdict.expired = Math.max(run.verdict.expired, line.attempts - run.verdict.attempts)
}

export function takeEnd(run: Run, line: EndLine): void {
  const { proven } = run.page
  if (proven === undefined) return expectHead(run, line)
  const isAsExported =
    line.block === proven.head_block &&
    line.hash === proven.head_hash &&
    line.next_after === nextAfter(proven)
  if (!isAsExported) run.tell(`the end of the page of ${proven.exported_at} was changed`)
}

/** Whether all of a page was there that it was signed for. */
export function endPage(run: Run): void {
  const { proven, checkpoint, first, last } = run.page
  if (proven === undefined) return
  const told = (fault: string) => run.tell(`the page of ${proven.exported_at}: ${fault}`)
  if (checkpoint !== proven.checkpoint) told(`it was exported ${begun(proven.checkpoint)}`)
  if (first !== proven.first_block || last !== proven.last_block)
    told(
      `it was exported with ${spanned(proven.first_block, proven.last_block)}, but has ${spanned(first, last)}`,
    )
}

function begun(checkpoint: number | null): string {
  return checkpoint === null ? 'without a checkpoint' : `with the checkpoint after block ${checkpoint}`
}

function spanned(first: number | null, last: number | null): string {
  return first === null ? 'no block' : `blocks ${first} to ${last}`
}
