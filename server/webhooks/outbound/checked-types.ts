import type { Context } from '#core/context.ts'
import type { Database } from '#core/database.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { findEventType } from './catalog-queries.ts'
import { type CompiledSchema, compileSchema, type JsonObject } from './json-schema.ts'

/** What an event is checked against. */
export interface CheckedType {
  version: number
  schema: CompiledSchema
  /** All of the type. */
  versions: readonly number[]
  /** Of these a publish of a newer one gives a shape. */
  supported: readonly number[]
}

type Look = Promise<CheckedType | undefined>

/** How long other processes may go on with what this one has changed. */
const believedForMs = 2_000
const recentTypes = new WeakMap<Database, Recent<string, Look>>()
const compiled = createRecent<string, CompiledSchema>({ most: 1_000, forMs: 60 * 60_000 })

/** What an event of this type is checked against; undefined when the product has registered no such type. */
export function findCheckedType(
  { database }: Context,
  productId: string,
  name: string,
  version?: number,
): Look {
  const types = recentTypesOf(database)
  const key = typeKey(productId, name, version)
  const known = types.get(key)
  if (known !== undefined) return known
  const look = readCheckedType(database, productId, name, version)
  types.set(key, look)
  void look.then(
    (type) => type === undefined && types.forget(key),
    () => types.forget(key),
  )
  return look
}

async function readCheckedType(
  database: Database,
  productId: string,
  name: string,
  version: number | undefined,
): Look {
  const row = await findEventType(database.system, productId, name, version)
  if (row === undefined) return undefined
  const schema = compiled.get(row.schema) ?? compileSchema(JSON.parse(row.schema) as JsonObject)
  compiled.set(row.schema, schema)
  return { version: row.version, schema, versions: row.versions, supported: row.supported_versions }
}

function recentTypesOf(database: Database): Recent<string, Look> {
  const types = recentTypes.get(database) ?? createRecent({ most: 10_000, forMs: believedForMs })
  recentTypes.set(database, types)
  return types
}

/** What this process has changed it does not go on believing. */
export function forgetType(
  database: Database,
  productId: string,
  name: string,
  versions: readonly number[],
): void {
  for (const version of [undefined, ...versions]) {
    recentTypesOf(database).forget(typeKey(productId, name, version))
  }
}

function typeKey(productId: string, name: string, version: number | undefined): string {
  return `${productId} ${name} ${version ?? 'newest'}`
}
