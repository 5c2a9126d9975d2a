import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { requireAdmin } from '#tenants'
import { getDeadJobs, getJob, retryDeadJob } from './dead-jobs.ts'
import { DeadJob, DeadJobQuery, Job } from './schema.ts'

const tags = ['Jobs']
const config = { scope: '*' as const }
const params = z.object({ id: z.string().max(100) })

export function routes(app: App, context: Context): void {
  app.get(
    '/jobs/dead',
    {
      config,
      schema: {
        operationId: 'listDeadJobs',
        tags,
        summary: 'List jobs that used up their attempts',
        querystring: DeadJobQuery,
        response: { 200: pageOf(DeadJob) },
      },
    },
    async (request) => {
      requireAdmin(request.caller)
      return getDeadJobs(context, request.query)
    },
  )
  app.post(
    '/jobs/dead/:id/retry',
    {
      config,
      schema: {
        operationId: 'retryDeadJob',
        tags,
        summary: 'Send a dead job back to work',
        params,
        response: { 202: Job },
      },
    },
    async (request, reply) => {
      requireAdmin(request.caller)
      return reply.code(202).send(await retryDeadJob(context, request.params.id))
    },
  )
  app.get(
    '/jobs/:id',
    {
      config,
      schema: {
        operationId: 'getJob',
        tags,
        summary: 'A job with its attempts',
        params,
        response: { 200: Job },
      },
    },
    async (request) => {
      requireAdmin(request.caller)
      return getJob(context, request.params.id)
    },
  )
}
