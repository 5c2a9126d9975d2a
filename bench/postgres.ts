import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../server/core/postgres/embedded-postgres.ts'
import { readCpu, readPostmasterId } from './cpu.ts'

export interface Cluster {
  /** The URL of a new, empty database, as superuser. */
  createDatabase(name: string): Promise<string>
  /** The same, as a login that owns it and nothing else. */
  createRivalDatabase(name: string): Promise<string>
  /** Of the databases that were created, as superuser. */
  listDatabaseUrls(): Promise<string[]>
  /** What the whole cluster has spent since it started. */
  readSpent(): Promise<Spent>
  readCpu(): Promise<number>
  close(): Promise<void>
}

export interface Spent {
  /** Seconds of all its processes. */
  cpu: number
  walBytes: number
  /** Of everybody but the bench itself, beginnings and commits included; NaN without counting. */
  statements: number
}

/** A durable PostgreSQL of its own, as `npm start` brings it along; counting statements costs a little. */
export async function startCluster({ counting }: { counting: boolean }): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-bench-'))
  const settings = counting ? countingSettings : {}
  const postgres = await startEmbeddedPostgres({ folder, settings })
  const pool = new pg.Pool({ connectionString: postgres.url, max: 2 })
  if (counting) await pool.query('create extension if not exists pg_stat_statements')
  const urlOf = (name: string) => {
    const url = new URL(postgres.url)
    url.pathname = `/${name}`
    return url
  }
  const createDatabase = async (name: string, login?: { user: string; password: string }) => {
    const owner = login === undefined ? '' : `owner ${pg.escapeIdentifier(login.user)}`
    await pool.query(`create database ${pg.escapeIdentifier(name)} ${owner}`)
    return Object.assign(
      urlOf(name),
      login === undefined ? {} : { username: login.user, password: login.password },
    ).href
  }
  const postmasterId = await readPostmasterId(postgres.dataFolder)
  return {
    createDatabase: (name) => createDatabase(name),
    async createRivalDatabase(name) {
      const login = { user: name, password: randomBytes(16).toString('hex') }
      await pool.query(`create role ${pg.escapeIdentifier(name)} login password '${login.password}'`)
      return createDatabase(name, login)
    },
    async listDatabaseUrls() {
      const { rows } = await pool.query<{ name: string }>(
        'select datname as name from pg_database where datname <> current_database() and not datistemplate',
      )
      return rows.map(({ name }) => urlOf(name).href)
    },
    async readSpent() {
      const { rows } = await pool.query<{ wal: string; calls: string }>(
        counting ? readingsAndCalls : readings,
      )
      const [row] = rows
      const [walBytes, statements] = [Number(row?.wal), Number(row?.calls)]
      return { cpu: await readCpu(postmasterId), walBytes, statements }
    },
    readCpu: () => readCpu(postmasterId),
    async close() {
      await pool.end()
      await postgres.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const countingSettings = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.max': '20000',
  'pg_stat_statements.track': 'top',
}

const readings = `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal`
// PostgreSQL checks foreign keys by statements of its own, which nobody sent.
const readingsAndCalls = `${readings},
  (select coalesce(sum(calls), 0) from pg_stat_statements
   where userid <> current_user::regrole and query not like '% FOR KEY SHARE OF x') as calls`

export function spentBetween(before: Spent, after: Spent): Spent {
  return {
    cpu: after.cpu - before.cpu,
    walBytes: after.walBytes - before.walBytes,
    statements: after.statements - before.statements,
  }
}
