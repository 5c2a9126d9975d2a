import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, DatabaseError } from 'pg'
import { PipeError } from '../errors.ts'
import { spawnOptionsFor, type ServerUser } from './postgres-user.ts'
import { readProcess } from './process-lock.ts'
import { systemErrorCode } from '../system-error.ts'

export interface ServerPlan {
  program: string
  user: ServerUser | undefined
  dataFolder: string
  password: string
  logPath: string
  port: number | undefined
  settings: Readonly<Record<string, string>>
  /** A process id that postmaster.pid names though it is not this cluster's server, or no longer. */
  staleProcessId: number | undefined
}

export interface RunningServer {
  /** Superuser's URL. */
  url: string
  stop: () => Promise<void>
}

interface SpawnedServer extends RunningServer {
  processId: number | undefined
  hasExited: () => boolean
  /** What this server has logged. */
  readLog: () => Promise<string>
}

const startTimeoutMs = 60_000

/** Starts the server and waits until it takes connections. */
export async function launchServer(plan: ServerPlan): Promise<RunningServer> {
  const deadline = performance.now() + startTimeoutMs
  for (;;) {
    const server = await spawnServer(plan, plan.port ?? (await findFreePort()))
    try {
      if (await waitUntilReady(server, plan, deadline)) return { url: server.url, stop: server.stop }
    } catch (error) {
      await server.stop()
      throw error
    }
    const log = await server.readLog()
    const portTaken = log.includes('Address already in use')
    if (portTaken && plan.port !== undefined) throw portInUse(plan.port)
    // Backends of a server that was killed need a moment to notice; a free port may be gone again.
    const mayPass = portTaken || /shared memory block .* is still in use/.test(log)
    if (!mayPass || performance.now() > deadline) throw failedWithLog('ended while starting', plan, log)
    await delay(200)
  }
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('There is no free port on 127.0.0.1')
  return address.port
}

function portInUse(port: number): PipeError {
  return new PipeError(
    'database_port_taken',
    500,
    `The database cannot listen on port ${port}: another program does. Stop it, or give the database another port.`,
  )
}

function failedWithLog(what: string, plan: ServerPlan, log: string): PipeError {
  const end = log.trim().split('\n').slice(-12).join('\n')
  return startFailed(`PostgreSQL in ${plan.dataFolder} ${what}. The end of ${plan.logPath}:\n${end}`)
}

async function spawnServer(plan: ServerPlan, port: number): Promise<SpawnedServer> {
  const settings = {
    ...plan.settings,
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const base = spawnOptionsFor(plan.user)
  // Read by the postmaster: a lock file that names this process is stale, even if some program has its id now.
  const stale = plan.staleProcessId === undefined ? {} : { PG_GRANDPARENT_PID: String(plan.staleProcessId) }
  const log = await open(plan.logPath, 'a', 0o600)
  const logStart = (await log.stat()).size
  const child = spawn(plan.program, ['-D', plan.dataFolder, ...flags], {
    ...base,
    env: { ...base.env, ...stale },
    stdio: ['ignore', log.fd, log.fd],
    // Its own session, so that Ctrl-C in the terminal reaches only us and we can stop it in order.
    detached: true,
  })
  try {
    await once(child, 'spawn')
  } finally {
    await log.close()
  }
  const interrupt = () => child.kill('SIGINT')
  process.once('exit', interrupt)
  child.once('exit', () => process.off('exit', interrupt))
  child.unref()
  const hasExited = () => child.exitCode !== null || child.signalCode !== null
  return {
    url: `postgres://postgres:${plan.password}@127.0.0.1:${port}/postgres?sslmode=disable`,
    processId: child.pid,
    hasExited,
    readLog: async () => (await readFile(plan.logPath)).subarray(logStart).toString(),
    stop: async () => {
      if (!hasExited() && child.pid !== undefined) await stopPostmaster(child.pid)
    },
  }
}

/** @returns whether it is ready; false when it ended first. */
async function waitUntilReady(server: SpawnedServer, plan: ServerPlan, deadline: number): Promise<boolean> {
  while (performance.now() < deadline) {
    if (server.hasExited()) return false
    if ((await isAccepting(server, plan)) && (await canConnect(server.url, plan))) return true
    await delay(25)
  }
  throw failedWithLog(`was not ready after ${startTimeoutMs / 1000} seconds`, plan, await server.readLog())
}

/** The eighth line of postmaster.pid is the server's state. Asking the port could reach some other program. */
async function isAccepting(server: SpawnedServer, plan: ServerPlan): Promise<boolean> {
  const lines = (await readPidFile(plan.dataFolder)).split('\n')
  return Number(lines[0]) === server.processId && lines[7]?.trim() === 'ready'
}

const invalidPassword = '28P01'

async function canConnect(url: string, plan: ServerPlan): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  // A connection that breaks after all is just one that was not ready.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return true
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== invalidPassword) return false
    throw new PipeError(
      'database_password_rejected',
      500,
      `The file postgres-password beside ${plan.logPath} does not hold the password of the database in ${plan.dataFolder}. Restore the one that belongs to it.`,
    )
  } finally {
    await client.end()
  }
}

/** Empty while there is no such file. */
async function readPidFile(dataFolder: string): Promise<string> {
  try {
    return await readFile(join(dataFolder, 'postmaster.pid'), 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return ''
    throw error
  }
}

/** What postmaster.pid says; `running` is true only when that process is a server of this very folder. */
export async function readPostmaster(
  dataFolder: string,
): Promise<{ processId: number; running: boolean } | undefined> {
  const processId = Number.parseInt(await readPidFile(dataFolder), 10)
  if (!(processId > 0)) return undefined
  const command = (await readProcess(processId))?.command ?? ''
  return { processId, running: /\bpostgres\b/.test(command) && `${command} `.includes(` ${dataFolder} `) }
}

/** PostgreSQL's fast shutdown, then its immediate one, then the end without asking. */
const shutdownSteps = [
  { signal: 'SIGINT', patienceMs: 30_000 },
  { signal: 'SIGQUIT', patienceMs: 10_000 },
  { signal: 'SIGKILL', patienceMs: 10_000 },
] as const

/** Returns when the process is gone, also one that is not our child. */
export async function stopPostmaster(processId: number): Promise<void> {
  const birth = (await readProcess(processId))?.birth
  const isGone = async () => birth === undefined || (await readProcess(processId))?.birth !== birth
  for (const { signal, patienceMs } of shutdownSteps) {
    if (await isGone()) return
    sendSignal(processId, signal)
    const deadline = performance.now() + patienceMs
    while (performance.now() < deadline) {
      if (await isGone()) return
      await delay(25)
    }
  }
  throw startFailed(`PostgreSQL's process ${processId} does not end, not even by SIGKILL.`)
}

function sendSignal(processId: number, signal: NodeJS.Signals): void {
  try {
    process.kill(processId, signal)
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error
  }
}

export function startFailed(message: string, cause?: unknown): PipeError {
  return new PipeError('database_start_failed', 500, message, { cause })
}
