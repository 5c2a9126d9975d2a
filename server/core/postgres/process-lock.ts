import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { systemErrorCode } from '../system-error.ts'

export interface RunningProcess {
  /** Tells apart two processes that had the same id at different times. */
  birth: string
  /** Program and arguments, separated by spaces. */
  command: string
}

/** A zombie counts as gone: it holds no files, memory or ports. */
export async function readProcess(id: number): Promise<RunningProcess | undefined> {
  return process.platform === 'linux' ? readFromProc(id) : readFromPs(id)
}

async function readFromProc(id: number): Promise<RunningProcess | undefined> {
  try {
    const [stat, command, boot] = await Promise.all([
      readFile(`/proc/${id}/stat`, 'utf8'),
      readFile(`/proc/${id}/cmdline`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => ''),
    ])
    // proc(5): the name in parentheses may hold anything; the state follows it, the start time is 19 later.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { birth: `${boot.trim()}/${fields[19]}`, command: command.replaceAll('\0', ' ') }
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}

async function readFromPs(id: number): Promise<RunningProcess | undefined> {
  const columns = ['-ww', '-o', 'stat=', '-o', 'lstart=', '-o', 'command=', '-p', String(id)]
  const env = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }
  // ps exits with 1 when there is no such process.
  const { stdout } = await promisify(execFile)('/bin/ps', columns, { env }).catch(() => ({ stdout: '' }))
  const line = /^(\S+)\s+(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}) +(.*)$/.exec(stdout.trim())
  if (!line?.[1] || !line[2] || line[1].startsWith('Z')) return undefined
  return { birth: line[2], command: line[3] ?? '' }
}

export type LockResult =
  | {
      held: false
      /** The last holder ended without releasing it. */ abandoned: boolean
      release: () => Promise<void>
    }
  | { held: true; processId: number }

/**
 * A lock file that names the process holding it and is free again when that process is gone, however it
 * ended and whoever has its id now.
 */
export async function acquireLock(path: string): Promise<LockResult> {
  const self = await readProcess(process.pid)
  const content = JSON.stringify({ processId: process.pid, birth: self?.birth, token: randomUUID() })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, content, { mode: 0o644, flag: 'wx' })
  try {
    let abandoned = false
    while (!(await linkUnlessTaken(draft, path))) {
      const found = await readIfThere(path)
      if (found === undefined) continue
      const holder = await findHolder(found)
      if (holder !== undefined) return { held: true, processId: holder }
      if (await removeAbandoned(path, found)) abandoned = true
    }
    const release = async () => {
      if ((await readIfThere(path)) === content) await rm(path, { force: true })
    }
    return { held: false, abandoned, release }
  } finally {
    await rm(draft, { force: true })
  }
}

/** A link appears with its whole content or not at all, so nobody reads half a lock. */
async function linkUnlessTaken(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function findHolder(content: string): Promise<number | undefined> {
  const written = /^\{"processId":(\d+),"birth":"([^"]*)"/.exec(content)
  if (!written) return undefined
  const processId = Number(written[1])
  const running = await readProcess(processId)
  return running?.birth === written[2] ? processId : undefined
}

/** Between our look and our move someone else may have taken the lock anew: then it is put back. */
async function removeAbandoned(path: string, expected: string): Promise<boolean> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
  const abandoned = (await readIfThere(aside)) === expected
  if (!abandoned) await linkUnlessTaken(aside, path)
  await rm(aside, { force: true })
  return abandoned
}
