import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import pg from 'pg'
import { type Database, type DatabaseUrls, openDatabase } from '../database.ts'
import { type MigrationSource, migrateDatabase } from '../migrate.ts'
import { prepareRoles } from '../roles.ts'

export interface TestDatabase {
  database: Database
  urls: DatabaseUrls
  /** Superuser's, in the same database. */
  ownerUrl: string
}

/** What it needs of node:test's context. */
interface Test {
  after(work: () => Promise<void>): void
}

/**
 * A database for one test or file, dropped afterwards with its logins. PIPECORE_TEST_DATABASE_URL names the
 * cluster (as superuser); PIPECORE_TEST_TEMPLATE may name a migrated database of it to copy.
 */
export async function createTestDatabase(test: Test): Promise<TestDatabase> {
  const clusterUrl = process.env.PIPECORE_TEST_DATABASE_URL
  if (clusterUrl === undefined) {
    throw new Error(
      'PIPECORE_TEST_DATABASE_URL is not set: use npm test, or name a PostgreSQL you may make databases in.',
    )
  }
  const name = `test_${randomBytes(6).toString('hex')}`
  const template = process.env.PIPECORE_TEST_TEMPLATE
  await onCluster(clusterUrl, async (owner) => {
    await owner.query(`create database ${name} template ${pg.escapeIdentifier(template ?? 'template0')}`)
  })
  const ownerUrl = withDatabase(clusterUrl, name)
  const urls =
    template === undefined ? await migrateDatabase(ownerUrl, await findMigrations()) : await prepare(ownerUrl)
  const database = openDatabase({ urls, onError: () => {} })
  test.after(async () => {
    await database.close()
    await dropDatabase(clusterUrl, name, urls)
  })
  return { database, urls, ownerUrl }
}

/** Its owner is no superuser, so that policies bind him as they do in production. `ownerUrl` is still a superuser's. */
export async function createPlainDatabase(test: Test): Promise<TestDatabase> {
  const clusterUrl = process.env.PIPECORE_TEST_DATABASE_URL ?? ''
  const name = `test_${randomBytes(6).toString('hex')}`
  await onCluster(clusterUrl, async (owner) => {
    await owner.query(`create role ${name}_owner login createrole password 'fake'`)
    await owner.query(`grant pipecore_app, pipecore_system to ${name}_owner with admin true, inherit false`)
    await owner.query(`create database ${name} owner ${name}_owner template template0`)
  })
  const ownerUrl = withDatabase(clusterUrl, name)
  const plain = Object.assign(new URL(ownerUrl), { username: `${name}_owner`, password: 'fake' })
  const urls = await migrateDatabase(plain.href, await findMigrations())
  const database = openDatabase({ urls, onError: () => {} })
  test.after(async () => {
    await database.close()
    await dropDatabase(clusterUrl, name, urls)
    await onCluster(clusterUrl, (owner) => owner.query(`drop role ${name}_owner`))
  })
  return { database, urls, ownerUrl }
}

function prepare(ownerUrl: string): Promise<DatabaseUrls> {
  return onCluster(ownerUrl, (owner) => prepareRoles(owner, ownerUrl))
}

async function dropDatabase(clusterUrl: string, name: string, urls: DatabaseUrls): Promise<void> {
  await onCluster(clusterUrl, async (owner) => {
    await owner.query(`drop database ${name} with (force)`)
    for (const url of Object.values<string>({ ...urls })) {
      await owner.query(
        `drop role ${pg.escapeIdentifier(decodeURIComponent(new URL(url).username).split('.')[0] ?? '')}`,
      )
    }
  })
}

async function onCluster<Result>(url: string, work: (owner: pg.Client) => Promise<Result>): Promise<Result> {
  const owner = new pg.Client({ connectionString: url })
  await owner.connect()
  try {
    return await work(owner)
  } finally {
    await owner.end()
  }
}

function withDatabase(clusterUrl: string, name: string): string {
  const url = new URL(clusterUrl)
  url.pathname = `/${name}`
  return url.href
}

const server = new URL('../../', import.meta.url)
/** What other modules' migrations build on, in this order. */
const spine = ['core', 'tenants', 'jobs', 'connections', 'webhooks/inbound', 'webhooks/outbound']

async function findMigrations(): Promise<MigrationSource[]> {
  const folders = await readdir(server, { recursive: true })
  const modules = folders
    .flatMap((path) => /^((?:webhooks\/)?\w+)\/migrations$/.exec(path)?.[1] ?? [])
    .toSorted()
  const ordered = new Set([...spine.filter((module) => modules.includes(module)), ...modules])
  return [...ordered].map((module) => ({ module, folder: new URL(`${module}/migrations/`, server) }))
}
