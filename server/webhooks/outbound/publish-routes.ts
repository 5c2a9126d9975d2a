import { validatorCompiler } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import type { Caller } from '#tenants'
import { publishEvents } from './publish.ts'
import { OwnEvent, OwnEvents, PublishedEvents } from './schema.ts'

const batchLimitBytes = 4 * 1024 * 1024

type ZodPart = Parameters<typeof validatorCompiler>[0]

const headers = z.looseObject({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'The same key and body publish once, however often they come.' }),
})

interface PublishRequest {
  caller: Caller
  traceId: string
  body: unknown
}

export function publishRoute(app: App, context: Context): void {
  const publish = ({ caller, body, traceId }: PublishRequest, idempotencyKey?: string) =>
    publishEvents(context, caller, body, { traceId, idempotencyKey })
  app.post(
    '/events',
    {
      bodyLimit: batchLimitBytes,
      config: { scope: 'events:write', direct: { status: 202, run: (request) => publish(request) } },
      schema: {
        operationId: 'publishEvents',
        tags: ['Webhooks out'],
        summary: 'Publish an event of your own, or up to 1,000 as { events }',
        headers,
        body: z.union([OwnEvent, OwnEvents]),
        response: { 202: PublishedEvents },
      },
      // The operation reads the body itself: its shape and its schema's faults are told together.
      validatorCompiler: (part) =>
        part.httpPart === 'body' ? (value) => ({ value }) : validatorCompiler(part as unknown as ZodPart),
    },
    async (request, reply) => {
      const answer = await publish(request, request.headers['idempotency-key'])
      return reply.code(202).send(answer)
    },
  )
}
