import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '#core/context.ts'
import { notFound } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { openConnectionsOfProvider } from '#connections'
import { keepRawBodies, readRawWebhook, receiveWebhook } from '#webhooks/inbound'
import { findTenantScope } from '#tenants'
import { requireMessagingProvider } from '../provider-registry.ts'
import type { Channel } from '../providers/provider.ts'
import { readWebhook } from '../webhook-job.ts'

/** The largest each kind of provider sends: anybody may knock here. */
const bodyLimitBytes = { sms: 256 * 1024, whatsapp: 4 * 1024 * 1024, email: 32 * 1024 * 1024 }

/** Where providers report to us: the raw bytes count, so no parser touches them. */
export function webhookRoutes(app: App, context: Context): void {
  keepRawBodies(app)
  for (const channel of ['whatsapp', 'sms', 'email'] as const) {
    app.route({
      method: ['GET', 'POST'],
      url: `/messaging/webhook/${channel}`,
      bodyLimit: bodyLimitBytes[channel],
      config: { public: true },
      schema: {
        tags: ['Webhooks in'],
        summary: `Providers of ${channel} report here: ?tenant_id=…&provider=…`,
        security: [],
      },
      handler: (request, reply) =>
        receive(context, channel, request as unknown as FastifyRequest, reply as unknown as FastifyReply),
    })
  }
}

async function receive(
  context: Context,
  channel: Channel,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const webhook = readRawWebhook(context, request)
  const tenantId = webhook.query.get('tenant_id') ?? ''
  const provider = requireMessagingProvider(webhook.query.get('provider') ?? '', channel)
  const scope = await findTenantScope(context, tenantId, request.traceId)
  if (scope === undefined) throw notFound('tenant', tenantId)
  const connections = await context.database.asTenant(scope, (db) =>
    openConnectionsOfProvider(context, db, scope, channel, provider),
  )
  const answer = await receiveWebhook(context, webhook, {
    scope,
    capability: channel,
    provider,
    connections,
    job: readWebhook,
  })
  if (answer.contentType !== undefined) reply.type(answer.contentType)
  return reply.code(answer.status).send(answer.body ?? '')
}
