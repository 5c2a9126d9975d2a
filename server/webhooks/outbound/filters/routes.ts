import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { testFilter } from './filter-test.ts'
import { FilterTest, FilterTestResult } from './schema.ts'

export function filterRoutes(app: App, context: Context): void {
  app.post(
    '/webhooks/endpoints/:id/filter/test',
    {
      config: { scope: 'webhooks:read' },
      schema: {
        operationId: 'testEndpointFilter',
        tags: ['Webhooks out'],
        summary: 'Say whether a body passes the filter of an endpoint, or one that you consider',
        params: z.object({ id: z.string() }),
        body: FilterTest,
        response: { 200: FilterTestResult },
      },
    },
    async (request) => testFilter(context, request.caller, request.params.id, request.body),
  )
}
