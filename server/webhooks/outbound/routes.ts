import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { invalidRequest } from '#core/errors.ts'
import type { App, EventType, Module } from '#core/module.ts'
import { pageOf, pageQuery } from '#core/pagination.ts'
import { attemptDelivery } from './attempt.ts'
import { auditRoutes } from './audit/routes.ts'
import { catalogRoutes } from './catalog-routes.ts'
import {
  changeEndpoint,
  createEndpoint,
  deleteEndpoint,
  getEndpoint,
  getEndpoints,
  openEndpoint,
  requireEndpoint,
  rotateEndpointSecret,
} from './endpoints.ts'
import { getEvent, getEvents, replayEvent } from './event-log.ts'
import { feedRoutes } from './feed/routes.ts'
import { filterRoutes } from './filters/routes.ts'
import { keyRoutes } from './keys/routes.ts'
import { typesOf } from './own-events.ts'
import { publishRoute } from './publish-routes.ts'
import { replayRoutes } from './replays/routes.ts'
import {
  Endpoint,
  EndpointChange,
  EndpointWithSecret,
  EventDetail,
  EventSummary,
  NewEndpoint,
  Replay,
  ReplayResult,
  Rotation,
  TestResult,
} from './schema.ts'
import { testEvent } from './test-event.ts'

const tags = ['Webhooks out']
const params = z.object({ id: z.string() })

export function routes(app: App, context: Context, modules: readonly Module[]): void {
  const types = typesOf(modules)
  endpointRoutes(app, context, types)
  endpointActionRoutes(app, context)
  filterRoutes(app, context)
  feedRoutes(app, context, types)
  keyRoutes(app, context)
  eventRoutes(app, context)
  catalogRoutes(app, context, types)
  publishRoute(app, context)
  replayRoutes(app, context)
  auditRoutes(app, context)
}

function endpointRoutes(app: App, context: Context, types: readonly EventType[]): void {
  app.post(
    '/webhooks/endpoints',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'createEndpoint',
        tags,
        summary: 'Make an endpoint that receives events',
        body: NewEndpoint,
        response: { 201: EndpointWithSecret },
      },
    },
    async (request, reply) =>
      reply.code(201).send(await createEndpoint(context, request.caller, request.body, types)),
  )
  app.get(
    '/webhooks/endpoints',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'listEndpoints',
        tags,
        summary: 'List endpoints',
        querystring: z.strictObject({
          ...pageQuery,
          tenant_id: z.string().optional(),
          product_id: z.string().optional(),
        }),
        response: { 200: pageOf(Endpoint) },
      },
    },
    async (request) => getEndpoints(context, request.caller, request.query),
  )
  app.get(
    '/webhooks/endpoints/:id',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getEndpoint',
        tags,
        summary: 'Read an endpoint',
        params,
        response: { 200: Endpoint },
      },
    },
    async (request) => getEndpoint(context, request.caller, request.params.id),
  )
  app.patch(
    '/webhooks/endpoints/:id',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'changeEndpoint',
        tags,
        summary: 'Change, disable or enable an endpoint',
        params,
        body: EndpointChange,
        response: { 200: Endpoint },
      },
    },
    async (request) => {
      requireKnownTypes(request.body.events ?? [], types)
      return changeEndpoint(context, request.caller, request.params.id, request.body, types)
    },
  )
  app.delete(
    '/webhooks/endpoints/:id',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'deleteEndpoint',
        tags,
        summary: 'Delete an endpoint',
        params,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await deleteEndpoint(context, request.caller, request.params.id)
      return reply.code(204).send(null)
    },
  )
}

/** A type of one of our nouns that no event has is a slip of the pen; other nouns are the product's own. */
function requireKnownTypes(filters: readonly string[], types: readonly EventType[]): void {
  const nouns = new Set(types.map((type) => type.name.split('.')[0]))
  const errors = filters.flatMap((filter, index) => {
    const [noun, verb] = filter.split('.')
    const isUnknown = nouns.has(noun) && verb !== '*' && !types.some((type) => type.name === filter)
    return isUnknown
      ? [{ field: `events.${index}`, message: `${filter} is no event; see GET /webhooks/catalog` }]
      : []
  })
  if (errors.length > 0)
    throw invalidRequest('The endpoint asks for events that do not exist; see errors.', errors)
}

function endpointActionRoutes(app: App, context: Context): void {
  app.post(
    '/webhooks/endpoints/:id/test',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'testEndpoint',
        tags,
        summary: 'Send one signed webhook.test event now and say how it went',
        params,
        response: { 200: TestResult },
      },
    },
    async (request) => {
      const row = await requireEndpoint(context, request.caller, request.params.id)
      const report = await attemptDelivery(
        context,
        await openEndpoint(context, row),
        testEvent(context, row, request.traceId),
      )
      const { delivered, status, error, response, durationMs } = report
      return { delivered, status, error, response, duration_ms: Math.round(durationMs) }
    },
  )
  app.post(
    '/webhooks/endpoints/:id/rotate',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'rotateEndpointSecret',
        tags,
        summary: 'Make a new secret; the old one signs too while they overlap',
        params,
        body: Rotation,
        response: { 200: EndpointWithSecret },
      },
    },
    async (request) => rotateEndpointSecret(context, request.caller, request.params.id, request.body),
  )
}

function eventRoutes(app: App, context: Context): void {
  app.get(
    '/webhooks/events',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'listEvents',
        tags,
        summary: 'List events, newest first',
        querystring: z.strictObject({
          ...pageQuery,
          tenant_id: z.string().optional(),
          type: z.string().optional(),
          entity: z
            .string()
            .optional()
            .meta({ description: 'Id of what the event is about, such as a message.' }),
        }),
        response: { 200: pageOf(EventSummary) },
      },
    },
    async (request) => getEvents(context, request.caller, request.query),
  )
  app.get(
    '/webhooks/events/:id',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getEvent',
        tags,
        summary: 'Read an event with its deliveries and every attempt',
        params,
        response: { 200: EventDetail },
      },
    },
    async (request) => getEvent(context, request.caller, request.params.id),
  )
  app.post(
    '/webhooks/events/:id/replay',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'replayEvent',
        tags,
        summary: 'Deliver an event again',
        params,
        body: Replay,
        response: { 202: ReplayResult },
      },
    },
    async (request, reply) =>
      reply
        .code(202)
        .send(await replayEvent(context, request.caller, request.params.id, request.body?.endpoint_id)),
  )
}
