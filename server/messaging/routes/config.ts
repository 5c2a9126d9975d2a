import { z } from 'zod'
import { deleteConnection } from '#connections'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { scopeFor } from '#tenants'
import { changeProvider, checkProvider, getProviders, saveProvider } from '../config.ts'
import { CheckResult, ConnectionChange, ConnectionView, ProviderConfig } from '../schema.ts'

const tags = ['Messaging providers']
const params = z.object({ tenantId: z.string() })
const connectionParams = params.extend({ connectionId: z.string() })

export function configRoutes(app: App, context: Context): void {
  app.post(
    '/messaging/config/provider',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'saveMessagingProvider',
        tags,
        summary: "Set a tenant's provider for a channel, or switch to another",
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
    '/messaging/config/:tenantId',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'listMessagingProviders',
        tags,
        summary: "List a tenant's providers, secrets masked",
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
    '/messaging/config/:tenantId/:connectionId',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'changeMessagingProvider',
        tags,
        summary: 'Enable, disable or re-order a provider',
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
    '/messaging/config/:tenantId/:connectionId/check',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'checkMessagingProvider',
        tags,
        summary: 'Call the provider with the credentials and explain what it says',
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
    '/messaging/config/:tenantId/:connectionId',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'deleteMessagingProvider',
        tags,
        summary: 'Delete a provider; messages under way still end',
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
