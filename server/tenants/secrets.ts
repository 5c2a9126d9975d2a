import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Database } from '#core/database.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import {
  createDataKey,
  type DataKey,
  type MasterKeys,
  open,
  rewrapDataKey,
  seal,
  unwrapDataKey,
} from '#core/sealing.ts'
import {
  countDataKeysNotUnder,
  findDataKey,
  insertDataKey,
  listDataKeysNotUnder,
  replaceDataKey,
} from './queries.ts'
import type { TenantsTables } from './tables.ts'

/** Whose data key seals a secret: `tenant:tableflow_123` or `product:tableflow`. */
export type SecretOwner = `tenant:${string}` | `product:${string}`

/** The cell a secret lives in. Moved to another row, column or owner it can't be opened. */
export interface SecretCell {
  owner: SecretOwner
  table: string
  row: string
  column: string
}

type Db = Kysely<TenantsTables>

export async function sealSecret(
  context: Context,
  db: Db,
  cell: SecretCell,
  plaintext: string,
): Promise<string> {
  const known = (await findDataKey(db, cell.owner)) ?? (await makeDataKey(context.masterKeys, db, cell.owner))
  return seal(unwrapDataKey(context.masterKeys, cell.owner, known.wrapped), cell, plaintext)
}

/** @throws PipeError `secret_unreadable` when the row was moved or changed, or its owner has no key any more. */
export async function openSecret(
  context: Context,
  db: Db,
  cell: SecretCell,
  sealed: string,
): Promise<string> {
  const keys = keysOf(context.database)
  const recent = keys.get(cell.owner)
  const opened = recent && tryOpen(recent, cell, sealed)
  if (opened !== undefined) return opened
  const known = await findDataKey(db, cell.owner)
  const key = unwrapDataKey(context.masterKeys, cell.owner, known?.wrapped ?? '')
  const text = open(key, cell, sealed)
  keys.set(cell.owner, key)
  return text
}

const recentKeys = new WeakMap<Database, Recent<SecretOwner, DataKey>>()

/** To open with only: what is sealed must be sealed with the key that the database has. */
function keysOf(database: Database): Recent<SecretOwner, DataKey> {
  const known = recentKeys.get(database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  recentKeys.set(database, known)
  return known
}

/** A key whose transaction was rolled back opens nothing. */
function tryOpen(key: DataKey, cell: SecretCell, sealed: string): string | undefined {
  try {
    return open(key, cell, sealed)
  } catch {
    return undefined
  }
}

async function makeDataKey(masterKeys: MasterKeys, db: Db, owner: SecretOwner) {
  const { kekId, wrapped } = createDataKey(masterKeys, owner)
  const tenantId = owner.startsWith('tenant:') ? owner.slice('tenant:'.length) : null
  await insertDataKey(db, { owner, tenant_id: tenantId, kek_id: kekId, wrapped })
  // Another process may have been first: its key is the one that counts.
  return (await findDataKey(db, owner)) ?? { wrapped }
}

const rewrapBatch = 500

/** Re-wraps every data key that is not under the current master key. Safe beside running servers; answers how many are left. */
export async function rotateDataKeys(
  database: Database,
  masterKeys: MasterKeys,
  onProgress: (left: number) => void,
): Promise<number> {
  const kekId = masterKeys.current.id
  for (;;) {
    const done = await database.asSystem(async (db) => {
      const keys = await listDataKeysNotUnder(db, kekId, rewrapBatch)
      for (const key of keys) {
        const fresh = rewrapDataKey(masterKeys, key.owner, key.wrapped)
        await replaceDataKey(db, { owner: key.owner, kek_id: fresh.kekId, wrapped: fresh.wrapped })
      }
      return keys.length
    })
    const left = await countDataKeysNotUnder(database.system, kekId)
    onProgress(left)
    if (left === 0 || done === 0) return left
  }
}
