import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App, EventType } from '#core/module.ts'
import { acknowledge, readFeed } from './feed.ts'
import { Acknowledged, Acknowledgement, Feed, FeedQuery } from './schema.ts'

const tags = ['Webhooks out']
const params = z.object({ id: z.string() })

export function feedRoutes(app: App, context: Context, types: readonly EventType[]): void {
  app.get(
    '/webhooks/endpoints/:id/events',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'readFeed',
        tags,
        summary: 'Read what an endpoint is sent, in the order of its sequence, delivered or not',
        params,
        querystring: FeedQuery,
        response: { 200: Feed },
      },
    },
    async (request) => readFeed(context, request.caller, request.params.id, request.query, types),
  )
  app.post(
    '/webhooks/endpoints/:id/events/ack',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'acknowledgeEvents',
        tags,
        summary: 'Acknowledge events that were taken from the feed: they are not pushed any more',
        params,
        body: Acknowledgement,
        response: { 200: Acknowledged },
      },
    },
    async (request) => acknowledge(context, request.caller, request.params.id, request.body),
  )
}
