import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../sandbox/free-port.ts'
import { createDatabase, dropDatabase, queryDatabase, type Row } from './database.ts'
import { eventually } from './eventually.ts'

export { type Backend, startBackend } from './backend.ts'
export { type Answer, type Client, createClient } from './client.ts'
export { eventually } from './eventually.ts'

/** What it needs of node:test's context, or of its `after` function. */
export interface Test {
  after(work: () => Promise<void>): void
}

export interface Sandbox {
  url: string
  /** `PROVIDER_URL_<PROVIDER>` for every provider it simulates. */
  providerUrls: Record<string, string>
  /** A call of its control API, such as `POST /inbound/twilio`. Rejects on anything but 2xx. */
  control<Body = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<Body>
}

export interface PipeCoreOptions {
  /** Default: providers are not called. */
  sandbox?: Sandbox
  env?: Readonly<Record<string, string>>
  role?: 'api' | 'worker' | 'all'
  /** Starts a further process of this installation: same database, same keys. */
  beside?: PipeCore
  /** Superuser's, of a database that is there and stays; default: one of its own. */
  databaseUrl?: string
  /** `host:port` of what stands between this process and the database. */
  databaseHost?: string
}

export interface PipeCore {
  /** Stays the same over restarts; empty for a worker. */
  url: string
  adminKey: string
  /** Superuser's. */
  databaseUrl: string
  env: Readonly<Record<string, string>>
  /** All processes of this installation. */
  programs: Program[]
  /** Everything it ever wrote to standard output and standard error, over all restarts. */
  log(): string
  /** Resolves when the process has ended. */
  kill(signal: NodeJS.Signals): Promise<void>
  /** Starts it again with the same settings on the same port; ends it first when it still runs. */
  restart(): Promise<void>
  query(sql: string, values?: unknown[]): Promise<Row[]>
}

const root = fileURLToPath(new URL('../', import.meta.url))
const graceMs = 12_000

/** `node server/main.ts` on a database of its own; both are gone after the test. */
export async function startPipeCore(test: Test, options: PipeCoreOptions): Promise<PipeCore> {
  const { role = 'all', beside, databaseHost } = options
  const databaseUrl = beside?.databaseUrl ?? options.databaseUrl ?? (await createDatabase())
  const port = await findFreePort()
  const url = `http://127.0.0.1:${port}`
  const env = {
    PIPECORE_ADMIN_KEY: `admin_${randomBytes(16).toString('hex')}`,
    PIPECORE_MASTER_KEY: randomBytes(32).toString('base64'),
    PIPECORE_PUBLIC_URL: url,
    // Backends of tests live on the loopback.
    PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
    PIPECORE_PROVIDER_TIMEOUT_MS: '2000',
    PIPECORE_ENDPOINT_TIMEOUT_MS: '2000',
    PIPECORE_LOG_LEVEL: 'debug',
    ...beside?.env,
    ...options.env,
    ...options.sandbox?.providerUrls,
    DATABASE_URL: databaseHost === undefined ? databaseUrl : urlThrough(databaseUrl, databaseHost),
    PIPECORE_HOST: '127.0.0.1',
    PORT: String(port),
  }
  const program = createProgram(['server/main.ts', '--role', role], env, 'PipeCore is running')
  const programs = beside?.programs ?? []
  programs.push(program)
  if (beside === undefined) {
    test.after(async () => {
      await Promise.all(programs.map((one) => one.kill('SIGTERM')))
      if (options.databaseUrl === undefined) await dropDatabase(databaseUrl)
    })
  }
  await program.start()
  return {
    url: role === 'worker' ? '' : url,
    adminKey: env.PIPECORE_ADMIN_KEY,
    databaseUrl,
    env,
    programs,
    log: () => program.log(),
    kill: (signal) => program.kill(signal),
    restart: async () => {
      await program.kill('SIGTERM')
      await program.start()
    },
    query: (sql, values) => queryDatabase(databaseUrl, sql, values),
  }
}

function urlThrough(databaseUrl: string, host: string): string {
  const url = new URL(databaseUrl)
  url.host = host
  return url.href
}

/** `node sandbox/main.ts` on a free port. */
export async function startSandbox(test: Test): Promise<Sandbox> {
  const program = createProgram(['sandbox/main.ts', '--port', '0'], {}, 'PROVIDER_URL_RESEND')
  test.after(() => program.kill('SIGTERM'))
  await program.start()
  const url = /Sandbox at (\S+)/.exec(program.log())?.[1] ?? ''
  const lines = [...program.log().matchAll(/(PROVIDER_URL_\w+)=(\S+)/g)]
  return {
    url,
    providerUrls: Object.fromEntries(lines.map(([, name, base]) => [name, base])) as Record<string, string>,
    control: async <Body>(method: string, path: string, body?: unknown) => {
      const answer = await fetch(`${url}/sandbox${path}`, {
        method,
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`sandbox ${method} ${path} → ${answer.status} ${text}`)
      return JSON.parse(text) as Body
    },
  }
}

/** Nothing outlives a test run, however it ends. An error outside of any test ends it without `exit`. */
const running = new Set<ChildProcess>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
for (const end of ['exit', 'uncaughtExceptionMonitor'] as const) {
  process.once(end, () => {
    for (const child of running) child.kill('SIGKILL')
  })
}

export interface Program {
  start(): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
  log(): string
}

function createProgram(args: string[], env: Record<string, string>, readyWords: string): Program {
  const written: string[] = []
  const log = () => written.join('')
  let child: ChildProcess | undefined
  const kill = async (signal: NodeJS.Signals) => {
    const ending = child
    child = undefined
    if (ending !== undefined) await endProcess(ending, signal)
  }
  const start = async () => {
    const before = written.length
    // Only what is named here: settings of the test run itself are none of the program's.
    const started = spawn(process.execPath, args, {
      cwd: root,
      env: { PATH: process.env.PATH ?? '', ...env },
    })
    child = started
    running.add(started)
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => written.push(text))
    }
    const said = () => written.slice(before).join('')
    await eventually(() => {
      if (started.exitCode !== null) throw new StartFailure(`${args.join(' ')} ended:\n${said()}`)
      return said().includes(readyWords)
    }, 60_000)
  }
  return { start, kill, log }
}

/** Ends the wait at once: what has ended never becomes ready. */
class StartFailure extends Error {
  readonly final = true
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  running.delete(child)
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'close')
  child.kill(signal)
  const stubborn = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await ended
  clearTimeout(stubborn)
}
