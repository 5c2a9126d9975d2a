import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from './config.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './postgres/embedded-postgres.ts'
import { generateMasterKey, type MasterKeys, parseMasterKey } from './sealing.ts'

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

/** The text of a file that only its owner may read; made when missing. */
export async function readOrCreate(path: string, create: () => string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
  const text = create()
  await writeFile(path, `${text}\n`, { mode: 0o600, flag: 'wx' })
  return text
}
