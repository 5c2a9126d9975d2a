import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { exportChain, getChainHead } from './export.ts'
import { ChainHead, ChainQuery, ExportQuery } from './schema.ts'

const tags = ['Webhooks out']
const config = { scope: 'webhooks:read' as const }

export function auditRoutes(app: App, context: Context): void {
  app.get(
    '/webhooks/audit',
    {
      config,
      schema: {
        operationId: 'getAuditHead',
        tags,
        summary: 'The newest hash of an audit chain, and the key that signs it',
        querystring: ChainQuery,
        response: { 200: ChainHead },
      },
    },
    async (request) => getChainHead(context, request.caller, request.query),
  )
  app.get(
    '/webhooks/audit/export',
    {
      config,
      schema: {
        operationId: 'exportAudit',
        tags,
        summary: 'Blocks of an audit chain with their attempts, as JSON Lines',
        description: 'The last line has `next_after`: ask again with it as `after` until it is null.',
        querystring: ExportQuery,
        response: { 200: z.string() },
      },
    },
    async (request, reply) =>
      reply.type('application/jsonl').send(await exportChain(context, request.caller, request.query)),
  )
}
