import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { findFreePort } from '../../sandbox/free-port.ts'
import { eventually, type Test } from '../harness.ts'

export interface Pgbouncer {
  /** `host:port` */
  host: string
  /** Of its own console, as superuser. */
  consoleUrl: string
}

/** Of each login: fewer than the connections that one process opens. */
export const poolSize = 4

/** The program's path; undefined where it is not installed. */
export async function findPgbouncer(): Promise<string | undefined> {
  // Debian puts it where only root's path leads.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
  for (const folder of folders) {
    const path = join(folder, 'pgbouncer')
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return undefined
}

/** A PgBouncer of its own in transaction mode before the cluster of a superuser's URL. */
export async function startPgbouncer(test: Test, program: string, databaseUrl: string): Promise<Pgbouncer> {
  const user = await findUser()
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-pgbouncer-'))
  test.after(() => rm(folder, { recursive: true, force: true }))
  const port = await findFreePort()
  const settings = join(folder, 'pgbouncer.ini')
  const users = join(folder, 'users.txt')
  const { username, password } = new URL(databaseUrl)
  const quoted = [username, password].map((text) => `"${decodeURIComponent(text)}"`)
  const version = await run(program, ['--version'])
  await writeFile(settings, writeSettings(new URL(databaseUrl), { port, users, version }))
  await writeFile(users, `${quoted.join(' ')}\n`, { mode: 0o600 })
  if (user !== undefined) {
    await chmod(folder, 0o700)
    for (const path of [folder, settings, users]) await chown(path, user.uid, user.gid)
  }
  const child = spawn(program, [settings], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], ...user })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
  }
  // It does not outlive a test run that ends without this hook.
  const endNow = () => child.kill('SIGKILL')
  process.once('exit', endNow)
  test.after(async () => {
    process.off('exit', endNow)
    if (child.exitCode !== null) return
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
  })
  await eventually(() => answersAt(port)).catch(() => {
    throw new Error(`PgBouncer did not start:\n${said.join('')}`)
  })
  const consoleUrl = new URL(databaseUrl)
  consoleUrl.host = `127.0.0.1:${port}`
  consoleUrl.pathname = '/pgbouncer'
  return { host: consoleUrl.host, consoleUrl: consoleUrl.href }
}

/** From 1.21 on it can keep what clients prepared by name: then nothing shows that they must not. */
export function keepsStatements(version: string): boolean {
  const [, major, minor] = /^PgBouncer (\d+)\.(\d+)/m.exec(version) ?? []
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 21)
}

interface Settings {
  port: number
  users: string
  version: string
}

/** The logins that PipeCore makes are asked for in the database, as an operator would set it up. */
function writeSettings(database: URL, { port, users, version }: Settings): string {
  return `[databases]
* = host=${database.hostname} port=${database.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
auth_user = ${database.username}
admin_users = ${database.username}
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 300
ignore_startup_parameters = extra_float_digits, options
${keepsStatements(version) ? 'max_prepared_statements = 0\n' : ''}`
}

/** PgBouncer refuses to run as root. */
async function findUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const idOf = async (flag: string) => Number(await run('id', [flag, 'nobody']))
  return { uid: await idOf('-u'), gid: await idOf('-g') }
}

async function run(program: string, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(program, args)).stdout
}

function answersAt(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
