import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { firstIdOf } from '#core/ids.ts'
import { exportVersion, leafOf, noHash, rootOf, spellHeader } from './block.ts'
import { spellCheckpoint } from './checkpoint.ts'
import { nextAfter, type Page, spellPage } from './page.ts'
import { hashText, makeAuditKey, signText } from './signature.ts'
import type { Anchor } from './verification-run.ts'
import { verifyAudit } from './verification.ts'

const name = { product_id: 'product_a', tenant_id: 'tenant_a' }
const { id: keyId, publicKey, privateKey } = makeAuditKey()
const key = { key_id: keyId, public_key: publicKey }

interface TestBlock {
  number: number
  last_place: number
  hash: string
  sealed_at: string
  line: object
  attempt: object
}

/** A block for each of the first days of February, an attempt in each. */
const chain: readonly TestBlock[] = Array.from({ length: 10 }).reduce<TestBlock[]>(
  (blocks, _, index) => [...blocks, makeBlock(index + 1, blocks.at(-1)?.hash ?? noHash)],
  [],
)

function february(day: number): string {
  return new Date(Date.UTC(2026, 1, day)).toISOString()
}

function makeBlock(number: number, previous: string): TestBlock {
  const attempt = {
    id: firstIdOf('att', new Date(february(number))),
    place: number,
    delivery_id: `dlv_${number}`,
    event_id: `evt_${number}`,
    endpoint_id: 'end_1',
    tenant_id: name.tenant_id,
    attempt: 1,
    outcome: 'delivered',
    status: 200,
    error: null,
    response: '',
    duration_ms: 3,
    next_attempt_at: null,
    attempted_at: february(number),
    number,
  }
  const leaves = leafOf(attempt)
  const header = {
    ...name,
    number,
    after_place: number - 1,
    last_place: number,
    attempts: 1,
    root: rootOf(leaves),
    previous,
    sealed_at: february(number),
  }
  const spelled = spellHeader(header)
  const hash = hashText(spelled)
  const signature = signText(spelled, privateKey)
  const line = { kind: 'block', ...header, hash, key_id: keyId, signature, leaves }
  return { ...header, hash, line, attempt: { ...attempt, product_id: name.product_id } }
}

interface ExportedOn {
  day: number
  /** Attempts of earlier days are gone, and blocks of a day before. */
  keptFrom?: number
  after?: number
  /** The newest block there was. */
  until?: number
  /** What a forger with the key says instead. */
  said?: Partial<Page>
}

/** The lines of a page as the server makes them. */
function exportPage({ day, keptFrom = 0, after = 0, until = chain.length, said }: ExportedOn): string[] {
  const begin = Math.max(0, keptFrom - 2)
  const blocks = chain.slice(Math.max(after, begin), until)
  const gone = chain[begin - 1]
  const head = chain[until - 1]
  const page: Page = {
    ...name,
    attempts_kept_since: february(keptFrom),
    exported_at: february(day),
    after,
    checkpoint: gone !== undefined && after <= begin ? begin : null,
    first_block: blocks[0]?.number ?? null,
    last_block: blocks.at(-1)?.number ?? null,
    head_block: until,
    head_hash: head?.hash ?? noHash,
    ...said,
  }
  const signature = signText(spellPage(page), privateKey)
  const lines = [
    { kind: 'chain', version: exportVersion, ...page, ...key, signature },
    ...(page.checkpoint === null || gone === undefined ? [] : [checkpointAfter(gone)]),
    ...blocks.flatMap((block) => [
      block.line,
      ...(block.number < keptFrom ? [] : [{ kind: 'attempt', ...block.attempt }]),
    ]),
    { kind: 'end', next_after: nextAfter(page), block: page.head_block, hash: page.head_hash },
  ]
  return lines.map((line) => JSON.stringify(line))
}

function checkpointAfter({ number, last_place, hash, sealed_at }: TestBlock): object {
  const checkpoint = { ...name, number, last_place, hash, sealed_at, attempts: number }
  return { kind: 'checkpoint', ...checkpoint, signature: signText(spellCheckpoint(checkpoint), privateKey) }
}

async function verify(lines: readonly string[], anchors: readonly Anchor[] = []) {
  async function* given() {
    yield* lines
  }
  return verifyAudit(given(), { anchors })
}

function anchorAt(block: number, hash = chain[block - 1]?.hash ?? noHash): Anchor {
  return { block, hash }
}

async function faultsOf(lines: readonly string[], anchors: readonly Anchor[] = []): Promise<string> {
  return (await verify(lines, anchors)).faults.join('\n')
}

/** Where a block and its attempt stand. */
function at(lines: readonly string[], number: number): number {
  return lines.findIndex((line) => line.startsWith(`{"kind":"block"`) && line.includes(`"number":${number},`))
}

function edited(line: string | undefined, change: object): string {
  return JSON.stringify({ ...(JSON.parse(line ?? '') as object), ...change })
}

test('pages fit as they were exported, fetched at once or while blocks went', async () => {
  const verdict = await verify([...exportPage({ day: 13, until: 5 }), ...exportPage({ day: 14, after: 5 })])
  assert.deepEqual([verdict.faults, verdict.blocks, verdict.attempts], [[], 10, 10])
  const earlier = exportPage({ day: 13, until: 4 })
  const later = await verify([...earlier, ...exportPage({ day: 60, keptFrom: 10 })])
  assert.deepEqual([later.faults, later.blocks, later.expired], [[], 6, 5])
  assert.deepEqual(
    [later.chain?.kept_since, later.chain?.exported_at],
    [february(10), february(60)],
    'the latest time of all pages is told',
  )
  const behind = await verify([
    ...exportPage({ day: 60, keptFrom: 10, until: 9 }),
    ...exportPage({ day: 61, after: 9 }),
  ])
  assert.deepEqual([behind.faults, behind.chain?.kept_since], [[], february(10)])
})

test('names attempts taken out behind a page of later, that has the right to miss them', async () => {
  const lines = exportPage({ day: 13 })
  const [late] = exportPage({ day: 60, keptFrom: 20, after: 10 })
  const place = at(lines, 6)
  const [own = ''] = lines
  const forged = [...lines.slice(0, place), late ?? '', lines[place] ?? '', own, ...lines.slice(place + 2)]
  const faults = await faultsOf(forged)
  assert.match(faults, /it was exported with blocks 1 to 10, but has blocks 1 to 5$/m)
  assert.match(faults, /it stands behind that of \S+, which is younger$/m)
})

test('names blocks cut out with a checkpoint of later', async () => {
  const lines = exportPage({ day: 13 })
  const page = exportPage({ day: 60, keptFrom: 10 })
  const checkpoint = page[1] ?? ''
  const cut = [...lines.slice(0, at(lines, 5)), checkpoint, ...lines.slice(at(lines, 9))]
  assert.match(await faultsOf(cut), /^the checkpoint after block 8: it is not at the beginning of its page$/m)
  const withPage = [...lines.slice(0, at(lines, 5)), ...page]
  assert.match(await faultsOf(withPage), /it was exported with blocks 1 to 10, but has blocks 1 to 4$/m)
  const without = page.filter((line) => line !== checkpoint)
  assert.match(await faultsOf(without), /it was exported with the checkpoint after block 8$/m)
})

test('names a tail that was cut off with its end mended', async () => {
  const lines = exportPage({ day: 13 })
  const mended = edited(lines.at(-1), { block: 9, hash: chain[8]?.hash })
  const faults = await faultsOf([...lines.slice(0, at(lines, 10)), mended])
  assert.match(faults, /it was exported with blocks 1 to 10, but has blocks 1 to 9$/m)
  assert.match(faults, /^the end of the page of \S+ was changed$/m)
  assert.match(faults, /^it ends at block 9, but the chain goes on to block 10$/m)
})

test('names what a page says of itself that was changed', async () => {
  const [line, ...rest] = exportPage({ day: 13 })
  const changes = [
    { attempts_kept_since: february(12) },
    { exported_at: february(14) },
    { after: 1 },
    { checkpoint: 1 },
    { first_block: 2 },
    { last_block: 9 },
    { head_block: 9 },
    { head_hash: chain[8]?.hash },
  ]
  for (const change of changes)
    assert.match(await faultsOf([edited(line, change), ...rest]), /^what a page says of itself was changed/)
})

test('names pages that were left out, or that are older than what stands in them', async () => {
  const empty = exportPage({ day: 14, after: 10 })
  assert.match(
    await faultsOf([...exportPage({ day: 13, until: 4 }), ...empty]),
    /it begins behind block 10, but the one before ends at block 4$/m,
  )
  assert.match(await faultsOf(exportPage({ day: 9 })), /^block 10: it is younger than its page/)
})

test('names a newest block that is another than the one of the chain', async () => {
  const said = { head_hash: 'another' }
  const inside = await faultsOf(exportPage({ day: 13, said }))
  assert.equal(inside, 'block 10: it is not the newest block that its page names')
  const behind = await faultsOf([...exportPage({ day: 13 }), ...exportPage({ day: 14, after: 10, said })])
  assert.match(behind, /^block 10: it is not the newest block that its page names/)
})

async function readVersion1(): Promise<string[]> {
  const file = new URL('export-of-version-1.jsonl', import.meta.url)
  return (await readFile(file, 'utf8')).split('\n')
}

test('an export from before requests were recorded still verifies, and still tells a change', async () => {
  const lines = await readVersion1()
  const verdict = await verify(lines)
  assert.deepEqual([verdict.faults, verdict.attempts], [[], 2])
  const { faults } = await verify(lines.map((line) => line.replace('"status":500', '"status":200')))
  assert.match(faults[0] ?? 'no fault', /^block 1: attempt att_\w+ was changed$/)
  const added = await verify(
    lines.map((line) => line.replace('"status":500', '"status":500,"body_sha256":"00"')),
  )
  assert.match(added.faults[0] ?? 'no fault', /^block 1: attempt att_\w+ was changed$/)
})

test('holds every hash that was noted against the file, or names it', async () => {
  const pages = [...exportPage({ day: 13, until: 4 }), ...exportPage({ day: 60, keptFrom: 10 })]
  const passed = /^block 6 was noted, but the file passes over it$/
  assert.match(await faultsOf(pages, [anchorAt(6, 'another'), anchorAt(9)]), passed)
  const twice = [anchorAt(9), anchorAt(9, 'another')]
  assert.equal(await faultsOf(pages, twice), 'block 9: it is not the block that was noted')
  const late = exportPage({ day: 60, keptFrom: 10 })
  assert.match(await faultsOf(late, [anchorAt(6)]), /^it begins behind every block that was noted/)
  const { faults, outdated } = await verify(late, [anchorAt(6), anchorAt(8)])
  assert.deepEqual([faults, outdated], [[], [anchorAt(6)]])
  const bare = await faultsOf(exportPage({ day: 60, keptFrom: 12 }), [anchorAt(6)])
  assert.match(bare, /^it begins behind every block that was noted/)
  const behind = exportPage({ day: 13, after: 4 })
  assert.equal(await faultsOf(behind, [anchorAt(4)]), '')
  const apart = [anchorAt(4), anchorAt(4, 'another')]
  assert.equal(await faultsOf(behind, apart), 'block 5: it does not follow the block that was noted')
})

test('names what stands in a line beside what is proven', async () => {
  const lines = exportPage({ day: 13 })
  const place = at(lines, 6)
  const withLine = (index: number, change: object) => lines.with(index, edited(lines[index], change))
  for (const index of [0, place, place + 1, lines.length - 1])
    assert.match(
      await faultsOf(withLine(index, { answered_body: 'refunded' })),
      /^line \d+ is none of an export/,
    )
  const elsewhere = await faultsOf(withLine(place + 1, { product_id: 'product_b' }))
  assert.match(elsewhere, /^block 6: attempt att_\w+ was changed$/)
  assert.match(
    await faultsOf(withLine(place, { key_id: 'another' })),
    /^block 6: its signature does not fit$/,
  )
  assert.match(
    await faultsOf(withLine(0, { key_id: 'another' })),
    /^the id of the key is \w+, but another is named/,
  )
})

test('compares the hash that an export of version 1 ends with', async () => {
  const lines = await readVersion1()
  const changed = lines.map((line) => line.replace(/("kind":"end".*"hash":")\w+/, '$1another'))
  const { faults } = await verify(changed)
  assert.deepEqual(faults, ['block 1: it is not the newest block that its page names'])
})

test('tells the first faults only', async () => {
  const { faults } = await verify(Array.from({ length: 200 }, () => 'no line'))
  assert.equal(faults.length, 50)
})

test('believes no file of before pages were signed that attempts are past their retention', async () => {
  const [line = '', ...rest] = exportPage({ day: 60, keptFrom: 3 })
  const { kind, attempts_kept_since } = JSON.parse(line) as Record<string, unknown>
  const unsigned = JSON.stringify({ kind, version: 2, ...name, ...key, attempts_kept_since })
  const { chain: told, faults } = await verify([unsigned, ...rest])
  assert.deepEqual([told?.kept_since, told?.exported_at], [undefined, undefined])
  assert.match(faults.join('\n'), /^block 2: attempt att_\w+ was removed$/m)
})
