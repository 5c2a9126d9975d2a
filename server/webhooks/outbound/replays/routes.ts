import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf, pageQuery } from '#core/pagination.ts'
import {
  cancelReplay,
  getReplay,
  getReplays,
  pauseReplay,
  resumeReplay,
  startReplay,
  tryReplay,
} from './replays.ts'
import { NewReplay, Replay, ReplayForecast, ReplaySummary } from './schema.ts'

const tags = ['Webhooks out']
const params = z.object({ id: z.string().max(100) })
const headers = z.looseObject({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'The same key and body start one replay, however often they come.' }),
})

export function replayRoutes(app: App, context: Context): void {
  app.post(
    '/webhooks/replays',
    {
      config: { scope: 'webhooks:write' },
      schema: {
        operationId: 'startReplay',
        tags,
        summary: 'Send past events again, or tell what would be sent',
        headers,
        body: NewReplay,
        response: { 200: ReplayForecast, 202: Replay },
      },
    },
    async (request, reply) => {
      const { caller, body } = request
      if (body.dry_run) return reply.code(200).send(await tryReplay(context, caller, body))
      const idempotencyKey = request.headers['idempotency-key']
      const options = { traceId: request.traceId, idempotencyKey }
      return reply.code(202).send(await startReplay(context, caller, body, options))
    },
  )
  readRoutes(app, context)
  changeRoutes(app, context)
}

function readRoutes(app: App, context: Context): void {
  app.get(
    '/webhooks/replays',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'listReplays',
        tags,
        summary: 'List replays, newest first',
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(ReplaySummary) },
      },
    },
    async (request) => getReplays(context, request.caller, request.query),
  )
  app.get(
    '/webhooks/replays/:id',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'getReplay',
        tags,
        summary: 'Read a replay with its progress at each endpoint',
        params,
        response: { 200: Replay },
      },
    },
    async (request) => getReplay(context, request.caller, request.params.id),
  )
}

function changeRoutes(app: App, context: Context): void {
  const config = { scope: 'webhooks:write' as const }
  const schema = { tags, params, response: { 200: Replay } }
  app.post(
    '/webhooks/replays/:id/pause',
    { config, schema: { ...schema, operationId: 'pauseReplay', summary: 'Pause a replay' } },
    async (request) => pauseReplay(context, request.caller, request.params.id),
  )
  app.post(
    '/webhooks/replays/:id/resume',
    { config, schema: { ...schema, operationId: 'resumeReplay', summary: 'Let a replay go on' } },
    async (request) => resumeReplay(context, request.caller, request.params.id),
  )
  app.post(
    '/webhooks/replays/:id/cancel',
    { config, schema: { ...schema, operationId: 'cancelReplay', summary: 'End a replay for good' } },
    async (request) => cancelReplay(context, request.caller, request.params.id),
  )
}
