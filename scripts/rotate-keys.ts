import pg from 'pg'
import { rotateDataKeys } from '#tenants'
import { loadConfig } from '../server/core/config.ts'
import { type DatabaseUrls, openDatabase } from '../server/core/database.ts'
import { PipeError } from '../server/core/errors.ts'
import { prepareRoles } from '../server/core/roles.ts'
import { provideMasterKeys } from '../server/core/startup.ts'
import { providerIds } from '../server/modules.ts'
import { reachDatabase } from './running-database.ts'

/**
 * Puts every data key under PIPECORE_MASTER_KEY, beside running servers. These must have been started with the
 * new key and PIPECORE_MASTER_KEY_PREVIOUS before, or they make data keys under the old one meanwhile.
 */
async function rotateKeys(): Promise<number> {
  const config = loadConfig(process.env, providerIds)
  const reached = await reachDatabase(config)
  try {
    const masterKeys = await provideMasterKeys(config)
    const database = openDatabase({ urls: await findLogins(reached.url), onError: () => {} })
    try {
      const left = await rotateDataKeys(database, masterKeys, (count) =>
        process.stdout.write(`Data keys left under another master key: ${count}\n`),
      )
      if (left > 0) process.stderr.write('Some were in use by another rotation. Run it again.\n')
      return left === 0 ? 0 : 1
    } finally {
      await database.close()
    }
  } finally {
    await reached.release()
  }
}

async function findLogins(ownerUrl: string): Promise<DatabaseUrls> {
  const owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
  try {
    return await prepareRoles(owner, ownerUrl)
  } finally {
    await owner.end()
  }
}

try {
  process.exitCode = await rotateKeys()
} catch (error) {
  process.stderr.write(`${error instanceof PipeError ? error.message : String(error)}\n`)
  process.exitCode = 1
}
