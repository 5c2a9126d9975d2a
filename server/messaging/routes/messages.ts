import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { notFound, PipeError } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { type Caller, scopeFor } from '#tenants'
import { cancelMessage } from '../cancel.ts'
import { getMessageLog, getMessageStory } from '../message-log.ts'
import { findTenantOfMessage } from '../message-queries.ts'
import { LogQuery, Message, MessageStory } from '../schema.ts'
import { getStats, Stats, StatsQuery } from '../stats.ts'

const tags = ['Messaging']
const tenantParams = z.object({ tenantId: z.string() })
const idParams = z.object({ id: z.string() })

export function messageRoutes(app: App, context: Context): void {
  app.get(
    '/messaging/messages/:id',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'getMessage',
        tags,
        summary: 'Read the whole story of a message',
        params: idParams,
        response: { 200: MessageStory },
      },
    },
    async (request) => {
      const scope = await scopeOfMessage(context, request.caller, request.params.id, request.traceId)
      return getMessageStory(context, scope, request.params.id)
    },
  )
  app.post(
    '/messaging/messages/:id/cancel',
    {
      config: { scope: 'messaging:send' },
      schema: {
        operationId: 'cancelMessage',
        tags,
        summary: 'Cancel a message that was not sent yet',
        params: idParams,
        response: { 200: Message },
      },
    },
    async (request) => {
      const scope = await scopeOfMessage(context, request.caller, request.params.id, request.traceId)
      return cancelMessage(context, scope, request.params.id)
    },
  )
  app.get(
    '/messaging/logs/:tenantId',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'listMessages',
        tags,
        summary: "List a tenant's messages, newest first",
        params: tenantParams,
        querystring: LogQuery,
        response: { 200: pageOf(Message) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getMessageLog(context, scope, request.query)
    },
  )
  app.get(
    '/messaging/stats/:tenantId',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'getMessagingStats',
        tags,
        summary: 'Counts, rates, latencies and costs',
        params: tenantParams,
        querystring: StatsQuery,
        response: { 200: Stats },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getStats(context, scope, request.query)
    },
  )
}

async function scopeOfMessage(context: Context, caller: Caller, messageId: string, traceId: string) {
  const tenantId = await findTenantOfMessage(context.database.system, messageId)
  if (tenantId === undefined) throw notFound('message', messageId)
  return scopeFor(context, caller, tenantId, traceId).catch((error: unknown) => {
    throw error instanceof PipeError && error.status === 404 ? notFound('message', messageId) : error
  })
}
