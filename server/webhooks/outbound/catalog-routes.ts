import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App, EventType } from '#core/module.ts'
import {
  deleteEventType,
  getEventType,
  getEventTypes,
  nounsOf,
  presentOurs,
  saveEventType,
} from './catalog.ts'
import { CatalogDetail, CatalogEntry, NewEventType, TypeParams } from './schema.ts'

const tags = ['Webhooks out']
const product = {
  product_id: z.string().optional().meta({ description: 'Whose types; for admin keys.' }),
}

export function catalogRoutes(app: App, context: Context, types: readonly EventType[]): void {
  const ours = types.flatMap(presentOurs)
  readRoutes(app, context, ours)
  app.put(
    '/webhooks/catalog/:type',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'saveEventType',
        tags,
        summary: 'Register a version of an event type of your own',
        params: TypeParams,
        body: NewEventType,
        response: { 200: CatalogEntry, 201: CatalogEntry },
      },
    },
    async (request, reply) => {
      const { entry, isNew } = await saveEventType(
        context,
        request.caller,
        request.params.type,
        request.body,
        nounsOf(types),
      )
      return reply.code(isNew ? 201 : 200).send(entry)
    },
  )
  app.delete(
    '/webhooks/catalog/:type',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'deleteEventType',
        tags,
        summary: 'Delete an event type of your own with all its versions',
        params: TypeParams,
        querystring: z.strictObject(product),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await deleteEventType(context, request.caller, request.params.type, request.query.product_id)
      return reply.code(204).send(null)
    },
  )
}

function readRoutes(app: App, context: Context, ours: readonly CatalogEntry[]): void {
  app.get(
    '/webhooks/catalog',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'listEventTypes',
        tags,
        summary: 'Every event type with the schema of its body, the newest version of each',
        querystring: z.strictObject(product),
        response: { 200: z.object({ data: z.array(CatalogEntry) }) },
      },
    },
    async (request) => ({
      data: await getEventTypes(context, request.caller, request.query.product_id, ours),
    }),
  )
  app.get(
    '/webhooks/catalog/:type',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getEventType',
        tags,
        summary: 'Read an event type, its newest version unless one is named',
        params: TypeParams,
        querystring: z.strictObject({
          ...product,
          version: z.coerce.number().int().min(1).max(1_000_000).optional(),
        }),
        response: { 200: CatalogDetail },
      },
    },
    async (request) =>
      getEventType(context, request.caller, { name: request.params.type, ...request.query }, ours),
  )
}
