import type { Kysely } from 'kysely'
import type { Tables } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { createTraceId } from '#core/trace.ts'
import type { EventTypeRow } from '../catalog-queries.ts'
import { recordRows, toEventRow } from '../events.ts'
import { listSupported, lockPinning, type PinningEndpoint, removePins, saveSupport } from './queries.ts'
import { mostOlder } from './schema.ts'

/** Every event has to give all of them. @throws PipeError `too_many_supported` (409) */
export async function requireRoomToSupport(
  db: Kysely<Tables>,
  productId: string,
  name: string,
  version: number,
): Promise<void> {
  const others = (await listSupported(db, productId, name)).filter((one) => one !== version)
  if (others.length < mostOlder) return
  throw new PipeError(
    'too_many_supported',
    409,
    `${name} has ${mostOlder} supported versions; withdraw one first with "supported": false.`,
  )
}

/** A version that is no longer supported leaves no endpoint behind that waits for it. */
export async function changeSupport(
  db: Kysely<Tables>,
  row: EventTypeRow,
  versions: readonly number[],
  now: Date,
): Promise<void> {
  const { product_id: productId, name, version, supported } = row
  if (supported) await requireRoomToSupport(db, productId, name, version)
  await saveSupport(db, row)
  if (!supported) await withdrawPins(db, { productId, name, versions: [version] }, Math.max(...versions), now)
}

export interface Withdrawn {
  productId: string
  name: string
  versions: readonly number[]
}

const mostPerStatement = 500

/** Endpoints that pin what is withdrawn are sent what is published from now on, and their owners are told. */
export async function withdrawPins(
  db: Kysely<Tables>,
  { productId, name, versions }: Withdrawn,
  newest: number | null,
  now: Date,
): Promise<void> {
  const endpoints = await lockPinning(db, productId, name, versions)
  for (let first = 0; first < endpoints.length; first += mostPerStatement) {
    const some = endpoints.slice(first, first + mostPerStatement)
    await removePins(
      db,
      some.map(({ id }) => id),
      name,
      now,
    )
    const events = some.map((endpoint) => toNotice(endpoint, { name, newest }, now))
    await recordRows(db, events, now)
  }
}

function toNotice(
  endpoint: PinningEndpoint,
  { name, newest }: { name: string; newest: number | null },
  now: Date,
) {
  const scope = {
    tenantId: endpoint.tenant_id ?? '',
    productId: endpoint.product_id,
    traceId: createTraceId(),
  }
  const data = {
    // A product's endpoint has none.
    tenant_id: endpoint.tenant_id,
    endpoint_id: endpoint.id,
    url: endpoint.url,
    type: name,
    version: endpoint.pinned,
    newest_version: newest,
  }
  const event = { type: 'endpoint.version_withdrawn', entity: endpoint.id, occurredAt: now, data }
  return toEventRow(scope, event, now)
}
