import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../sandbox/free-port.ts'
import { eventually, type Test } from '../harness.ts'

export interface OwnPostgres {
  /** Superuser's. */
  url: string
  port: number
  /** PostgreSQL's immediate shutdown: nothing is tidied up. Resolves when it is gone. */
  crash(): Promise<void>
  /** Starts it again unless it runs. */
  start(): Promise<void>
}

interface Running {
  child: ChildProcess
  url: string
  dataFolder: string
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A durable PostgreSQL that this run may crash. */
export async function startOwnPostgres(test: Test, folder: string): Promise<OwnPostgres> {
  const port = await findFreePort()
  let running = await launch(folder, port)
  const isUp = async () => (await findPostmaster(running)) !== undefined
  test.after(() => end(running.child))
  return {
    url: running.url,
    port,
    crash: async () => {
      const processId = await findPostmaster(running)
      if (processId !== undefined) process.kill(processId, 'SIGQUIT')
      await eventually(async () => !(await isUp()), 60_000)
    },
    start: async () => {
      if (await isUp()) return
      await end(running.child)
      running = await launch(folder, port)
    },
  }
}

async function launch(folder: string, port: number): Promise<Running> {
  const args = ['scripts/postgres.ts', '--folder', folder, '--port', String(port)]
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  }
  await eventually(() => said.includes('dataFolder') || child.exitCode !== null, 90_000)
  if (child.exitCode !== null) throw new Error(`PostgreSQL did not start:\n${said}`)
  return { child, ...(JSON.parse(said) as { url: string; dataFolder: string }) }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = once(child, 'exit')
  child.stdin?.end()
  await ended
}

/** The process id; undefined when it is gone. */
async function findPostmaster({ dataFolder }: Running): Promise<number | undefined> {
  const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
  const processId = Number.parseInt(text, 10)
  if (!(processId > 0)) return undefined
  try {
    process.kill(processId, 0)
    return processId
  } catch {
    return undefined
  }
}
