import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import { PipeError } from './errors.ts'
import type { DatabaseUrls } from './database.ts'
import { prepareRoles } from './roles.ts'

export interface MigrationSource {
  module: string
  folder: URL
}

/**
 * Brings the database up to this release: roles, then each module's numbered SQL files in order, each in a
 * transaction of its own. Safe to run from several processes at once and again at every start.
 * @throws PipeError `migration_changed` when a file that was already applied has been edited.
 */
export async function migrateDatabase(
  ownerUrl: string,
  sources: readonly MigrationSource[],
): Promise<DatabaseUrls> {
  const owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
  try {
    const urls = await prepareRoles(owner, ownerUrl)
    await owner.query('select pg_advisory_lock(715002)')
    await owner.query('create schema if not exists pipecore')
    await owner.query('set search_path = pipecore')
    await owner.query('grant usage on schema pipecore to pipecore_app, pipecore_system')
    await owner.query(`create table if not exists migrations (
      module text not null, name text not null, checksum text not null, applied_at timestamptz not null default now(),
      primary key (module, name))`)
    for (const source of sources) await applyModule(owner, source)
    return urls
  } finally {
    await owner.end()
  }
}

async function applyModule(owner: pg.Client, source: MigrationSource): Promise<void> {
  const applied = await owner.query<{ name: string; checksum: string }>(
    'select name, checksum from migrations where module = $1',
    [source.module],
  )
  const checksums = new Map(applied.rows.map((row) => [row.name, row.checksum]))
  const files = (await readdir(source.folder)).filter((name) => name.endsWith('.sql')).toSorted()
  for (const name of files) {
    const text = await readFile(new URL(name, source.folder), 'utf8')
    const checksum = createHash('sha256').update(text).digest('hex')
    const known = checksums.get(name)
    if (known === checksum) continue
    if (known !== undefined) {
      throw new PipeError(
        'migration_changed',
        500,
        `${source.module}/migrations/${name} was edited after it was applied. Put it back and add a new file.`,
      )
    }
    await applyFile(owner, source.module, name, checksum, text)
  }
}

async function applyFile(
  owner: pg.Client,
  module: string,
  name: string,
  checksum: string,
  text: string,
): Promise<void> {
  await owner.query('begin')
  try {
    await owner.query('insert into migrations (module, name, checksum) values ($1, $2, $3)', [
      module,
      name,
      checksum,
    ])
    await owner.query(text)
    await owner.query('commit')
  } catch (error) {
    await owner.query('rollback')
    throw new PipeError('migration_failed', 500, `${module}/migrations/${name} could not be applied.`, {
      cause: error,
    })
  }
}
