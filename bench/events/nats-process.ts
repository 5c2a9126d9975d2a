import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '../processes.ts'

/** A nats-server of its own with JetStream; undefined where none is installed. */
export async function startNats(
  ends: Array<() => Promise<unknown>>,
): Promise<{ url: string; processId: number } | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-bench-nats-'))
  ends.push(() => rm(folder, { recursive: true, force: true }))
  const port = await findFreePort()
  const child = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder], {
    stdio: 'ignore',
  })
  const isThere = await Promise.race([
    once(child, 'spawn').then(() => true),
    once(child, 'error').then(() => false),
  ])
  if (!isThere) return undefined
  process.once('exit', () => child.kill('SIGKILL'))
  ends.push(async () => {
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  return { url: `nats://127.0.0.1:${port}`, processId: child.pid ?? 0 }
}
