import type { Context } from '#core/context.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { type Caller, requireAdmin, requireProduct, scopeFor } from './caller.ts'
import {
  changeRetention,
  findProduct,
  findTenant,
  insertProduct,
  insertTenant,
  listProducts,
  listTenants,
  lockTenant,
  type ProductRow,
  type Retention,
  type TenantRow,
} from './queries.ts'
import type { NewTenant, RetentionDays, TenantChange } from './schema.ts'

export interface Product {
  id: string
  name: string
  created_at: string
}

export interface Tenant extends Product {
  product_id: string
  retention_days: RetentionDays
  raw_retention_days: RetentionDays
}

interface PageRequest {
  limit: number
  cursor?: string | undefined
}

/** Making the same product again answers the one there is; with another name it is refused. */
export async function createProduct(
  context: Context,
  caller: Caller,
  input: { id: string; name: string },
): Promise<Product> {
  requireAdmin(caller)
  const { system } = context.database
  const made = await insertProduct(system, input)
  const product = made ?? (await findProduct(system, input.id))
  if (product === undefined) throw notFound('product', input.id)
  if (product.name !== input.name) throw taken('product', input.id)
  return presentProduct(product)
}

export async function getProducts(
  context: Context,
  caller: Caller,
  page: PageRequest,
): Promise<Page<Product>> {
  if (caller.kind === 'tenant')
    throw new PipeError('product_required', 403, 'A tenant key can not list products.')
  const rows = await listProducts(context.database.system, {
    ...(caller.kind === 'product' && { id: caller.productId }),
    ...afterCursor(page),
    limit: page.limit + 1,
  })
  return toPage(rows, page.limit, presentProduct)
}

/** Making the same tenant again answers the one there is; with another product, name or retention it is refused. */
export async function createTenant(context: Context, caller: Caller, input: NewTenant): Promise<Tenant> {
  const { system } = context.database
  const { retention_days: days = 30, raw_retention_days: rawDays = null, ...named } = input
  const retention = { retention_days: days, raw_retention_days: rawDays }
  if (caller.kind === 'admin' && (await findProduct(system, input.product_id)) === undefined) {
    throw invalidRequest(`There is no product ${input.product_id}. Make it first with POST /products.`, [
      { field: 'product_id', message: 'names no product' },
    ])
  }
  await requireProduct(context, caller, input.product_id)
  requireRawWithin(retention)
  const made = await insertTenant(system, { ...named, ...retention })
  const tenant = made ?? (await findTenant(system, input.id))
  if (tenant === undefined) throw notFound('tenant', input.id)
  if (tenant.product_id !== input.product_id || tenant.name !== input.name) throw taken('tenant', input.id)
  if (made === undefined) requireSameRetention(tenant, input)
  return presentTenant(tenant)
}

function requireSameRetention(tenant: TenantRow, asked: TenantChange): void {
  const fields = (['retention_days', 'raw_retention_days'] as const).filter(
    (field) => asked[field] !== undefined && asked[field] !== tenant[field],
  )
  if (fields.length === 0) return
  throw new PipeError(
    'tenant_exists',
    409,
    `The tenant ${tenant.id} is there with another retention. Change it with PATCH /tenants/${tenant.id}.`,
    { errors: fields.map((field) => ({ field, message: 'is another one' })) },
  )
}

/**
 * Counts from the next nightly look at old days on.
 * @throws PipeError 404; 403 for a tenant's own key: its product decides
 */
export async function changeTenant(
  context: Context,
  caller: Caller,
  id: string,
  change: TenantChange,
): Promise<Tenant> {
  await scopeFor(context, caller, id, '')
  if (caller.kind === 'tenant')
    throw new PipeError('product_required', 403, 'A tenant key can not change how long data is kept.')
  const row = await context.database.asSystem(async (db) => {
    const tenant = await lockTenant(db, id)
    if (tenant === undefined) throw notFound('tenant', id)
    const { retention_days: days = tenant.retention_days, raw_retention_days: rawDays } = change
    const retention = {
      retention_days: days,
      raw_retention_days: rawDays === undefined ? tenant.raw_retention_days : rawDays,
    }
    requireRawWithin(retention)
    return changeRetention(db, id, retention)
  })
  return presentTenant(row)
}

function requireRawWithin({ retention_days: days, raw_retention_days: rawDays }: Retention): void {
  if (rawDays === null || rawDays <= days) return
  throw invalidRequest('Bodies can not be kept longer than what they belong to.', [
    { field: 'raw_retention_days', message: `${rawDays} is above retention_days, ${days}` },
  ])
}

export async function getTenants(
  context: Context,
  caller: Caller,
  page: PageRequest & { product_id?: string | undefined },
): Promise<Page<Tenant>> {
  if (page.product_id !== undefined) await requireProduct(context, caller, page.product_id)
  const productId = caller.kind === 'admin' ? page.product_id : caller.productId
  const rows = await listTenants(context.database.system, {
    ...(productId !== undefined && { productId }),
    ...(caller.kind === 'tenant' && { tenantId: caller.tenantId }),
    ...afterCursor(page),
    limit: page.limit + 1,
  })
  return toPage(rows, page.limit, presentTenant)
}

function afterCursor(page: PageRequest): { after?: string } {
  const after = decodeCursor(page.cursor)
  return after === undefined ? {} : { after }
}

function taken(noun: 'product' | 'tenant', id: string): PipeError {
  return new PipeError(
    `${noun}_exists`,
    409,
    `The ${noun} id ${id} is taken by another ${noun}. Choose another id.`,
    {
      errors: [{ field: 'id', message: 'is taken' }],
    },
  )
}

function presentProduct(row: ProductRow): Product {
  return { id: row.id, name: row.name, created_at: row.created_at.toISOString() }
}

function presentTenant(row: TenantRow): Tenant {
  return {
    id: row.id,
    product_id: row.product_id,
    name: row.name,
    retention_days: row.retention_days,
    raw_retention_days: row.raw_retention_days ?? row.retention_days,
    created_at: row.created_at.toISOString(),
  }
}
