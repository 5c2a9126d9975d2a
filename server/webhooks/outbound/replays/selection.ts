import type { Context } from '#core/context.ts'
import { invalidRequest, notFound } from '#core/errors.ts'
import { firstIdOf } from '#core/ids.ts'
import { type Caller, requireProduct, scopesFor } from '#tenants'
import { requireEndpoint } from '../endpoints.ts'
import { type EndpointRow, listActiveEndpoints } from '../queries.ts'
import type { ReplayRow } from './queries.ts'
import { mostEndpoints, type NewReplay, type ReplayState } from './schema.ts'

/** What is looked through: the row that a replay has, before there is one. */
export type Selection = Pick<
  ReplayRow,
  'product_id' | 'tenant_id' | 'tenant_ids' | 'types' | 'states' | 'first_id' | 'end_id' | 'per_second'
>

/**
 * Turns a request into what this caller may have of it.
 * @throws PipeError 404 for what the caller may not know of; `request_invalid`
 */
export async function selectFor(
  context: Context,
  caller: Caller,
  input: NewReplay,
): Promise<{ selection: Selection; endpoints: EndpointRow[] }> {
  const productId = await productFor(context, caller, input.product_id)
  const tenantId = caller.kind === 'tenant' ? caller.tenantId : null
  await requireTenants(context, caller, productId, input.tenant_ids ?? [])
  const selection = {
    product_id: productId,
    tenant_id: tenantId,
    tenant_ids: tenantId === null ? (input.tenant_ids ?? null) : [tenantId],
    types: input.types ?? null,
    states: statesOf(input),
    ...spanOf(context, input),
    per_second: input.rate,
  }
  const endpoints =
    input.endpoint_ids === undefined
      ? await listReached(context, selection)
      : await requireEndpoints(context, caller, selection, input.endpoint_ids)
  return { selection, endpoints }
}

async function productFor(context: Context, caller: Caller, productId: string | undefined): Promise<string> {
  if (caller.kind === 'admin') {
    if (productId === undefined) {
      throw invalidRequest('Name the product whose events are meant.', [
        { field: 'product_id', message: 'is needed with an admin key' },
      ])
    }
    await requireProduct(context, caller, productId)
    return productId
  }
  if (productId !== undefined && productId !== caller.productId) throw notFound('product', productId)
  return caller.productId
}

async function requireTenants(
  context: Context,
  caller: Caller,
  productId: string,
  tenantIds: readonly string[],
): Promise<void> {
  const scopes = await scopesFor(context, caller, tenantIds, '')
  const unknown = tenantIds.find((id) => scopes.get(id)?.productId !== productId)
  if (unknown !== undefined) throw notFound('tenant', unknown)
}

const everyState: ReplayState[] = ['dead', 'pending_late', 'delivered', 'never_fanned_out']

function statesOf({ states, include_delivered: includesDelivered }: NewReplay): ReplayState[] {
  const chosen = [...new Set(states ?? everyState)].filter((state) => state !== 'delivered')
  if (includesDelivered) return [...chosen, 'delivered']
  if (chosen.length > 0) return chosen
  throw invalidRequest('Nothing would be sent: what was delivered is left out.', [
    { field: 'include_delivered', message: 'must be true to send again what was delivered' },
  ])
}

function spanOf(context: Context, { from, to }: NewReplay): Pick<Selection, 'first_id' | 'end_id'> {
  const now = context.now()
  // Ids begin with 1970.
  const start = new Date(Math.max(0, Date.parse(from)))
  const end = to === undefined ? now : new Date(Math.min(Date.parse(to), now.getTime()))
  if (start < end) return { first_id: firstIdOf('evt', start), end_id: firstIdOf('evt', end) }
  throw invalidRequest('The time span is empty.', [
    {
      field: to === undefined ? 'from' : 'to',
      message: to === undefined ? 'lies ahead' : 'must be after from',
    },
  ])
}

async function requireEndpoints(
  context: Context,
  caller: Caller,
  selection: Selection,
  ids: readonly string[],
): Promise<EndpointRow[]> {
  const endpoints: EndpointRow[] = []
  for (const [index, id] of [...new Set(ids)].entries()) {
    const endpoint = await requireEndpoint(context, caller, id)
    if (endpoint.product_id !== selection.product_id) throw notFound('endpoint', id)
    if (!endpoint.active) {
      throw invalidRequest('An endpoint is off: switch it on first, or leave it out.', [
        { field: `endpoint_ids.${index}`, message: 'is not active' },
      ])
    }
    endpoints.push(endpoint)
  }
  return endpoints
}

async function listReached(context: Context, selection: Selection): Promise<EndpointRow[]> {
  const endpoints = await listActiveEndpoints(context.database.system, {
    productId: selection.product_id,
    tenantIds: selection.tenant_ids,
    ownOnly: selection.tenant_id !== null,
    limit: mostEndpoints + 1,
  })
  if (endpoints.length > 0 && endpoints.length <= mostEndpoints) return endpoints
  const message =
    endpoints.length === 0
      ? 'names none: there is no active endpoint for these events'
      : `must name the endpoints: there are more than ${mostEndpoints}`
  throw invalidRequest('The endpoints of this replay are not clear; see errors.', [
    { field: 'endpoint_ids', message },
  ])
}
