import { checksumOf } from '#core/migrate.ts'
import type { SourceFile } from './source-file.ts'

/** Every migration with its checksum, as `sha256sum` writes them, by paths from `server/`. */
export const migrationList = 'server/migrations.sha256'

/** Somebody's database has what is listed: it refuses to start with a migration that is not the one it applied. */
export function migrationsStay(files: readonly SourceFile[], committed: string): string[] {
  const own = files.find(({ path }) => path === migrationList)?.text
  const listed = readList(own ?? committed)
  const migrations = listMigrations(files)
  const missing = own === undefined ? [] : [...listed.keys()].filter((path) => !migrations.has(path))
  const changed = [...migrations].flatMap(([path, checksum]) => {
    if (!listed.has(path)) return [`${path} is not in ${migrationList}: npm run generate adds it`]
    return listed.get(path) === checksum ? [] : [`${path} was edited after it was listed${advice}`]
  })
  return [...missing.map((path) => `${path} is gone, but listed${advice}`), ...changed]
}

const advice = ': put it back as it was; what is to change goes into a new file with the next number'

/** The list with what is new; a line that it has stays, whatever became of the file. */
export function extendMigrationList(list: string, files: readonly SourceFile[]): string {
  const all = [...new Map([...listMigrations(files), ...readList(list)])]
  const sorted = all.toSorted(([left], [right]) => (left < right ? -1 : 1))
  return sorted.map(([path, checksum]) => `${checksum}  ${path.slice('server/'.length)}\n`).join('')
}

function listMigrations(files: readonly SourceFile[]): Map<string, string> {
  const migrations = files.filter(({ path }) => path.endsWith('.sql'))
  return new Map(migrations.map(({ path, text }) => [path, checksumOf(text)]))
}

function readList(list: string): Map<string, string> {
  const lines = list.split('\n').filter((line) => line !== '')
  return new Map(lines.map((line) => [`server/${line.slice(66)}`, line.slice(0, 64)]))
}
