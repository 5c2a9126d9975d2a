import { randomBytes } from 'node:crypto'
import pg from 'pg'

export type Row = Record<string, unknown>

/**
 * A database in the cluster that `npm test` brings; answers the superuser's URL. PipeCore's tables are in it already
 * unless it is made from `template0`.
 */
export async function createDatabase(
  template = process.env.PIPECORE_TEST_TEMPLATE ?? 'template0',
): Promise<string> {
  const clusterUrl = findCluster()
  const name = `acceptance_${randomBytes(6).toString('hex')}`
  await queryDatabase(clusterUrl, `create database ${name} template ${pg.escapeIdentifier(template)}`)
  const url = new URL(clusterUrl)
  url.pathname = `/${name}`
  return url.href
}

/** Drops it together with the logins that PipeCore made for it. */
export async function dropDatabase(url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1)
  await queryDatabase(findCluster(), `drop database ${name} with (force)`)
  for (const group of ['pipecore_app', 'pipecore_system', 'pipecore_upkeep']) {
    await queryDatabase(findCluster(), `drop role if exists ${group}_${name}`)
  }
}

function findCluster(): string {
  const url = process.env.PIPECORE_TEST_DATABASE_URL
  if (url === undefined) throw new Error('PIPECORE_TEST_DATABASE_URL is not set: use npm test.')
  return url
}

/** One statement over a connection of its own, as superuser, in PipeCore's schema. */
export async function queryDatabase(url: string, sql: string, values: unknown[] = []): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, options: '-c search_path=pipecore,public' })
  await client.connect()
  try {
    return (await client.query<Row>(sql, values)).rows
  } finally {
    await client.end()
  }
}
