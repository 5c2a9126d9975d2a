import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf, pageQuery } from '#core/pagination.ts'
import { requireProduct, scopeFor, type Caller } from './caller.ts'
import { deleteKey, getKeys, issueKeyFor } from './keys.ts'
import type { KeyOwner } from './queries.ts'
import { CreatedKey, Key, NewKey, NewProduct, NewTenant, Product, Tenant, TenantChange } from './schema.ts'
import { changeTenant, createProduct, createTenant, getProducts, getTenants } from './tenants.ts'

const tags = ['Tenants']

export function routes(app: App, context: Context): void {
  app.post(
    '/products',
    {
      config: { scope: 'tenants:write' },
      schema: {
        operationId: 'createProduct',
        tags,
        summary: 'Make a product',
        body: NewProduct,
        response: { 201: Product },
      },
    },
    async (request, reply) =>
      reply.code(201).send(await createProduct(context, request.caller, request.body)),
  )
  app.get(
    '/products',
    {
      config: { scope: 'tenants:read' },
      schema: {
        operationId: 'listProducts',
        tags,
        summary: 'List products',
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(Product) },
      },
    },
    async (request) => getProducts(context, request.caller, request.query),
  )
  app.post(
    '/tenants',
    {
      config: { scope: 'tenants:write' },
      schema: {
        operationId: 'createTenant',
        tags,
        summary: 'Make a tenant',
        body: NewTenant,
        response: { 201: Tenant },
      },
    },
    async (request, reply) => reply.code(201).send(await createTenant(context, request.caller, request.body)),
  )
  app.get(
    '/tenants',
    {
      config: { scope: 'tenants:read' },
      schema: {
        operationId: 'listTenants',
        tags,
        summary: 'List tenants',
        querystring: z.strictObject({ ...pageQuery, product_id: z.string().max(64).optional() }),
        response: { 200: pageOf(Tenant) },
      },
    },
    async (request) => getTenants(context, request.caller, request.query),
  )
  app.patch(
    '/tenants/:id',
    {
      config: { scope: 'tenants:write' },
      schema: {
        operationId: 'changeTenant',
        tags,
        summary: "Change how long a tenant's data is kept",
        params: z.object({ id: z.string() }),
        body: TenantChange,
        response: { 200: Tenant },
      },
    },
    async (request) => changeTenant(context, request.caller, request.params.id, request.body),
  )
  keyRoutes(app, context, 'products', async (caller, id) => {
    await requireProduct(context, caller, id)
    return { productId: id, tenantId: null }
  })
  keyRoutes(app, context, 'tenants', async (caller, id) => {
    const scope = await scopeFor(context, caller, id, '')
    return { productId: null, tenantId: scope.tenantId }
  })
}

type OwnerOf = (caller: Caller, id: string) => Promise<KeyOwner>

function keyRoutes(app: App, context: Context, owners: 'products' | 'tenants', ownerOf: OwnerOf): void {
  const noun = owners === 'products' ? 'Product' : 'Tenant'
  const params = z.object({ id: z.string() })
  app.post(
    `/${owners}/:id/keys`,
    {
      config: { scope: 'keys:write' },
      schema: {
        operationId: `create${noun}Key`,
        tags: ['Keys'],
        summary: `Make a key for a ${noun.toLowerCase()}`,
        params,
        body: NewKey,
        response: { 201: CreatedKey },
      },
    },
    async (request, reply) =>
      reply
        .code(201)
        .send(
          await issueKeyFor(
            context,
            request.caller,
            await ownerOf(request.caller, request.params.id),
            request.body,
          ),
        ),
  )
  app.get(
    `/${owners}/:id/keys`,
    {
      config: { scope: 'keys:read' },
      schema: {
        operationId: `list${noun}Keys`,
        tags: ['Keys'],
        summary: `List the keys of a ${noun.toLowerCase()}`,
        params,
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(Key) },
      },
    },
    async (request) => getKeys(context, await ownerOf(request.caller, request.params.id), request.query),
  )
  app.delete(
    `/${owners}/:id/keys/:keyId`,
    {
      config: { scope: 'keys:write' },
      schema: {
        operationId: `delete${noun}Key`,
        tags: ['Keys'],
        summary: 'Delete a key; it stops working at once',
        params: params.extend({ keyId: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await deleteKey(context, await ownerOf(request.caller, request.params.id), request.params.keyId)
      return reply.code(204).send(null)
    },
  )
}
