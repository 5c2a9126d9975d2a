import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf, pageQuery } from '#core/pagination.ts'
import { scopeFor } from '#tenants'
import {
  AutoReply,
  AutoReplyInput,
  getAutoReplies,
  removeAutoReply,
  saveAutoReply,
} from '../auto-replies/auto-replies.ts'
import { Channel } from '../schema.ts'
import { addSuppression, getSuppressions, removeSuppression } from '../suppressions.ts'

const params = z.object({ tenantId: z.string() })
const replyParams = params.extend({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, 'must be lower-case letters, digits, _ or -'),
})

const Suppression = z.object({
  id: z.string(),
  channel: z.string(),
  address: z.string(),
  reason: z.string(),
  provider: z.string().nullable(),
  message_id: z.string().nullable(),
  created_at: z.iso.datetime(),
})

export function autoReplyRoutes(app: App, context: Context): void {
  const tags = ['Automatic replies']
  app.put(
    '/messaging/auto-replies/:tenantId/:name',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'saveAutoReply',
        tags,
        summary: 'Save an automatic reply',
        params: replyParams,
        body: AutoReplyInput,
        response: { 200: AutoReply },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return saveAutoReply(context, scope, request.params.name, request.body)
    },
  )
  app.get(
    '/messaging/auto-replies/:tenantId',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'listAutoReplies',
        tags,
        summary: 'List automatic replies',
        params,
        response: { 200: z.object({ data: z.array(AutoReply) }) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return { data: await getAutoReplies(context, scope) }
    },
  )
  app.delete(
    '/messaging/auto-replies/:tenantId/:name',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'deleteAutoReply',
        tags,
        summary: 'Delete an automatic reply',
        params: replyParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      await removeAutoReply(context, scope, request.params.name)
      return reply.code(204).send(null)
    },
  )
}

export function suppressionRoutes(app: App, context: Context): void {
  const tags = ['Suppressions']
  app.post(
    '/messaging/suppressions/:tenantId',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'addSuppression',
        tags,
        summary: 'Put an address on the suppression list',
        params,
        body: z.strictObject({ channel: Channel, address: z.string().min(1).max(320) }),
        response: { 201: Suppression },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return reply.code(201).send(await addSuppression(context, scope, request.body))
    },
  )
  app.get(
    '/messaging/suppressions/:tenantId',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'listSuppressions',
        tags,
        summary: 'List who must not be written to, and why',
        params,
        querystring: z.strictObject({ ...pageQuery, channel: Channel.optional() }),
        response: { 200: pageOf(Suppression) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getSuppressions(context, scope, request.query)
    },
  )
  app.delete(
    '/messaging/suppressions/:tenantId/:id',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'removeSuppression',
        tags,
        summary: 'Take an address off the list',
        params: params.extend({ id: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      await removeSuppression(context, scope, request.params.id)
      return reply.code(204).send(null)
    },
  )
}
