import { Line } from './lines.ts'
import { type Anchor, type Expectations, type Run, startRun, type Verdict } from './verification-run.ts'
import { endBlock } from './verified-block.ts'
import { beginPage, endPage, takeCheckpoint, takeEnd } from './verified-page.ts'

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
  endPage(run)
  endRun(run)
  const outdated = expectations.anchors.filter((anchor) => isOutdated(run, anchor))
  return { ...run.verdict, outdated, faults: run.faults }
}

function readLine(text: string): Line | undefined {
  try {
    return Line.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function take(run: Run, line: Line): void {
  run.isClosed = line.kind === 'end'
  if (line.kind === 'attempt') {
    if (run.open === undefined) run.tell(`attempt ${line.id} is in no block`)
    else run.open.attempts.push(line)
    return
  }
  endBlock(run)
  if (line.kind === 'chain') beginPage(run, line)
  if (line.kind === 'checkpoint') takeCheckpoint(run, line)
  if (line.kind === 'block') run.open = { block: line, attempts: [] }
  if (line.kind === 'end') takeEnd(run, line)
}

function endRun(run: Run): void {
  const { last, head } = run
  if (run.chain === undefined) return run.tell('it is no export: it has no chain')
  if (!run.isClosed) run.tell('its last line is no end: it was cut')
  const end = last?.number ?? 0
  if (head.block > end) run.tell(`it ends at block ${end}, but the chain goes on to block ${head.block}`)
  checkAnchors(run, end)
}

function checkAnchors(run: Run, end: number): void {
  const { anchors } = run.expectations
  for (const anchor of anchors) {
    const { block } = anchor
    if (block > end) run.tell(`it ends at block ${end}, but block ${block} was noted: its tail is missing`)
    else if (!run.held.has(anchor) && !isOutdated(run, anchor))
      run.tell(`block ${block} was noted, but the file passes over it`)
  }
  if (anchors.length > 0 && anchors.every((anchor) => isOutdated(run, anchor)))
    run.tell('it begins behind every block that was noted: nothing shows that it is the same chain')
}

function isOutdated({ begin, held }: Run, anchor: Anchor): boolean {
  return begin !== undefined && anchor.block < begin && !held.has(anchor)
}
