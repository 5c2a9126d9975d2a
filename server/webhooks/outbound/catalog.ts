import { isDeepStrictEqual } from 'node:util'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import type { EventType } from '#core/module.ts'
import { wakeWork } from '#jobs'
import { type Caller, requireProduct } from '#tenants'
import {
  countEventTypes,
  deleteEventTypes,
  describeEventType,
  type EventTypeRow,
  findEventType,
  insertEventType,
  listEventTypes,
  listVersions,
} from './catalog-queries.ts'
import { forgetType } from './checked-types.ts'
import { findSchemaFaults, type JsonObject } from './json-schema.ts'
import type { CatalogDetail, CatalogEntry, NewEventType } from './schema.ts'
import { changeSupport, requireRoomToSupport, withdrawPins } from './versions/support.ts'

const mostVersions = 500
/** Of events that PipeCore is going to have. */
const keptNouns = ['endpoint', 'alert']

export function nounsOf(types: readonly EventType[]): ReadonlySet<string> {
  return new Set([...types.map(({ name }) => nounOf(name)), ...keptNouns])
}

function nounOf(type: string): string {
  return type.slice(0, type.indexOf('.'))
}

/**
 * Registers a version of a product's own type.
 * @throws PipeError `version_exists` (409) when it is there with another schema
 */
export async function saveEventType(
  context: Context,
  caller: Caller,
  name: string,
  input: NewEventType,
  ownNouns: ReadonlySet<string>,
): Promise<{ entry: CatalogEntry; isNew: boolean }> {
  const productId = await requireOwnProduct(context, caller, input.product_id)
  if (ownNouns.has(nounOf(name))) {
    throw invalidRequest(`Events of ${nounOf(name)} are PipeCore's own; use another noun.`, [
      { field: 'type', message: 'begins with a noun of PipeCore' },
    ])
  }
  const faults = findSchemaFaults(input.schema)
  if (faults.length > 0) throw invalidRequest('The schema can not be used; see errors.', faults)
  const { system } = context.database
  if ((await countEventTypes(system, productId)) >= mostVersions) {
    throw new PipeError(
      'catalog_full',
      409,
      `The catalogue of a product holds ${mostVersions} versions; delete a type first.`,
    )
  }
  const made = await context.database.asSystem(async (db) => {
    if (input.supported === true) await requireRoomToSupport(db, productId, name, input.version)
    return insertEventType(db, {
      product_id: productId,
      name,
      version: input.version,
      description: input.description ?? '',
      schema: JSON.stringify(input.schema),
      supported: input.supported ?? false,
      created_at: context.now(),
    })
  })
  const entry = made === undefined ? await saveAgain(context, productId, name, input) : present(made)
  forgetType(context.database, productId, name, await listVersions(system, productId, name))
  return { entry, isNew: made !== undefined }
}

/** What may change of a version. */
async function saveAgain(
  context: Context,
  productId: string,
  name: string,
  input: NewEventType,
): Promise<CatalogEntry> {
  const entry = await context.database.asSystem((db) =>
    changeVersion(db, productId, name, input, context.now()),
  )
  wakeWork('delivery')
  return entry
}

async function changeVersion(
  db: Kysely<Tables>,
  productId: string,
  name: string,
  { version, schema, description, supported }: NewEventType,
  now: Date,
): Promise<CatalogEntry> {
  const known = await findEventType(db, productId, name, version)
  if (known === undefined) throw notFound('event_type', name)
  if (!isDeepStrictEqual(JSON.parse(known.schema), schema)) {
    throw new PipeError(
      'version_exists',
      409,
      `Version ${version} of ${name} is there with another schema. Register the next version.`,
      { errors: [{ field: 'version', message: 'is taken' }] },
    )
  }
  const changed = {
    ...known,
    description: description ?? known.description,
    supported: supported ?? known.supported,
  }
  if (changed.description !== known.description) await describeEventType(db, known, changed.description)
  if (changed.supported !== known.supported) await changeSupport(db, changed, known.versions, now)
  return present(changed)
}

export async function getEventTypes(
  context: Context,
  caller: Caller,
  productId: string | undefined,
  ours: readonly CatalogEntry[],
): Promise<CatalogEntry[]> {
  const product = await readableProduct(context, caller, productId)
  const rows = product === undefined ? [] : await listEventTypes(context.database.system, product)
  const newest = ours.filter((entry, index) => ours.findIndex(({ name }) => name === entry.name) === index)
  return [...newest, ...rows.map(present)]
}

/** @throws PipeError 404 */
export async function getEventType(
  context: Context,
  caller: Caller,
  wanted: { name: string; version?: number | undefined; product_id?: string | undefined },
  ours: readonly CatalogEntry[],
): Promise<CatalogDetail> {
  const product = await readableProduct(context, caller, wanted.product_id)
  const { name, version } = wanted
  const own = ours.filter((entry) => entry.name === name)
  const mine = own.find((entry) => version === undefined || entry.version === version)
  if (mine !== undefined) {
    const versions = own.map((entry) => entry.version).toReversed()
    return { ...mine, versions, supported_versions: versions }
  }
  const { system } = context.database
  const row = product === undefined ? undefined : await findEventType(system, product, name, version)
  if (row === undefined) throw notFound('event_type', name)
  return { ...present(row), versions: row.versions, supported_versions: row.supported_versions }
}

/** With all its versions. */
export async function deleteEventType(
  context: Context,
  caller: Caller,
  name: string,
  productId: string | undefined,
): Promise<void> {
  const product = await requireOwnProduct(context, caller, productId)
  const now = context.now()
  const versions = await context.database.asSystem(async (db) => {
    const deleted = await deleteEventTypes(db, product, name)
    await withdrawPins(db, { productId: product, name, versions: deleted }, null, now)
    return deleted
  })
  if (versions.length === 0) throw notFound('event_type', name)
  forgetType(context.database, product, name, versions)
  wakeWork('delivery')
}

async function readableProduct(
  context: Context,
  caller: Caller,
  productId: string | undefined,
): Promise<string | undefined> {
  if (caller.kind === 'admin') {
    if (productId !== undefined) await requireProduct(context, caller, productId)
    return productId
  }
  if (productId !== undefined && productId !== caller.productId) throw notFound('product', productId)
  return caller.productId
}

async function requireOwnProduct(
  context: Context,
  caller: Caller,
  productId: string | undefined,
): Promise<string> {
  if (productId !== undefined) {
    await requireProduct(context, caller, productId)
    return productId
  }
  if (caller.kind === 'product') return caller.productId
  if (caller.kind === 'admin') {
    throw invalidRequest('Name the product whose type it is.', [
      { field: 'product_id', message: 'is needed with an admin key' },
    ])
  }
  throw new PipeError('product_key_required', 403, 'Event types belong to a product: use a key of its own.')
}

function present(row: EventTypeRow): CatalogEntry {
  return {
    name: row.name,
    version: row.version,
    description: row.description,
    supported: row.supported,
    product_id: row.product_id,
    schema: JSON.parse(row.schema) as JsonObject,
  }
}

/** All its versions, the newest first. */
export function presentOurs({ name, description, older = [], ...newest }: EventType): CatalogEntry[] {
  return [newest, ...older].map(({ version, schema }) => ({
    name,
    version,
    description,
    supported: true,
    product_id: null,
    schema: z.toJSONSchema(schema) as JsonObject,
  }))
}
