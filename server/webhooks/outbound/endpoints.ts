import type { Kysely } from 'kysely'
import { endpointUrlProblem } from '#core/address-guard.ts'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import type { EventType } from '#core/module.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { changeSeries } from '#jobs'
import { type Caller, openSecret, requireProduct, scopeFor, type SecretCell, sealSecret } from '#tenants'
import { filterColumns } from './filters/queries.ts'
import { catchUpLimitsOf, limitsOf } from './health.ts'
import { publicKeysOf } from './keys/keys.ts'
import {
  deleteHealth,
  type EndpointRow,
  findEndpoint,
  findHealth,
  type HealthRow,
  insertEndpoint,
  listEndpoints,
  lockEndpoint,
  updateEndpoint,
} from './queries.ts'
import type { Endpoint, EndpointChange, EndpointWithSecret, NewEndpoint, Rotation } from './schema.ts'
import { createEndpointSecret, publicKeyOf, type SigningScheme } from './signing.ts'
import { changePins, requirePinnable } from './versions/pins.ts'

const defaultOverlapHours = 24

type SecretColumn = 'sealed_headers' | 'sealed_secret' | 'sealed_previous_secret'

/** The answer is the only place where the signing secret ever stands. */
export async function createEndpoint(
  context: Context,
  caller: Caller,
  input: NewEndpoint,
  types: readonly EventType[],
): Promise<EndpointWithSecret> {
  requireUsableUrl(context, input.url)
  const owner = await ownerOf(context, caller, input)
  const id = createId('end', context.now())
  const secret = createEndpointSecret(input.signing)
  return context.database.asSystem(async (db) => {
    await requirePinnable(db, owner.productId, input.versions, types)
    const place = { id, product_id: owner.productId, tenant_id: owner.tenantId }
    const row = await insertEndpoint(db, {
      ...place,
      url: input.url,
      events: input.events,
      ...filterColumns(input.filter),
      versions: JSON.stringify(input.versions),
      ordered: input.ordered,
      max_in_flight: input.max_in_flight,
      max_per_second: input.max_per_second,
      sealed_secret: await sealSecret(context, db, cellOf(place, 'sealed_secret'), secret),
      sealed_headers: await sealHeaders(context, db, place, input.headers),
      sealed_previous_secret: null,
      previous_secret_expires_at: null,
      public_key: publicKeyOf(secret),
      previous_public_key: null,
      disabled_reason: null,
    })
    if (input.max_in_flight !== null || input.max_per_second !== null)
      await changeSeries(db, row.id, limitsOf(row))
    return { ...(await presentEndpoint(context, db, row)), secret: shownSecret(secret) }
  })
}

export async function getEndpoints(
  context: Context,
  caller: Caller,
  query: {
    limit: number
    cursor?: string | undefined
    tenant_id?: string | undefined
    product_id?: string | undefined
  },
): Promise<Page<Endpoint>> {
  if (query.tenant_id !== undefined) await scopeFor(context, caller, query.tenant_id, '')
  if (query.product_id !== undefined) await requireProduct(context, caller, query.product_id)
  const productId = caller.kind === 'admin' ? query.product_id : caller.productId
  const tenantId = caller.kind === 'tenant' ? caller.tenantId : query.tenant_id
  const after = decodeCursor(query.cursor)
  return context.database.asSystem(async (db) => {
    const rows = await listEndpoints(db, {
      ...(productId !== undefined && { productId }),
      ...(tenantId !== undefined && { tenantId }),
      ...(after !== undefined && { after }),
      limit: query.limit + 1,
    })
    const headers = new Map<string, string[]>()
    for (const row of rows) headers.set(row.id, await headerNames(context, db, row))
    const found = await findHealth(
      db,
      rows.map(({ id }) => id),
    )
    const health = new Map(found.map((one) => [one.endpoint_id, one]))
    return toPage(rows, query.limit, (row) =>
      present(row, headers.get(row.id) ?? [], health.get(row.id), context.now()),
    )
  })
}

/** @throws PipeError 404 also when this caller may not know of it */
export async function requireEndpoint(context: Context, caller: Caller, id: string): Promise<EndpointRow> {
  const row = await findEndpoint(context.database.system, id)
  const visible =
    row !== undefined &&
    (caller.kind === 'admin' ||
      (caller.kind === 'product' && row.product_id === caller.productId) ||
      (caller.kind === 'tenant' && row.tenant_id === caller.tenantId))
  if (!visible) throw notFound('endpoint', id)
  return row
}

export async function getEndpoint(context: Context, caller: Caller, id: string): Promise<Endpoint> {
  const row = await requireEndpoint(context, caller, id)
  return presentEndpoint(context, context.database.system, row)
}

export async function changeEndpoint(
  context: Context,
  caller: Caller,
  id: string,
  change: EndpointChange,
  types: readonly EventType[],
): Promise<Endpoint> {
  const { product_id: productId } = await requireEndpoint(context, caller, id)
  if (change.url !== undefined) requireUsableUrl(context, change.url)
  return context.database.asSystem(async (db) => {
    if (change.versions !== undefined) await requirePinnable(db, productId, change.versions, types)
    const known = await lockEndpoint(db, id)
    if (known === undefined) throw notFound('endpoint', id)
    requireHeadersFor(known, change)
    const row = await updateEndpoint(db, id, {
      ...(change.url !== undefined && { url: change.url }),
      ...(change.events !== undefined && { events: change.events }),
      ...(change.filter !== undefined && filterColumns(change.filter)),
      ...(change.versions !== undefined && {
        versions: JSON.stringify(changePins(known.versions, change.versions)),
      }),
      ...(change.headers !== undefined && {
        sealed_headers: await sealHeaders(context, db, known, change.headers),
      }),
      ...(change.active !== undefined && { active: change.active, disabled_reason: null }),
      ...(change.ordered !== undefined && { ordered: change.ordered }),
      ...(change.max_in_flight !== undefined && { max_in_flight: change.max_in_flight }),
      ...(change.max_per_second !== undefined && { max_per_second: change.max_per_second }),
      updated_at: context.now(),
    })
    if (row === undefined) throw notFound('endpoint', id)
    await applyToSeries(db, row, change)
    return presentEndpoint(context, db, row)
  })
}

/** Whoever changes limits, moves an endpoint or switches it on again begins anew with it. */
async function applyToSeries(db: Kysely<Tables>, row: EndpointRow, change: EndpointChange): Promise<void> {
  const isNew = change.active === true || change.url !== undefined
  const [health] = await findHealth(db, [row.id])
  // What is left alone stays so; its limits are set when it recovers.
  if (!isNew && health?.state === 'open') return
  if (isNew) await deleteHealth(db, row.id)
  if (isNew) await changeSeries(db, row.id, { pausedUntil: null, ...limitsOf(row) })
  else if (change.max_in_flight !== undefined || change.max_per_second !== undefined)
    await changeSeries(db, row.id, health?.state === 'catching_up' ? catchUpLimitsOf(row) : limitsOf(row))
}

/** Headers may hold a credential that the caller was never shown: they do not follow to another origin by themselves. */
function requireHeadersFor(known: EndpointRow, change: EndpointChange): void {
  const moves = change.url !== undefined && new URL(change.url).origin !== new URL(known.url).origin
  if (!moves || known.sealed_headers === null || change.headers !== undefined) return
  throw invalidRequest('The URL moves to another origin: give the headers again, or null to drop them.', [
    { field: 'headers', message: 'are needed beside a URL of another origin' },
  ])
}

export async function deleteEndpoint(context: Context, caller: Caller, id: string): Promise<void> {
  await requireEndpoint(context, caller, id)
  const now = context.now()
  await context.database.asSystem(async (db) => {
    await updateEndpoint(db, id, { active: false, deleted_at: now, updated_at: now })
    // What still waits for it is given up without its limits.
    const unlimited = limitsOf({ max_in_flight: null, max_per_second: null })
    await changeSeries(db, id, { pausedUntil: null, ...unlimited })
  })
}

/**
 * From now on both secrets sign, until the overlap ends; they may be of different schemes.
 * @throws PipeError `rotation_under_way` (409) while an earlier overlap runs: its old secret would stop too soon
 */
export async function rotateEndpointSecret(
  context: Context,
  caller: Caller,
  id: string,
  rotation: Rotation,
): Promise<EndpointWithSecret> {
  await requireEndpoint(context, caller, id)
  const overlapHours = rotation?.overlap_hours ?? defaultOverlapHours
  const now = context.now()
  return context.database.asSystem(async (db) => {
    const known = await lockEndpoint(db, id)
    if (known === undefined) throw notFound('endpoint', id)
    const overlaps = known.previous_secret_expires_at !== null && known.previous_secret_expires_at > now
    // Without an overlap everything older is to stop now: what one does with a leaked secret.
    if (overlaps && overlapHours > 0) {
      const until = known.previous_secret_expires_at?.toISOString()
      throw new PipeError(
        'rotation_under_way',
        409,
        `The secret was rotated already; both sign until ${until}. Rotate again then.`,
      )
    }
    const secret = createEndpointSecret(rotation?.signing ?? schemeOf(known))
    const previous = await openSecret(context, db, cellOf(known, 'sealed_secret'), known.sealed_secret)
    const row = await updateEndpoint(db, id, {
      sealed_secret: await sealSecret(context, db, cellOf(known, 'sealed_secret'), secret),
      sealed_previous_secret: await sealSecret(
        context,
        db,
        cellOf(known, 'sealed_previous_secret'),
        previous,
      ),
      public_key: publicKeyOf(secret),
      previous_public_key: known.public_key,
      previous_secret_expires_at: new Date(now.getTime() + overlapHours * 60 * 60 * 1000),
      updated_at: now,
    })
    if (row === undefined) throw notFound('endpoint', id)
    return { ...(await presentEndpoint(context, db, row)), secret: shownSecret(secret) }
  })
}

function schemeOf(row: EndpointRow): SigningScheme {
  return row.public_key === null ? 'hmac' : 'ed25519'
}

/** A private key is for signing only: nobody else needs it. */
function shownSecret(secret: string): string | null {
  return publicKeyOf(secret) === null ? secret : null
}

export interface OpenEndpoint {
  id: string
  url: string
  /** The current one first; the previous one while it overlaps. */
  secrets: string[]
  headers: Record<string, string>
}

export async function openEndpoint(context: Context, row: EndpointRow): Promise<OpenEndpoint> {
  const db = context.database.system
  const secrets = [await openSecret(context, db, cellOf(row, 'sealed_secret'), row.sealed_secret)]
  const overlaps = row.previous_secret_expires_at !== null && row.previous_secret_expires_at > context.now()
  if (overlaps && row.sealed_previous_secret !== null) {
    secrets.push(
      await openSecret(context, db, cellOf(row, 'sealed_previous_secret'), row.sealed_previous_secret),
    )
  }
  return { id: row.id, url: row.url, secrets, headers: await openHeaders(context, db, row) }
}

function requireUsableUrl(context: Context, url: string): void {
  const problem = endpointUrlProblem(url, { allowPrivateAddresses: context.config.allowPrivateEndpoints })
  if (problem !== undefined) {
    throw invalidRequest(`Events can not be sent to this URL: ${problem}`, [
      { field: 'url', message: problem },
    ])
  }
}

async function ownerOf(
  context: Context,
  caller: Caller,
  input: NewEndpoint,
): Promise<{ productId: string; tenantId: string | null }> {
  if (input.tenant_id !== undefined) {
    const scope = await scopeFor(context, caller, input.tenant_id, '')
    return { productId: scope.productId, tenantId: scope.tenantId }
  }
  const productId = input.product_id ?? ''
  await requireProduct(context, caller, productId)
  return { productId, tenantId: null }
}

type Place = Pick<EndpointRow, 'id' | 'product_id' | 'tenant_id'>

function cellOf(place: Place, column: SecretColumn): SecretCell {
  const owner =
    place.tenant_id === null
      ? (`product:${place.product_id}` as const)
      : (`tenant:${place.tenant_id}` as const)
  return { owner, table: 'endpoints', row: place.id, column }
}

async function sealHeaders(
  context: Context,
  db: Kysely<Tables>,
  place: Place,
  headers: Record<string, string> | null | undefined,
): Promise<string | null> {
  if (headers === null || headers === undefined) return null
  return sealSecret(context, db, cellOf(place, 'sealed_headers'), JSON.stringify(headers))
}

async function openHeaders(
  context: Context,
  db: Kysely<Tables>,
  row: EndpointRow,
): Promise<Record<string, string>> {
  if (row.sealed_headers === null) return {}
  return JSON.parse(
    await openSecret(context, db, cellOf(row, 'sealed_headers'), row.sealed_headers),
  ) as Record<string, string>
}

async function headerNames(context: Context, db: Kysely<Tables>, row: EndpointRow): Promise<string[]> {
  return Object.keys(await openHeaders(context, db, row))
}

async function presentEndpoint(context: Context, db: Kysely<Tables>, row: EndpointRow): Promise<Endpoint> {
  const [health] = await findHealth(db, [row.id])
  return present(row, await headerNames(context, db, row), health, context.now())
}

function present(row: EndpointRow, names: string[], health: HealthRow | undefined, now: Date): Endpoint {
  return {
    id: row.id,
    product_id: row.product_id,
    tenant_id: row.tenant_id,
    url: row.url,
    events: row.events,
    filter: JSON.parse(row.filter ?? 'null') as Endpoint['filter'],
    versions: row.versions,
    signing: schemeOf(row),
    public_keys: publicKeysOf(row, now),
    header_names: names,
    active: row.active,
    disabled_reason: row.disabled_reason,
    ordered: row.ordered,
    max_in_flight: row.max_in_flight,
    max_per_second: row.max_per_second,
    health: {
      state: health?.state ?? 'healthy',
      failures_in_a_row: health?.failures ?? 0,
      failing_since: health?.failing_since?.toISOString() ?? null,
      next_probe_at: health?.paused_until?.toISOString() ?? null,
      last_error: health?.last_error ?? null,
    },
    previous_secret_expires_at: row.previous_secret_expires_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
