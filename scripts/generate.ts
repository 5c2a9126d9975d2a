import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { writeErrors } from './reference/errors.ts'
import { writeEvents } from './reference/events.ts'
import { writeMigrationList } from './reference/migrations.ts'
import { writeOpenApi } from './reference/openapi.ts'
import { writeProviders } from './reference/providers.ts'
import { writeSettings } from './reference/settings.ts'

const root = new URL('../', import.meta.url)
const files: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/reference/settings.md': writeSettings,
  'docs/reference/errors.md': writeErrors,
  'docs/reference/events.md': writeEvents,
  'docs/reference/providers.md': writeProviders,
  'docs/reference/openapi.json': writeOpenApi,
  'server/migrations.sha256': writeMigrationList,
}

/** Writes what follows from the code; with `--check` it only says which files are not what the code says. */
async function generate(): Promise<number> {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
  const stale: string[] = []
  for (const [name, write] of Object.entries(files)) {
    const text = await write()
    const path = new URL(name, root)
    if (text === (await readFile(path, 'utf8').catch(() => undefined))) continue
    stale.push(name)
    if (values.check) continue
    await mkdir(new URL('.', path), { recursive: true })
    await writeFile(path, text)
  }
  const names = stale.join(', ')
  if (values.check && stale.length > 0) {
    process.stderr.write(`Not what the code says: ${names}. Run: npm run generate\n`)
    return 1
  }
  process.stdout.write(stale.length > 0 ? `Written: ${names}\n` : 'All of it is what the code says.\n')
  return 0
}

process.exitCode = await generate()
