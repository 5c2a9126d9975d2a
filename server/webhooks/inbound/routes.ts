import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App, Module } from '#core/module.ts'
import { decodeCursor, pageOf, pageQuery, toPage } from '#core/pagination.ts'
import { scopeFor } from '#tenants'
import { listWebhooks } from './queries.ts'
import { readStory, replayWebhook } from './replay.ts'
import {
  InboundReplay,
  InboundReplayResult,
  InboundWebhook,
  InboundWebhookDetail,
  presentReplay,
  presentStory,
  presentWebhook,
} from './schema.ts'

const tags = ['Webhooks in']
const params = z.object({ id: z.string() })
const querystring = z.strictObject({ tenant_id: z.string() })

export function routes(app: App, context: Context, modules: readonly Module[]): void {
  listRoute(app, context)
  app.get(
    '/webhooks/inbound/:id',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getInboundWebhook',
        tags,
        summary: 'Read one provider webhook as it came, with what was taken from it and what followed',
        params,
        querystring,
        response: { 200: InboundWebhookDetail },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return presentStory(await readStory(context, modules, scope, request.params.id))
    },
  )
  app.post(
    '/webhooks/inbound/:id/replay',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'replayInboundWebhook',
        tags,
        summary: 'Read a provider webhook again: tell what would follow, or apply it',
        params,
        querystring,
        body: InboundReplay,
        response: { 200: InboundReplayResult, 202: InboundReplayResult },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      const apply = request.body?.apply ?? false
      const replayed = await replayWebhook(context, modules, scope, { id: request.params.id, apply })
      return reply.code(apply ? 202 : 200).send(presentReplay(replayed))
    },
  )
}

function listRoute(app: App, context: Context): void {
  app.get(
    '/webhooks/inbound',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'listInboundWebhooks',
        tags,
        summary: "List what a tenant's providers sent, refused webhooks included",
        querystring: z.strictObject({
          ...pageQuery,
          tenant_id: z.string(),
          state: z.enum(['stored', 'refused']).optional(),
        }),
        response: { 200: pageOf(InboundWebhook) },
      },
    },
    async (request) => {
      const { tenant_id: tenantId, state, cursor, limit } = request.query
      const scope = await scopeFor(context, request.caller, tenantId, request.traceId)
      const before = decodeCursor(cursor)
      const rows = await context.database.asTenant(scope, (db) =>
        listWebhooks(db, tenantId, {
          ...(state !== undefined && { state }),
          ...(before !== undefined && { before }),
          limit: limit + 1,
        }),
      )
      return toPage(rows, limit, presentWebhook)
    },
  )
}
