import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Config } from './config.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './postgres/embedded-postgres.ts'
import { PipeError } from './errors.ts'
import { generateMasterKey, type MasterKeys, parseMasterKey } from './sealing.ts'
import { systemErrorCode } from './system-error.ts'

/** The owner's URL of the database to use, and the embedded server when there is no other. */
export async function provideDatabase(
  config: Config,
): Promise<{ ownerUrl: string; embedded: EmbeddedPostgres | undefined }> {
  if (config.databaseUrl !== undefined) return { ownerUrl: config.databaseUrl, embedded: undefined }
  const embedded = await startEmbeddedPostgres({ folder: config.dataFolder })
  return { ownerUrl: embedded.url, embedded }
}

/** The keys of the settings; with the embedded database one is made in its folder when none is set. */
export async function provideMasterKeys(config: Config): Promise<MasterKeys> {
  const text =
    config.masterKey ?? (await readOrCreate(join(config.dataFolder, 'master-key'), generateMasterKey))
  return {
    current: parseMasterKey(text),
    ...(config.previousMasterKey !== undefined && { previous: parseMasterKey(config.previousMasterKey) }),
  }
}

const shortestKey = 24

/** The text of a file that only its owner may read; made when missing, whole or not at all. */
export async function readOrCreate(path: string, create: () => string): Promise<string> {
  const known = await readKey(path)
  if (known !== undefined) return known
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${process.pid}`
  await writeFile(draft, `${create()}\n`, { mode: 0o600, flush: true })
  try {
    // Linking fails where another process was first; its key is the one that counts.
    await link(draft, path).catch((error: unknown) => {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    })
  } finally {
    await rm(draft, { force: true })
  }
  return (await readKey(path)) ?? ''
}

async function readKey(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim()
    if (text.length >= shortestKey) return text
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  throw new PipeError(
    'key_file_damaged',
    500,
    `${path} holds no key. Put the key back, or delete the file to have a new one made.`,
  )
}
