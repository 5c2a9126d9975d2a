import { existsSync } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PipeError } from '../errors.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { openDataFolder, placeCluster, prepareCluster, readSuperuserPassword } from './postgres-cluster.ts'
import { launchServer, readPostmaster, startFailed, stopPostmaster } from './postgres-server.ts'
import { acquireLock } from './process-lock.ts'

export interface EmbeddedPostgres {
  /** Superuser's URL, for setting up roles and migrations only. */
  url: string
  /** PostgreSQL's own data directory. */
  dataFolder: string
  /** Ends the server in order and waits until it is gone. */
  stop: () => Promise<void>
}

export interface EmbeddedPostgresOptions {
  /** PIPECORE_DATA; made when missing. */
  folder: string
  /** Default: a free port of the loopback, another one at each start. */
  port?: number
  /** `false` trades safety in a power cut for speed, for tests. Default true. */
  durable?: boolean
  /** Further settings of PostgreSQL, by name. */
  settings?: Record<string, string>
}

/**
 * Starts the PostgreSQL that npm installed. One process at a time has a folder; a server whose process was
 * killed is stopped and started anew.
 * @throws PipeError `database_*` or `postgres_*`, with the end of PostgreSQL's log where there is one.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  try {
    const folder = await openDataFolder(options.folder)
    const lock = await acquireLock(join(folder, 'postgres-lock'))
    if (lock.held) throw alreadyRunning(folder, lock.processId)
    try {
      const server = await startLocked(folder, lock.abandoned, options)
      let stopping: Promise<void> | undefined
      return { ...server, stop: () => (stopping ??= server.stop().then(lock.release)) }
    } catch (error) {
      await lock.release()
      throw error
    }
  } catch (error) {
    if (error instanceof PipeError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw startFailed(`The database in ${options.folder} cannot be started: ${reason}`, error)
  }
}

function alreadyRunning(folder: string, processId: number): PipeError {
  return new PipeError(
    'database_running',
    500,
    `The database in ${folder} is in use by process ${processId}. Stop that process, or set PIPECORE_DATA to another folder.`,
  )
}

async function startLocked(
  folder: string,
  abandoned: boolean,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const durable = options.durable ?? true
  const place = await placeCluster(folder)
  const { dataFolder, user } = place
  const postmaster = await readPostmaster(dataFolder)
  if (postmaster?.running) {
    if (!abandoned) throw alreadyRunning(folder, postmaster.processId)
    await stopPostmaster(postmaster.processId)
  }
  const binaries = await findPostgresBinaries(user, place.baseFolder)
  const password = await readSuperuserPassword(folder, place)
  await prepareCluster(place, { binaries, password, durable })
  const server = await launchServer({
    program: binaries.postgres,
    user,
    dataFolder,
    password,
    logPath: await openLog(folder),
    port: options.port,
    settings: { ...defaultSettings, ...(durable ? {} : fastSettings), ...options.settings },
    staleProcessId: postmaster?.processId,
  })
  return { ...server, dataFolder }
}

const defaultSettings: Readonly<Record<string, string>> = {
  max_connections: '200',
  max_locks_per_transaction: '256',
  shared_buffers: '128MB',
  max_wal_size: '2GB',
  autovacuum_naptime: '10s',
  timezone: 'UTC',
  ...(process.platform === 'linux' && { recovery_init_sync_method: 'syncfs' }),
}

const fastSettings: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
}

const maxLogBytes = 5 * 1024 * 1024

async function openLog(folder: string): Promise<string> {
  const path = join(folder, 'postgres.log')
  if (existsSync(path) && (await stat(path)).size > maxLogBytes) await rename(path, `${path}.old`)
  return path
}
