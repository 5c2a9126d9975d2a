import type { FastifyReply, FastifyRequest } from 'fastify'
import { openConnectionsOfProvider, recallConnectionsOfProvider } from '#connections'
import type { Context } from '#core/context.ts'
import { notFound } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { findTenantScope } from '#tenants'
import { isFromOneOf, keepRawBodies, readRawWebhook, receiveWebhook } from '#webhooks/inbound'
import { requirePaymentProvider } from '../provider-registry.ts'
import { completeReturn, type Onward } from '../returns.ts'
import { readWebhook } from '../webhook-job.ts'
import { renderReturnPage } from '../return-page.ts'

const bodyLimitBytes = 1024 * 1024
const returnLimitBytes = 16 * 1024

/** Where payment providers report, and where their pages send customers back to. */
export function webhookRoutes(app: App, context: Context): void {
  keepRawBodies(app)
  app.route({
    method: ['GET', 'POST'],
    url: '/webhooks/payment',
    bodyLimit: bodyLimitBytes,
    config: { public: true },
    schema: {
      tags: ['Webhooks in'],
      summary: 'Payment providers report here: ?tenant_id=…&provider=…',
      security: [],
    },
    handler: (request, reply) =>
      receive(context, request as unknown as FastifyRequest, reply as unknown as FastifyReply),
  })
  app.route({
    method: ['GET', 'POST'],
    url: '/payments/return/:token',
    // A look by HEAD must not confirm a sale.
    exposeHeadRoute: false,
    bodyLimit: returnLimitBytes,
    config: { public: true },
    schema: {
      tags: ['Webhooks in'],
      summary: 'Customers come back here from a page of the provider, and are sent on to the return_url',
      security: [],
    },
    handler: (request, reply) =>
      bringBack(context, request as unknown as FastifyRequest, reply as unknown as FastifyReply),
  })
}

async function receive(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const webhook = readRawWebhook(context, request)
  const tenantId = webhook.query.get('tenant_id') ?? ''
  const provider = requirePaymentProvider(webhook.query.get('provider') ?? '')
  const scope = await findTenantScope(context, tenantId, request.traceId)
  if (scope === undefined) throw notFound('tenant', tenantId)
  const recent = recallConnectionsOfProvider(context, scope, 'payments', provider)
  const isTheirs = isFromOneOf(webhook, { scope, provider, connections: recent }, context.now())
  const connections = isTheirs
    ? recent
    : await context.database.readAsTenant(scope, (db) =>
        openConnectionsOfProvider(context, db, scope, 'payments', provider),
      )
  const answer = await receiveWebhook(context, webhook, {
    scope,
    capability: 'payments',
    provider,
    connections,
    job: readWebhook,
  })
  if (answer.contentType !== undefined) reply.type(answer.contentType)
  return reply.code(answer.status).send(answer.body ?? '')
}

async function bringBack(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { token } = request.params as { token: string }
  const onward = await completeReturn(context, token, readParameters(context, request))
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  // 303: whatever method brought the customer here, the next page is read.
  if (onward?.url !== undefined) return reply.redirect(onward.url, 303)
  return showPage(reply, onward)
}

function showPage(reply: FastifyReply, onward: Onward | undefined): FastifyReply {
  return reply
    .code(onward === undefined ? 404 : 200)
    .type('text/html; charset=utf-8')
    .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
    .send(renderReturnPage(onward?.status))
}

/** Of the query and of a form together: providers use either. */
function readParameters(context: Context, request: FastifyRequest): URLSearchParams {
  const { query, body } = readRawWebhook(context, request)
  const form = new URLSearchParams(body.toString('utf8'))
  return new URLSearchParams([...query, ...form].filter((pair) => !pair.join('').includes('\0')))
}
