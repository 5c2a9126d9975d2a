import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { notFound, PipeError } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { type Caller, scopeFor } from '#tenants'
import { getMethod, getMethods, removeMethod, saveMethod } from '../methods/methods.ts'
import { findTenantOfMethod } from '../methods/queries.ts'
import { Method, MethodQuery, NewMethod } from '../methods/schema.ts'
import { IdempotencyHeaders } from '../schema.ts'

const tags = ['Payment methods']
const idParams = z.object({ id: z.string() })

export function methodRoutes(app: App, context: Context): void {
  app.post(
    '/payments/methods',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'savePaymentMethod',
        tags,
        summary: "Save a customer's way to pay, from a token or on the provider's page (Oneclick)",
        headers: IdempotencyHeaders,
        body: NewMethod,
        response: { 201: Method },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.body.tenant_id, request.traceId)
      const saved = await saveMethod(context, scope, request.body, request.headers['idempotency-key'])
      return reply.code(201).send(saved)
    },
  )
  app.get(
    '/payments/methods',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listPaymentMethods',
        tags,
        summary: "List a tenant's saved methods, newest first",
        querystring: MethodQuery,
        response: { 200: pageOf(Method) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return getMethods(context, scope, request.query)
    },
  )
  app.get(
    '/payments/methods/:id',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getPaymentMethod',
        tags,
        summary: 'Read a saved method',
        params: idParams,
        response: { 200: Method },
      },
    },
    async (request) => {
      const scope = await scopeOfMethod(context, request.caller, request.params.id, request.traceId)
      return getMethod(context, scope, request.params.id)
    },
  )
  app.delete(
    '/payments/methods/:id',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'removePaymentMethod',
        tags,
        summary: 'Remove a saved method, at its provider too',
        params: idParams,
        response: { 200: Method },
      },
    },
    async (request) => {
      const scope = await scopeOfMethod(context, request.caller, request.params.id, request.traceId)
      return removeMethod(context, scope, request.params.id)
    },
  )
}

async function scopeOfMethod(context: Context, caller: Caller, id: string, traceId: string) {
  const tenantId = await findTenantOfMethod(context.database.system, id)
  if (tenantId === undefined) throw notFound('payment_method', id)
  return scopeFor(context, caller, tenantId, traceId).catch((error: unknown) => {
    throw error instanceof PipeError && error.status === 404 ? notFound('payment_method', id) : error
  })
}
