import { z } from 'zod'
import { deleteConnection } from '#connections'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { scopeFor } from '#tenants'
import { changeProvider, checkProvider, getProviders, saveProvider } from '../config.ts'
import { CheckResult, ConnectionChange, ConnectionView, ProviderConfig } from '../schema.ts'

const tags = ['Payment providers']
const params = z.object({ tenantId: z.string() })
const connectionParams = params.extend({ connectionId: z.string() })

export function configRoutes(app: App, context: Context): void {
  app.post(
    '/payments/config/provider',
    {
      config: { scope: 'payments:config' },
      schema: {
        operationId: 'savePaymentProvider',
        tags,
        summary: "Set a tenant's account at a payment provider",
        body: ProviderConfig,
        response: { 200: ConnectionView },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.body.tenantId, request.traceId)
      return saveProvider(context, scope, request.body)
    },
  )
  app.get(
    '/payments/config/:tenantId',
    {
      config: { scope: 'payments:config' },
      schema: {
        operationId: 'listPaymentProviders',
        tags,
        summary: "List a tenant's payment providers, secrets masked",
        params,
        response: { 200: z.object({ data: z.array(ConnectionView) }) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return { data: await getProviders(context, scope) }
    },
  )
  app.patch(
    '/payments/config/:tenantId/:connectionId',
    {
      config: { scope: 'payments:config' },
      schema: {
        operationId: 'changePaymentProvider',
        tags,
        summary: 'Enable, disable or re-order a payment provider',
        params: connectionParams,
        body: ConnectionChange,
        response: { 200: ConnectionView },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return changeProvider(context, scope, request.params.connectionId, request.body)
    },
  )
  app.post(
    '/payments/config/:tenantId/:connectionId/check',
    {
      config: { scope: 'payments:config' },
      schema: {
        operationId: 'checkPaymentProvider',
        tags,
        summary: 'Call the provider with the credentials and tell what is wrong and how to mend it',
        params: connectionParams,
        response: { 200: CheckResult },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return checkProvider(context, scope, request.params.connectionId)
    },
  )
  app.delete(
    '/payments/config/:tenantId/:connectionId',
    {
      config: { scope: 'payments:config' },
      schema: {
        operationId: 'deletePaymentProvider',
        tags,
        summary: 'Delete a payment provider; payments under way still end',
        params: connectionParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      await deleteConnection(context, scope, request.params.connectionId)
      return reply.code(204).send(null)
    },
  )
}
