import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  open,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { PipeError } from '../errors.ts'
import { openSharedFolder, type PostgresBinaries } from './postgres-binaries.ts'
import { canEnter, chooseServerUser, runAs, type ServerUser } from './postgres-user.ts'
import { systemErrorCode } from '../system-error.ts'

const clusterName = 'postgres'
const passwordName = 'postgres-password'
const draftPrefix = 'postgres.init-'

export interface ClusterPlace {
  /** Parent of `dataFolder` that `user` can enter: PIPECORE_DATA itself, or a folder in /var/lib/pipecore. */
  baseFolder: string
  /** PostgreSQL's own data directory. */
  dataFolder: string
  /** Whom the server runs as; `undefined` is ourselves. */
  user: ServerUser | undefined
}

/** @returns the folder's absolute path without symbolic links, so that two names of one folder are one. */
export async function openDataFolder(path: string): Promise<string> {
  const absolute = resolve(path)
  await mkdir(dirname(absolute), { recursive: true })
  await mkdir(absolute, { mode: 0o700 }).catch((error: unknown) => {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  })
  return realpath(absolute)
}

/**
 * Keeps the cluster in PIPECORE_DATA when the server's user can get there. Otherwise it goes to
 * /var/lib/pipecore, and the file `postgres-location` in PIPECORE_DATA says where.
 */
export async function placeCluster(folder: string): Promise<ClusterPlace> {
  const elsewhere = await readLocation(folder)
  const baseFolder = elsewhere ?? folder
  const dataFolder = join(baseFolder, clusterName)
  const user = await chooseServerUser(dataFolder)
  const place = { baseFolder, dataFolder, user }
  if (user === undefined) return place
  if (elsewhere !== undefined) {
    await mkdir(elsewhere, { recursive: true, mode: 0o700 })
    await admitUser(elsewhere, user)
    return place
  }
  if (await hasOnlyClosedThings(folder)) await admitUser(folder, user)
  if (await canEnter(user, folder)) return place
  if (existsSync(dataFolder)) throw unreachable(dataFolder, user)
  const sharedBase = await createSharedBase(folder, user)
  return { baseFolder: sharedBase, dataFolder: join(sharedBase, clusterName), user }
}

async function readLocation(folder: string): Promise<string | undefined> {
  const path = join(folder, 'postgres-location')
  return existsSync(path) ? (await readFile(path, 'utf8')).trim() : undefined
}

/** Then letting somebody pass through the folder shows them nothing. Not so in somebody's home. */
async function hasOnlyClosedThings(folder: string): Promise<boolean> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('postgres'))
  const modes = await Promise.all(names.map(async (name) => (await lstat(join(folder, name))).mode))
  return modes.every((mode) => (mode & 0o077) === 0)
}

/** Lets the server's group pass through a folder of ours that is closed to groups, without listing it. */
async function admitUser(path: string, user: ServerUser): Promise<void> {
  const { uid, mode } = await stat(path)
  if (uid !== process.getuid?.() || (mode & 0o070) !== 0) return
  await chown(path, uid, user.gid)
  await chmod(path, 0o710)
}

function unreachable(dataFolder: string, user: ServerUser): PipeError {
  return new PipeError(
    'database_folder_unreachable',
    500,
    `PostgreSQL runs as the user ${user.name}, who cannot enter ${dataFolder}. Let that user pass through the folders above it (chmod o+x), move it, or start PipeCore as its owner.`,
  )
}

async function createSharedBase(folder: string, user: ServerUser): Promise<string> {
  const sharedFolder = await openSharedFolder()
  const name = `data-${createHash('sha256').update(folder).digest('hex').slice(0, 16)}`
  for (let attempt = 1; ; attempt += 1) {
    // An earlier PIPECORE_DATA of the same path, deleted since, may have left its cluster: it is not ours.
    const path = join(sharedFolder, attempt === 1 ? name : `${name}-${attempt}`)
    try {
      await mkdir(path, { mode: 0o700 })
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') continue
      throw error
    }
    await admitUser(path, user)
    await writeWhole(join(folder, 'postgres-location'), `${path}\n`)
    return path
  }
}

/** The superuser's password, made on the first start and kept in PIPECORE_DATA for its owner only. */
export async function readSuperuserPassword(folder: string, place: ClusterPlace): Promise<string> {
  const path = join(folder, passwordName)
  if (existsSync(path)) return (await readFile(path, 'utf8')).trim()
  if (existsSync(join(place.dataFolder, 'PG_VERSION'))) {
    throw new PipeError(
      'database_password_missing',
      500,
      `${path} is gone, and without it the database in ${place.dataFolder} cannot be opened. Restore the file, or move ${place.dataFolder} away to start with an empty database.`,
    )
  }
  const password = randomBytes(24).toString('base64url')
  await writeWhole(path, `${password}\n`)
  return password
}

async function writeWhole(path: string, content: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, content, { mode: 0o600, flag: 'wx', flush: true })
  await rename(draft, path)
  await syncFolder(dirname(path))
}

export interface ClusterOptions {
  binaries: PostgresBinaries
  password: string
  durable: boolean
}

/**
 * Makes the cluster unless it is there. A start that was interrupted half-way leaves only a draft, which
 * the next one removes.
 */
export async function prepareCluster(place: ClusterPlace, options: ClusterOptions): Promise<void> {
  await removeDrafts(place.baseFolder)
  const versionPath = join(place.dataFolder, 'PG_VERSION')
  if (!existsSync(versionPath)) {
    await createCluster(place, options)
    return
  }
  const found = (await readFile(versionPath, 'utf8')).trim()
  const { majorVersion } = options.binaries
  if (found === majorVersion) return
  throw new PipeError(
    'database_version_mismatch',
    500,
    `The database in ${place.dataFolder} was made by PostgreSQL ${found}, and this PipeCore brings PostgreSQL ${majorVersion}. Dump it with the PipeCore that made it and load the dump into a new PIPECORE_DATA, or go back to that version.`,
  )
}

async function removeDrafts(baseFolder: string): Promise<void> {
  const drafts = (await readdir(baseFolder)).filter((name) => name.startsWith(draftPrefix))
  for (const draft of drafts) {
    // An initdb that outlived its parent may still be writing; what it leaves goes at the next start.
    await rm(join(baseFolder, draft), { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined)
  }
}

async function createCluster(place: ClusterPlace, options: ClusterOptions): Promise<void> {
  const { baseFolder, dataFolder, user } = place
  const draft = join(baseFolder, `${draftPrefix}${randomUUID()}`)
  const passwordFile = join(draft, 'password')
  await mkdir(draft, { mode: 0o700 })
  await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 })
  if (user) {
    await chown(passwordFile, user.uid, user.gid)
    await chown(draft, user.uid, user.gid)
  }
  try {
    await runInitdb(join(draft, clusterName), passwordFile, user, options)
    await rename(join(draft, clusterName), dataFolder)
    if (options.durable) await syncFolder(baseFolder)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

async function runInitdb(
  target: string,
  passwordFile: string,
  user: ServerUser | undefined,
  { binaries, durable }: ClusterOptions,
): Promise<void> {
  // The built-in locale sorts and maps case alike on every system, whatever locales that has installed.
  const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C', '--encoding=UTF8']
  const access = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
  const syncing = durable ? [] : ['--no-sync']
  const args = [`--pgdata=${target}`, '--no-instructions', ...locale, ...access, ...syncing]
  try {
    await runAs(user, binaries.initdb, args)
  } catch (error) {
    if (error instanceof PipeError) throw error
    throw new PipeError(
      'database_init_failed',
      500,
      `PostgreSQL could not make its database in ${target}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
}

/** Makes a new name in the folder survive a power cut. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
