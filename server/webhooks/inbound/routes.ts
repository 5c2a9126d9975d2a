import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { notFound } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { decodeCursor, pageOf, pageQuery, toPage } from '#core/pagination.ts'
import { scopeFor } from '#tenants'
import { findWebhook, type InboundWebhookRow, listWebhooks } from './queries.ts'

const InboundWebhook = z.object({
  id: z.string(),
  tenant_id: z.string(),
  capability: z.string(),
  provider: z.string(),
  state: z.enum(['stored', 'refused']),
  failed_check: z.string().nullable(),
  reason: z.string().nullable(),
  trace_id: z.string(),
  received_at: z.iso.datetime(),
})
const InboundWebhookDetail = InboundWebhook.extend({
  method: z.string(),
  target: z.string(),
  headers: z.record(z.string(), z.string()),
  body_base64: z.string(),
})

const tags = ['Webhooks in']

export function routes(app: App, context: Context): void {
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
      return toPage(rows, limit, present)
    },
  )
  app.get(
    '/webhooks/inbound/:id',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getInboundWebhook',
        tags,
        summary: 'Read one provider webhook as it came',
        params: z.object({ id: z.string() }),
        querystring: z.strictObject({ tenant_id: z.string() }),
        response: { 200: InboundWebhookDetail },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      const row = await context.database.asTenant(scope, (db) =>
        findWebhook(db, scope.tenantId, request.params.id),
      )
      if (row === undefined) throw notFound('webhook', request.params.id)
      return {
        ...present(row),
        method: row.method,
        target: row.target,
        headers: JSON.parse(row.headers) as Record<string, string>,
        body_base64: row.body.toString('base64'),
      }
    },
  )
}

function present(row: InboundWebhookRow): z.infer<typeof InboundWebhook> {
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    capability: row.capability,
    provider: row.provider,
    state: row.state,
    failed_check: row.failed_check,
    reason: row.reason,
    trace_id: row.trace_id,
    received_at: row.received_at.toISOString(),
  }
}
