import type { AttemptLine, BlockLine, ChainLine } from './lines.ts'
import type { Page } from './page.ts'

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
  chain:
    | {
        product_id: string
        tenant_id: string
        key_id: string
        /**
         * The latest of all pages. Signed, but said by who keeps the attempts: compare it with the tenant's retention.
         */
        kept_since: string | undefined
        /** Of the last page; undefined where its file proves none. */
        exported_at: string | undefined
      }
    | undefined
  blocks: number
  attempts: number
  /** Past their retention: their hashes are in the chain, they themselves are gone. */
  expired: number
  last: Anchor | undefined
  /** Anchors of blocks before those of the file: nothing was held against them. */
  outdated: readonly Anchor[]
  /** The first ones, in the order of the chain. */
  faults: string[]
}

const mostFaults = 50

export interface Run {
  expectations: Expectations
  verdict: Omit<Verdict, 'faults' | 'outdated'>
  faults: string[]
  chain: ChainLine | undefined
  page: OpenPage
  /** Of the newest page that proves one. */
  exportedAt: string | undefined
  open: { block: BlockLine; attempts: AttemptLine[] } | undefined
  /** The first block or the one of the first checkpoint. */
  begin: number | undefined
  last: Pick<BlockLine, 'number' | 'hash' | 'last_place'> | undefined
  /** Those whose block was there. */
  held: Set<Anchor>
  /** The newest block that a page named as its chain's. */
  head: Anchor
  /** The last line was an end. */
  isClosed: boolean
  tell(fault: string): void
}

/** What a page said of itself, if that is proven, and what came so far. */
export interface OpenPage {
  proven: Page | undefined
  checkpoint: number | null
  first: number | null
  last: number | null
}

export function openPage(proven: Page | undefined): OpenPage {
  return { proven, checkpoint: null, first: null, last: null }
}

export function startRun(expectations: Expectations): Run {
  const faults: string[] = []
  return {
    expectations,
    verdict: { chain: undefined, blocks: 0, attempts: 0, expired: 0, last: undefined },
    faults,
    chain: undefined,
    page: openPage(undefined),
    exportedAt: undefined,
    open: undefined,
    begin: undefined,
    last: undefined,
    held: new Set(),
    head: { block: 0, hash: '' },
    isClosed: false,
    tell: (fault) => void (faults.length < mostFaults && faults.push(fault)),
  }
}

/** Without proof no attempt may be missing. */
export function keptSinceOf({ page }: Run): string {
  return page.proven?.attempts_kept_since ?? ''
}

/** Those of this block, which are held against it. */
export function anchorsOf(run: Run, block: number): Anchor[] {
  const anchors = run.expectations.anchors.filter((anchor) => anchor.block === block)
  for (const anchor of anchors) run.held.add(anchor)
  return anchors
}
