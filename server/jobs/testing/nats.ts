import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect as dial, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '#core/database.ts'
import { openNatsQueue } from '../nats-queue.ts'
import { readQueueName } from '../queue-queries.ts'
import type { WorkQueue } from '../queue.ts'
import { createSharedWorkLoop } from '../queued-work.ts'
import { loopOptions, silent, type StartLoop, stopGraceMs, type Test, until } from './work.ts'

/** CI sets it: there a NATS that is missing is a fault. */
const isRequired = process.env['TEST_NATS_REQUIRED'] === '1'
const program = process.env['TEST_NATS_SERVER'] ?? 'nats-server'
const sharedUrl = process.env['TEST_NATS_URL'] ?? 'nats://127.0.0.1:4222'

/** A NATS that runs on this machine, or why a test that needs it is skipped. */
export async function findNats(): Promise<{ url: string; skip: false | string }> {
  const { hostname, port } = new URL(sharedUrl)
  const isThere = await isListening(hostname, Number(port))
  if (!isThere && isRequired) throw new Error(`There is no NATS at ${hostname}:${port}.`)
  return { url: sharedUrl, skip: !isThere && `no NATS at ${hostname}:${port}; start: nats-server -js` }
}

/** Why tests that start a server of their own are skipped. */
export async function lacksNatsServer(): Promise<false | string> {
  const child = spawn(program, ['--version'], { stdio: 'ignore' })
  const isThere = await once(child, 'exit').then(
    () => true,
    () => false,
  )
  if (!isThere && isRequired) throw new Error(`There is no ${program}.`)
  return !isThere && `${program} is not installed`
}

export interface NatsServer {
  url: string
  /** At once, with all it holds. */
  kill(): Promise<void>
  /** Anew and empty, at the same place. */
  restart(): Promise<void>
}

/** A server of the test's own. */
export async function startNatsServer(test: Test, args: readonly string[] = []): Promise<NatsServer> {
  const port = await findFreePort()
  let child: ChildProcess | undefined
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  const restart = async () => {
    await kill()
    const folder = await mkdtemp(join(tmpdir(), 'pipecore-test-nats-'))
    test.after(() => rm(folder, { recursive: true, force: true }))
    child = spawn(program, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder, ...args], {
      stdio: 'ignore',
    })
    await until(() => isListening('127.0.0.1', port))
  }
  test.after(kill)
  await restart()
  return { url: `nats://127.0.0.1:${port}`, kill, restart }
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

function isListening(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host, port })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

export function openTestQueue(database: Database, url: string): WorkQueue {
  return openNatsQueue({ url, readName: () => readQueueName(database.system, 'delivery'), log: silent })
}

/** Loops that start as soon as their queue is there, so that it carries all of their work. */
export function startLoopOver(url: string): StartLoop {
  return (test, database, run, options) => {
    const queue = openTestQueue(database, url)
    const own = { ...loopOptions(database), ...options }
    const loop = createSharedWorkLoop({ ...own, run: (item, { signal }) => run(item, signal) }, queue)
    test.after(async () => {
      await loop.stop(stopGraceMs)
      await queue.close()
    })
    void until(() => queue.isReady()).then(() => loop.start())
    return loop
  }
}
