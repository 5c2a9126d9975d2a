import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const patienceMs = 60_000

export interface Stage {
  url: string
  adminKey: string
  sandboxUrl: string
  close(): Promise<void>
}

/** PipeCore on its embedded, durable database, and the sandbox: each a process of its own, as in production. */
export async function startStage(settings: Record<string, string> = {}): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-bench-'))
  const [port, sandboxPort] = [await findFreePort(), await findFreePort()]
  const adminKey = `admin_${randomBytes(16).toString('hex')}`
  const url = `http://127.0.0.1:${port}`
  const sandboxUrl = `http://127.0.0.1:${sandboxPort}`
  const sandbox = await startProgram(
    ['sandbox/main.ts', '--port', String(sandboxPort)],
    {},
    `${sandboxUrl}/sandbox`,
  )
  const env = {
    PIPECORE_DATA: folder,
    PIPECORE_ADMIN_KEY: adminKey,
    PIPECORE_LOG_LEVEL: 'error',
    SANDBOX_PORT: String(sandboxPort),
    PORT: String(port),
    ...settings,
  }
  const server = await startProgram(['server/main.ts'], env, `${url}/ready`)
  return {
    url,
    adminKey,
    sandboxUrl,
    close: async () => {
      for (const child of [server, sandbox]) await endProgram(child)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Answers once something listens under the URL; at once without one. */
export async function startProgram(
  args: string[],
  env: Record<string, string>,
  readyUrl?: string,
): Promise<ChildProcess> {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  if (readyUrl === undefined) return child
  const deadline = performance.now() + patienceMs
  for (;;) {
    const answer = await fetch(readyUrl).catch(() => undefined)
    if (answer?.ok) return child
    if (child.exitCode !== null) throw new Error(`${args[0]} ended with ${child.exitCode}`)
    if (performance.now() > deadline) throw new Error(`${args[0]} did not start`)
    await sleep(50)
  }
}

export async function endProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
