import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { type Anchor, type Verdict, verifyAudit } from '#webhooks/outbound'

const usage = `npm run verify-audit -- [--key <public key or its id>] [--anchor <block>:<hash>]… <file>
Verifies an export of GET /webhooks/audit/export, offline. Pages may stand one after another in one file.
`

/** @returns the exit code: 0 when everything fits, 1 when not, 2 for a call that is none */
async function verifyFile(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { key: { type: 'string' }, anchor: { type: 'string', multiple: true, default: [] } },
  })
  const anchors = readAnchors(values.anchor)
  const [file] = positionals
  if (file === undefined || positionals.length > 1) throw new Error('Name one file.')
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity })
  const { chain, faults, last, outdated, ...counts } = await verifyAudit(lines, { key: values.key, anchors })
  for (const fault of faults) say(`✖ ${fault}`)
  if (chain !== undefined) say(`Chain of ${chain.tenant_id || chain.product_id}, key ${chain.key_id}`)
  say(`${counts.blocks} blocks, ${counts.attempts} attempts, ${counts.expired} more past their retention`)
  if (chain !== undefined) say(toldSince(chain))
  for (const { block } of outdated)
    say(`Block ${block} was noted, but the file begins behind it: that proves nothing. Note a newer one.`)
  if (last !== undefined) say(`Ends at ${last.block}:${last.hash}`)
  if (values.key === undefined) say('No --key was given: compare the key above with the one you noted.')
  say(faults.length === 0 ? 'Everything fits.' : 'It does not fit.')
  return faults.length === 0 ? 0 : 1
}

function toldSince({ kept_since: since, exported_at: at }: NonNullable<Verdict['chain']>): string {
  return since === undefined || at === undefined
    ? 'It does not prove when it was exported and since when attempts are kept: of an old file some may be called removed. Export it anew.'
    : `Exported at ${at}. Attempts are kept since ${since}: compare that with the retention you asked for.`
}

function readAnchors(texts: readonly string[]): Anchor[] {
  const anchors = texts.map(readAnchor)
  for (const { block, hash } of anchors) {
    if (anchors.some((other) => other.block === block && other.hash !== hash))
      throw new Error(`--anchor ${block} was given with two hashes.`)
  }
  return anchors
}

function readAnchor(text: string): Anchor {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text)
  if (match === null) throw new Error(`--anchor ${text} is no <block>:<hash>.`)
  return { block: Number(match[1]), hash: match[2] ?? '' }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  process.exitCode = await verifyFile()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
  process.exitCode = 2
}
