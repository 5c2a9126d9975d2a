import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startTestServer } from '../server/testing/server.ts'
import { seedFirstTenant } from './first-tenant.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const pages = ['README.md', 'README.es.md', ...(await listGuides())]
const runComment = '<!-- run -->'
const problem = /urn:pipecore:problem:/

test('only bash blocks directly under a run comment are run', () => {
  const page = [
    'Text\n\n<!-- run -->\n```bash\ncurl a\ncurl b\n```\n',
    '```bash\nnot this\n```\n\n<!-- run -->\nText between\n```bash\nnor this\n```\n',
    '<!-- run -->\n```json\n{}\n```\n<!-- run -->\n\n```bash\ncurl c\n```\n',
  ].join('\n')
  assert.deepEqual(findBlocks(page), [
    { line: 5, code: 'curl a\ncurl b\n' },
    { line: 26, code: 'curl c\n' },
  ])
})

test('a failing command and an answer with a problem are noticed', async () => {
  assert.notEqual((await runBlocks([{ line: 1, code: 'false | cat\necho on' }], {})).exitCode, 0)
  assert.match((await runBlocks([{ line: 1, code: 'echo urn:pipecore:problem:x' }], {})).output, problem)
})

for (const page of pages) {
  const text = await readFile(root + page, 'utf8').catch(() => '')
  if (!text.includes(runComment)) continue
  test(`the commands of ${page} work on what npm start leaves`, async (t) => {
    const blocks = findBlocks(text)
    assert.equal(blocks.length, text.split(runComment).length - 1, 'a run comment has no bash block under it')
    const { server, sandbox, adminKey } = await startTestServer(t)
    await seedFirstTenant(server)
    const { exitCode, output } = await runBlocks(blocks, {
      PIPECORE_URL: server.url,
      PIPECORE_API_KEY: adminKey,
    })
    await sandbox.close()
    assert.equal(exitCode, 0, output)
    assert.doesNotMatch(output, problem)
  })
}

async function listGuides(): Promise<string[]> {
  const names = await readdir(`${root}docs/guides`)
  return names.filter((name) => name.endsWith('.md')).map((name) => `docs/guides/${name}`)
}

interface Block {
  /** Of its first line of code. */
  line: number
  code: string
}

function findBlocks(page: string): Block[] {
  return [...page.matchAll(/^<!-- run -->\n\n?```bash\n([^]*?)^```$/gm)].map((match) => {
    const start = match.index + match[0].indexOf('```bash\n') + '```bash\n'.length
    return { line: page.slice(0, start).split('\n').length, code: match[1] ?? '' }
  })
}

/** All blocks of a page in one shell, as a reader would: what one sets, the next may use. */
async function runBlocks(
  blocks: readonly Block[],
  settings: Record<string, string>,
): Promise<{ exitCode: number | null; output: string }> {
  const script = blocks.map(({ line, code }) => `echo; echo '--- line ${line}'\n${code}`).join('\n')
  const shell = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: root,
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const [exitCode] = (await once(shell, 'close')) as [number | null]
  return { exitCode, output }
}
