import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { getPublishedKeys } from './keys.ts'
import { PublishedKeys } from './schema.ts'

const cachedForSeconds = 300

export function keyRoutes(app: App, context: Context): void {
  app.get(
    '/webhooks/keys/:id',
    {
      config: { public: true },
      schema: {
        operationId: 'getPublishedKeys',
        tags: ['Webhooks out'],
        summary: 'Read the public keys that verify what an ed25519 endpoint is sent',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: PublishedKeys },
      },
    },
    async (request, reply) => {
      const keys = await getPublishedKeys(context, request.params.id)
      return reply.header('cache-control', `public, max-age=${cachedForSeconds}`).send(keys)
    },
  )
}
