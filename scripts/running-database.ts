import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../server/core/config.ts'
import { PipeError } from '../server/core/errors.ts'
import { startEmbeddedPostgres } from '../server/core/postgres/embedded-postgres.ts'
import {
  openDataFolder,
  placeCluster,
  readSuperuserPassword,
} from '../server/core/postgres/postgres-cluster.ts'

export interface ReachedDatabase {
  /** The owner's URL. */
  url: string
  /** Ends the server if it was started for us. */
  release(): Promise<void>
}

/**
 * The database of an installation, whether its server runs or not.
 * @throws PipeError `database_missing` when there is none in PIPECORE_DATA
 */
export async function reachDatabase(config: Config): Promise<ReachedDatabase> {
  if (config.databaseUrl !== undefined) return { url: config.databaseUrl, release: async () => {} }
  if (!existsSync(join(config.dataFolder, 'postgres-password'))) {
    throw new PipeError(
      'database_missing',
      500,
      `There is no database in ${config.dataFolder}. Set PIPECORE_DATA to its folder, or DATABASE_URL.`,
    )
  }
  try {
    const embedded = await startEmbeddedPostgres({ folder: config.dataFolder })
    return { url: embedded.url, release: embedded.stop }
  } catch (error) {
    if (!(error instanceof PipeError) || error.code !== 'database_running') throw error
    return { url: await findRunningUrl(config.dataFolder), release: async () => {} }
  }
}

/** The fourth line of postmaster.pid is the port, the eighth the state. */
async function findRunningUrl(dataFolder: string): Promise<string> {
  const folder = await openDataFolder(dataFolder)
  const place = await placeCluster(folder)
  const password = await readSuperuserPassword(folder, place)
  const lines = (await readFile(join(place.dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  if (lines[7]?.trim() !== 'ready') {
    throw new PipeError(
      'database_not_ready',
      500,
      `The database in ${folder} is starting or stopping. Try again.`,
    )
  }
  return `postgres://postgres:${password}@127.0.0.1:${lines[3]}/postgres?sslmode=disable`
}
