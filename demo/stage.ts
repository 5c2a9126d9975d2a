import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { StepFailed } from './check.ts'

/** The processes of the demo and the folder they keep things in. */
interface Stage {
  startSandbox(): Promise<string>
  startPipecore(sandboxUrl: string): Promise<{ url: string; adminKey: string }>
  /** Lines PipeCore logged as errors, or wrote to standard error. */
  listErrors(): string[]
  /** Ends every process and removes the folder. May be called at any time and again. */
  close(): Promise<void>
}

interface Actor {
  process: ChildProcess
  output: string[]
  errors: string[]
  /** The line that says it works; rejects when the process ends before it. */
  ready: Promise<string>
}

const root = join(import.meta.dirname, '..')
const startPatienceMs = 60_000
const stopPatienceMs = 15_000
const errorLevel = 50

export function createStage(): Stage {
  const folder = mkdtempSync(join(tmpdir(), 'pipecore-demo-'))
  const actors: Actor[] = []
  let closing: Promise<void> | undefined

  async function start(script: string, settings: Record<string, string>, sign: string): Promise<string> {
    if (closing !== undefined) throw new StepFailed(`Starting ${script}`, 'a running demo', 'it was stopped')
    const actor = launch(script, settings, sign)
    actors.push(actor)
    return actor.ready
  }

  return {
    async startSandbox() {
      const line = await start('sandbox/main.ts', { SANDBOX_PORT: '0' }, 'Sandbox at ')
      return line.slice('Sandbox at '.length).trim()
    },
    async startPipecore(sandboxUrl) {
      const port = await findFreePort()
      const adminKey = `demo_${randomBytes(24).toString('hex')}`
      const settings = {
        PORT: String(port),
        PIPECORE_DATA: folder,
        PIPECORE_ADMIN_KEY: adminKey,
        SANDBOX_PORT: new URL(sandboxUrl).port,
      }
      await start('server/main.ts', settings, 'PipeCore is running')
      return { url: `http://127.0.0.1:${port}`, adminKey }
    },
    listErrors: () => actors.flatMap(({ output, errors }) => [...output.filter(isError), ...errors]),
    close: () => (closing ??= closeAll(actors, folder)),
  }
}

function launch(script: string, settings: Record<string, string>, sign: string): Actor {
  const child = spawn(process.execPath, [script], {
    cwd: root,
    env: { ...cleanEnvironment(), ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C then reaches the demo alone, which stops the others in order.
    detached: true,
  })
  const output: string[] = []
  const errors: string[] = []
  const ready = new Promise<string>((resolve, reject) => {
    const giveUp = (reason: string) => {
      const last = [...output, ...errors].slice(-5)
      reject(new StepFailed(`Starting ${script}`, sign, [reason, ...last].join('\n')))
    }
    setTimeout(() => giveUp(`nothing in ${startPatienceMs / 1000} s`), startPatienceMs).unref()
    readLines(child.stderr, (line) => errors.push(line))
    readLines(child.stdout, (line) => {
      output.push(line)
      if (line.includes(sign)) resolve(line)
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      errors.push(`${script} ended by ${signal ?? `exit ${code}`}`)
      giveUp('it ended')
    })
  })
  return { process: child, output, errors, ready }
}

function readLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
}

function isError(line: string): boolean {
  const level = /^\{"level":(\d+)/.exec(line)?.[1]
  return Number(level) >= errorLevel
}

/** A developer's own settings must not decide what the demo shows. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const isOurs = (name: string) => /^(PIPECORE_|PROVIDER_URL_|DATABASE_URL$|SANDBOX_PORT$|PORT$)/.test(name)
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOurs(name)))
}

/** Below the ports that systems hand out by themselves, so that it stays free until PipeCore takes it. */
async function findFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000)
    const probe = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

async function closeAll(actors: readonly Actor[], folder: string): Promise<void> {
  for (const actor of actors.toReversed()) await stop(actor)
  // Where the database's user can't enter the folder, this file says where the database is instead.
  const elsewhere = await readIfThere(join(folder, 'postgres-location'))
  const places = [folder, ...(elsewhere === undefined ? [] : [elsewhere.trim()])]
  for (const place of places) await stopAbandonedDatabase(join(place, 'postgres', 'postmaster.pid'))
  for (const place of places) await rm(place, { recursive: true, force: true, maxRetries: 3 })
}

/** A server that was killed leaves its database running: the file, whose first line is its process, says so. */
async function stopAbandonedDatabase(pidFile: string): Promise<void> {
  const processId = Number.parseInt((await readIfThere(pidFile)) ?? '', 10)
  if (!(processId > 0)) return
  process.kill(processId, 'SIGINT')
  const deadline = performance.now() + stopPatienceMs
  while (existsSync(pidFile) && performance.now() < deadline) await pause(50)
}

async function readIfThere(path: string): Promise<string | undefined> {
  return existsSync(path) ? readFile(path, 'utf8') : undefined
}

async function stop({ process: child, ready }: Actor): Promise<void> {
  // Only a server that has started stops its database in order.
  await ready.catch(() => undefined)
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const impatience = setTimeout(() => child.kill('SIGKILL'), stopPatienceMs)
  await ended
  clearTimeout(impatience)
}
