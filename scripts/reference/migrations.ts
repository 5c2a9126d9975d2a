import { fileURLToPath } from 'node:url'
import { extendMigrationList, migrationList } from '../../server/testing/architecture/migrations.ts'
import { readSourceFiles } from '../../server/testing/architecture/source-file.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export async function writeMigrationList(): Promise<string> {
  const files = await readSourceFiles(root, ['server'], ['.sql', '.sha256'])
  const list = files.find(({ path }) => path === migrationList)?.text ?? ''
  return extendMigrationList(list, files)
}
