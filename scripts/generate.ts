import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { writeErrors } from './reference/errors.ts'
import { writeEvents } from './reference/events.ts'
import { writeOpenApi } from './reference/openapi.ts'
import { writeProviders } from './reference/providers.ts'
import { writeSettings } from './reference/settings.ts'

const folder = new URL('../docs/reference/', import.meta.url)
const pages: Readonly<Record<string, () => string | Promise<string>>> = {
  'settings.md': writeSettings,
  'errors.md': writeErrors,
  'events.md': writeEvents,
  'providers.md': writeProviders,
  'openapi.json': writeOpenApi,
}

/** Writes docs/reference from the code; with `--check` it only says which pages are not what the code says. */
async function generate(): Promise<number> {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
  const stale: string[] = []
  for (const [name, write] of Object.entries(pages)) {
    const text = await write()
    const path = new URL(name, folder)
    if (text === (await readFile(path, 'utf8').catch(() => undefined))) continue
    stale.push(name)
    if (values.check) continue
    await mkdir(folder, { recursive: true })
    await writeFile(path, text)
  }
  const names = stale.map((name) => `docs/reference/${name}`).join(', ')
  if (values.check && stale.length > 0) {
    process.stderr.write(`Not what the code says: ${names}. Run: npm run generate\n`)
    return 1
  }
  process.stdout.write(stale.length > 0 ? `Written: ${names}\n` : 'docs/reference is what the code says.\n')
  return 0
}

process.exitCode = await generate()
