import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { PipeError } from '../errors.ts'
import { systemErrorCode } from '../system-error.ts'

/** Whom PostgreSQL's programs run as. */
export interface ServerUser {
  uid: number
  gid: number
  name: string
}

/**
 * PostgreSQL refuses to run as root, so root hands it to the owner of an existing cluster, `postgres` or
 * `nobody`. `undefined` means ourselves.
 */
export async function chooseServerUser(dataFolder: string): Promise<ServerUser | undefined> {
  const owner = await stat(dataFolder).catch(() => undefined)
  const ownId = process.getuid?.()
  if (ownId !== 0) {
    if (owner === undefined || owner.uid === ownId) return undefined
    throw new PipeError(
      'database_owner_mismatch',
      500,
      `The database in ${dataFolder} belongs to the user with id ${owner.uid}. Start PipeCore as that user or as root, or set PIPECORE_DATA to another folder.`,
    )
  }
  if (owner !== undefined && owner.uid !== 0) {
    return { uid: owner.uid, gid: owner.gid, name: `with id ${owner.uid}` }
  }
  const user = (await findAccount('postgres')) ?? (await findAccount('nobody'))
  if (user) return user
  throw new PipeError(
    'database_user_missing',
    500,
    'PostgreSQL cannot run as root, and there is no user "postgres" or "nobody" to run it as. Start PipeCore as another user, or set DATABASE_URL.',
  )
}

async function findAccount(name: string): Promise<ServerUser | undefined> {
  try {
    const [uid, gid] = await Promise.all([
      runAs(undefined, 'id', ['-u', name]),
      runAs(undefined, 'id', ['-g', name]),
    ])
    return { uid: Number(uid), gid: Number(gid), name: `"${name}"` }
  } catch {
    return undefined
  }
}

/** Our own environment stays out: PGDATA, LD_LIBRARY_PATH or a locale would change what the programs do. */
export function spawnOptionsFor(user: ServerUser | undefined) {
  return {
    cwd: '/',
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    // macOS numbers "nobody" 4294967294; Node takes the same bits as a signed number.
    ...(user && { uid: user.uid | 0, gid: user.gid | 0 }),
  }
}

/** @returns what the program printed; rejects when it could not run or failed. */
export async function runAs(
  user: ServerUser | undefined,
  program: string,
  args: readonly string[],
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args, spawnOptionsFor(user))
    return stdout.trim()
  } catch (error) {
    if (user === undefined || systemErrorCode(error) !== 'EPERM') throw error
    throw new PipeError(
      'database_user_forbidden',
      500,
      `PostgreSQL cannot run as root, and this process may not start it as the user ${user.name}. Start PipeCore as another user, or set DATABASE_URL.`,
      { cause: error },
    )
  }
}

/** Asks by doing: only that knows about every parent folder, ACLs and mounts. */
export async function canEnter(user: ServerUser, folder: string): Promise<boolean> {
  return runAs(user, '/bin/sh', ['-c', 'cd -- "$0"', folder]).then(
    () => true,
    (error: unknown) => {
      if (error instanceof PipeError) throw error
      return false
    },
  )
}
