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
  await owner.connect().catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : 'no reason given'
    const address = new URL(ownerUrl)
    throw new PipeError(
      'database_unreachable',
      500,
      `The database at ${address.host}${address.pathname} can not be used: ${reason}.`,
      { cause: error },
    )
  })
  try {
    const urls = await prepareRoles(owner, ownerUrl)
    await inTransaction(owner, async () => {
      await owner.query('grant usage on schema pipecore to pipecore_app, pipecore_system')
      await owner.query(`create table if not exists pipecore.migrations (
        module text not null, name text not null, checksum text not null, applied_at timestamptz not null default now(),
        primary key (module, name))`)
    })
    for (const source of sources) await applyModule(owner, source)
    return urls
  } finally {
    await owner.end()
  }
}

/** One at a time over all processes. Nothing outlives the transaction, so that a transaction pooler may stand between. */
async function inTransaction(owner: pg.Client, work: () => Promise<void>): Promise<void> {
  await owner.query('begin')
  try {
    await owner.query('select pg_advisory_xact_lock(715002)')
    await owner.query('set local search_path = pipecore')
    await work()
    await owner.query('commit')
  } catch (error) {
    await owner.query('rollback')
    throw error
  }
}

async function applyModule(owner: pg.Client, source: MigrationSource): Promise<void> {
  const files = (await readdir(source.folder)).filter((name) => name.endsWith('.sql')).toSorted()
  for (const name of files) {
    const text = await readFile(new URL(name, source.folder), 'utf8')
    const file = { module: source.module, name, checksum: checksumOf(text), text }
    await inTransaction(owner, () => applyFile(owner, file))
  }
}

/** By which a migration is known again: SHA-256 in hex. */
export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

interface MigrationFile {
  module: string
  name: string
  checksum: string
  text: string
}

async function applyFile(owner: pg.Client, { module, name, checksum, text }: MigrationFile): Promise<void> {
  const known = await owner.query<{ checksum: string }>(
    'select checksum from migrations where module = $1 and name = $2',
    [module, name],
  )
  const applied = known.rows[0]?.checksum
  if (applied === checksum) return
  if (applied !== undefined) {
    throw new PipeError(
      'migration_changed',
      500,
      `${module}/migrations/${name} was edited after it was applied. Put it back and add a new file.`,
    )
  }
  try {
    await owner.query(text)
  } catch (error) {
    throw new PipeError('migration_failed', 500, `${module}/migrations/${name} could not be applied.`, {
      cause: error,
    })
  }
  await owner.query('insert into migrations (module, name, checksum) values ($1, $2, $3)', [
    module,
    name,
    checksum,
  ])
}
