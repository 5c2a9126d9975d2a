import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { notFound, PipeError } from '#core/errors.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { type Caller, scopeFor } from '#tenants'
import { IdempotencyHeaders } from '../schema.ts'
import { cancelSubscription, updateSubscription } from '../subscriptions/changes.ts'
import { findTenantOfSubscription } from '../subscriptions/queries.ts'
import {
  NewSubscription,
  Subscription,
  SubscriptionPatch,
  SubscriptionQuery,
  SubscriptionStory,
} from '../subscriptions/schema.ts'
import { createSubscription, getSubscription, getSubscriptions } from '../subscriptions/subscriptions.ts'

const tags = ['Subscriptions']
const idParams = z.object({ id: z.string() })

export function subscriptionRoutes(app: App, context: Context): void {
  app.post(
    '/payments/subscriptions',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'createSubscription',
        tags,
        summary: 'Charge a customer each period, from now or after a trial',
        headers: IdempotencyHeaders,
        body: NewSubscription,
        response: { 201: Subscription },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.body.tenant_id, request.traceId)
      const key = request.headers['idempotency-key']
      return reply.code(201).send(await createSubscription(context, scope, request.body, key))
    },
  )
  app.get(
    '/payments/subscriptions',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'listSubscriptions',
        tags,
        summary: "List a tenant's subscriptions, newest first",
        querystring: SubscriptionQuery,
        response: { 200: pageOf(Subscription) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return getSubscriptions(context, scope, request.query)
    },
  )
  app.get(
    '/payments/subscriptions/:id',
    {
      config: { scope: 'payments:read' },
      schema: {
        operationId: 'getSubscription',
        tags,
        summary: 'Read a subscription with its charges',
        params: idParams,
        response: { 200: SubscriptionStory },
      },
    },
    async (request) => {
      const scope = await scopeOfSubscription(context, request.caller, request.params.id, request.traceId)
      return getSubscription(context, scope, request.params.id)
    },
  )
  app.patch(
    '/payments/subscriptions/:id',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'updateSubscription',
        tags,
        summary: 'Change its amount or method, pause or resume it, or let it end with its period',
        params: idParams,
        body: SubscriptionPatch,
        response: { 200: Subscription },
      },
    },
    async (request) => {
      const scope = await scopeOfSubscription(context, request.caller, request.params.id, request.traceId)
      return updateSubscription(context, scope, request.params.id, request.body)
    },
  )
  app.post(
    '/payments/subscriptions/:id/cancel',
    {
      config: { scope: 'payments:write' },
      schema: {
        operationId: 'cancelSubscription',
        tags,
        summary: 'End a subscription at once',
        params: idParams,
        response: { 200: Subscription },
      },
    },
    async (request) => {
      const scope = await scopeOfSubscription(context, request.caller, request.params.id, request.traceId)
      return cancelSubscription(context, scope, request.params.id)
    },
  )
}

async function scopeOfSubscription(context: Context, caller: Caller, id: string, traceId: string) {
  const tenantId = await findTenantOfSubscription(context.database.system, id)
  if (tenantId === undefined) throw notFound('subscription', id)
  return scopeFor(context, caller, tenantId, traceId).catch((error: unknown) => {
    throw error instanceof PipeError && error.status === 404 ? notFound('subscription', id) : error
  })
}
