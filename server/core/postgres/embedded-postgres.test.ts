import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { z } from 'zod'
import { startEmbeddedPostgres } from './embedded-postgres.ts'
import { PipeError } from '../errors.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { chooseServerUser, spawnOptionsFor } from './postgres-user.ts'
import { readProcess } from './process-lock.ts'

const parent = await realpath(await mkdtemp(join(tmpdir(), 'pipecore-postgres-')))
await chmod(parent, 0o711)
after(() => rm(parent, { recursive: true, force: true }))

const folder = join(parent, 'data')
let folders = 0
const newFolder = () => join(parent, `data-${(folders += 1)}`)
const start = (path: string, settings: Record<string, string> = {}) =>
  startEmbeddedPostgres({ folder: path, durable: false, settings })

async function query(url: string, text: string): Promise<Record<string, unknown>> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(text)
    return rows[0] ?? {}
  } finally {
    await client.end()
  }
}

async function readPostmasterId(db: { dataFolder: string }): Promise<number> {
  return Number.parseInt(await readFile(join(db.dataFolder, 'postmaster.pid'), 'utf8'), 10)
}

async function waitUntil(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `waited 30 seconds until ${what}`)
    await delay(10)
  }
}

const isGone = async (processId: number) => (await readProcess(processId)) === undefined

/** Starts a database in a Node of its own, which then runs `afterwards`. */
function spawnStarter(path: string, afterwards = 'setInterval(() => {}, 1000)'): ChildProcess {
  const code = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(import.meta.resolve('./embedded-postgres.ts'))})
    const db = await startEmbeddedPostgres({ folder: ${JSON.stringify(path)}, durable: false })
    console.log(JSON.stringify(db))
    ${afterwards}`
  return spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function startInChild(path: string, afterwards?: string) {
  const child = spawnStarter(path, afterwards)
  assert.ok(child.stdout)
  for await (const line of createInterface(child.stdout)) {
    return { child, ...z.object({ url: z.string(), dataFolder: z.string() }).parse(JSON.parse(line)) }
  }
  throw new Error('The child ended before its database ran')
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

function failsWith(code: string, ...parts: string[]) {
  return (error: unknown) => {
    assert.ok(error instanceof PipeError, String(error))
    assert.equal(error.code, code)
    for (const part of parts) assert.ok(error.message.includes(part), `${error.message} names ${part}`)
    return true
  }
}

test('a first start makes a PostgreSQL 18 with the settings of PipeCore and those given', async () => {
  const db = await start(folder, { work_mem: '7MB' })
  try {
    const found = await query(
      db.url,
      `select current_setting('server_version_num')::int / 10000 as version, current_setting('work_mem') as work_mem,
        current_setting('max_connections') as connections, current_setting('max_locks_per_transaction') as locks,
        current_setting('shared_buffers') as buffers, current_setting('max_wal_size') as wal,
        current_setting('autovacuum_naptime') as naptime, current_setting('listen_addresses') as addresses,
        current_setting('unix_socket_directories') as sockets, current_setting('fsync') as fsync,
        current_setting('server_encoding') as encoding, upper('ñ') as upper, current_user as role`,
    )
    assert.deepEqual(found, {
      version: 18,
      work_mem: '7MB',
      connections: '200',
      locks: '256',
      buffers: '128MB',
      wal: '2GB',
      naptime: '10s',
      addresses: '127.0.0.1',
      sockets: '',
      fsync: 'off',
      encoding: 'UTF8',
      upper: 'Ñ',
      role: 'postgres',
    })
  } finally {
    await db.stop()
  }
})

test('only the generated password opens it, and only the owner of the folder can read that', async () => {
  const db = await start(folder)
  try {
    const url = new URL(db.url)
    const path = join(folder, 'postgres-password')
    assert.equal((await readFile(path, 'utf8')).trim(), url.password)
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.equal((await stat(folder)).mode & 0o007, 0)
    url.password = 'fake-password'
    await assert.rejects(query(url.href, 'select 1'), { code: '28P01' })
  } finally {
    await db.stop()
  }
})

test('a database is durable unless told otherwise, and a second start keeps the data', async () => {
  const path = newFolder()
  const first = await startEmbeddedPostgres({ folder: path })
  await query(first.url, 'create table kept as select 42 as value')
  assert.equal((await query(first.url, 'show fsync')).fsync, 'on')
  await first.stop()
  const second = await startEmbeddedPostgres({ folder: path })
  assert.equal((await query(second.url, 'select value from kept')).value, 42)
  await second.stop()
})

test('stop leaves nothing running, and may be called twice', async () => {
  const db = await start(folder)
  const processId = await readPostmasterId(db)
  await Promise.all([db.stop(), db.stop()])
  await db.stop()
  assert.ok(await isGone(processId))
  assert.deepEqual((await readdir(folder)).toSorted(), ['postgres', 'postgres-password', 'postgres.log'])
  assert.match(await readFile(join(folder, 'postgres.log'), 'utf8'), /database system is shut down\n$/)
})

test('Ctrl-C in the terminal does not reach the server: it leads a process group of its own', async () => {
  const db = await start(folder)
  try {
    assert.ok(process.kill(-(await readPostmasterId(db)), 0))
  } finally {
    await db.stop()
  }
})

test('a Node that ends without stop takes the server along', async () => {
  const { dataFolder } = await startInChild(folder, 'process.exit(0)')
  await waitUntil('the server has gone', () => !existsSync(join(dataFolder, 'postmaster.pid')))
})

test('of two starts in one folder one wins and the other names the process that has it', async () => {
  const results = await Promise.allSettled([start(folder), start(folder)])
  const won = results.find((result) => result.status === 'fulfilled')
  const lost = results.find((result) => result.status === 'rejected')
  await won?.value.stop()
  assert.ok(won && lost)
  failsWith('database_running', folder, `process ${process.pid}`)(lost.reason)
})

test('a folder in use by another PipeCore is refused and left alone', async () => {
  const { child, url } = await startInChild(folder)
  try {
    await assert.rejects(start(folder), failsWith('database_running', folder, `process ${child.pid}`))
    await query(url, 'select 1')
  } finally {
    await kill(child)
    await (await start(folder)).stop()
  }
})

test('a server that somebody started by hand is refused and left alone', async () => {
  const user = await chooseServerUser(join(folder, 'postgres'))
  const { postgres } = await findPostgresBinaries(user, folder)
  const dataFolder = (await start(folder).then(async (db) => (await db.stop(), db))).dataFolder
  const args = ['-D', dataFolder, '-c', 'listen_addresses=', '-c', `unix_socket_directories=${dataFolder}`]
  const child = spawn(postgres, args, { ...spawnOptionsFor(user), stdio: 'ignore' })
  const exited = once(child, 'exit')
  try {
    const pidFile = join(dataFolder, 'postmaster.pid')
    await waitUntil(
      'it runs',
      async () => existsSync(pidFile) && (await readFile(pidFile, 'utf8')).includes('ready'),
    )
    for (const attempt of ['first', 'second']) {
      await assert.rejects(
        start(folder),
        failsWith('database_running', folder, `process ${child.pid}`),
        attempt,
      )
    }
    assert.equal(child.exitCode, null)
  } finally {
    child.kill('SIGINT')
    await exited
  }
})

test('the server of a Node that was killed is stopped, and the next start has all its data', async () => {
  const path = newFolder()
  const { child, url, dataFolder } = await startInChild(path)
  const orphan = await readPostmasterId({ dataFolder })
  await query(url, 'create table kept as select 43 as value')
  await kill(child)
  assert.ok(!(await isGone(orphan)), 'the server outlives its Node')
  const db = await start(path)
  assert.ok(await isGone(orphan))
  assert.equal((await query(db.url, 'select value from kept')).value, 43)
  await db.stop()
})

test('after a SIGKILL of the server the next start waits for its busy backends, and recovers', async () => {
  const path = newFolder()
  const first = await start(path, { synchronous_commit: 'on' })
  await query(first.url, 'create table kept as select 44 as value')
  const busy = query(first.url, 'select count(*) from generate_series(1, 8000000)').catch(() => undefined)
  const counting = `select 1 as found from pg_stat_activity where query like '%8000000%' and pid <> pg_backend_pid()`
  await waitUntil('a backend is busy', async () => (await query(first.url, counting)).found === 1)
  const processId = await readPostmasterId(first)
  process.kill(processId, 'SIGKILL')
  await waitUntil('it is gone', () => isGone(processId))
  await first.stop()
  assert.ok(existsSync(join(first.dataFolder, 'postmaster.pid')), 'the stale file is there')
  const second = await start(path)
  assert.equal((await query(second.url, 'select value from kept')).value, 44)
  await second.stop()
  await busy
  assert.match(await readFile(join(path, 'postgres.log'), 'utf8'), /is still in use/)
})

test('a postmaster.pid and a lock whose process ids belong to other programs by now are stale', async () => {
  const { child, dataFolder } = await startInChild(folder)
  const orphan = await readPostmasterId({ dataFolder })
  await kill(child)
  process.kill(orphan, 'SIGKILL')
  await waitUntil('it is gone', () => isGone(orphan))
  const user = await chooseServerUser(dataFolder)
  const other = spawn('sleep', ['600'], { ...spawnOptionsFor(user), stdio: 'ignore' })
  for (const [path, old] of [
    [join(dataFolder, 'postmaster.pid'), orphan],
    [join(folder, 'postgres-lock'), child.pid],
  ] as const) {
    const content = await readFile(path, 'utf8')
    assert.ok(content.includes(String(old)))
    await writeFile(path, content.replace(String(old), String(other.pid)))
  }
  try {
    const db = await start(folder)
    await query(db.url, 'select 1')
    await db.stop()
    assert.equal(other.exitCode ?? other.signalCode, null)
  } finally {
    await kill(other)
  }
})

test('a start that was killed while making the database leaves nothing in the way of the next', async () => {
  const path = newFolder()
  const child = spawnStarter(path)
  await waitUntil('initdb has begun', async () => {
    const drafts = existsSync(path) ? (await readdir(path)).filter((name) => name.includes('.init-')) : []
    return drafts.some((draft) => existsSync(join(path, draft, 'postgres', 'base')))
  })
  await kill(child)
  assert.ok(!existsSync(join(path, 'postgres')))
  const db = await start(path)
  await query(db.url, 'select 1')
  await db.stop()
  await waitUntil('starts have removed the draft, once its initdb has ended', async () => {
    if (!(await readdir(path)).some((name) => name.includes('.init-'))) return true
    await (await start(path)).stop()
    return false
  })
})

test('a database of another major version is refused with both versions named', async () => {
  const path = newFolder()
  await (await start(path)).stop()
  await writeFile(join(path, 'postgres', 'PG_VERSION'), '17\n')
  await assert.rejects(
    start(path),
    failsWith('database_version_mismatch', path, 'PostgreSQL 17', 'PostgreSQL 18'),
  )
})

test('a server that does not start says why, with the end of its log', async () => {
  const refusal = failsWith(
    'database_start_failed',
    join(folder, 'postgres.log'),
    'invalid value for parameter',
  )
  await assert.rejects(start(folder, { work_mem: 'plenty' }), refusal)
  await (await start(folder)).stop()
})

test('a port in use is named', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const address = taken.address()
  assert.ok(address !== null && typeof address === 'object')
  const { port } = address
  await assert.rejects(
    startEmbeddedPostgres({ folder, port, durable: false }),
    failsWith('database_port_taken', `port ${port}`),
  )
  taken.close()
  await once(taken, 'close')
  const db = await startEmbeddedPostgres({ folder, port, durable: false })
  assert.equal(new URL(db.url).port, String(port))
  await db.stop()
})

test('a lost or wrong password file is named, and nothing is left running', async () => {
  const path = newFolder()
  const { dataFolder } = await start(path).then(async (db) => (await db.stop(), db))
  const passwordFile = join(path, 'postgres-password')
  await writeFile(passwordFile, 'fake-password\n')
  await assert.rejects(start(path), failsWith('database_password_rejected', 'postgres-password'))
  assert.ok(!existsSync(join(dataFolder, 'postmaster.pid')))
  await rm(passwordFile)
  await assert.rejects(start(path), failsWith('database_password_missing', passwordFile))
})

test('a log that has grown large makes room for a new one', async () => {
  const log = join(folder, 'postgres.log')
  await writeFile(log, 'x'.repeat(6 * 1024 * 1024))
  await (await start(folder)).stop()
  assert.ok((await stat(log)).size < 100_000)
  assert.ok((await stat(`${log}.old`)).size > 5_000_000)
  await rm(`${log}.old`)
})
