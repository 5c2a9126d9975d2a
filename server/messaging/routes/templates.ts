import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { scopeFor } from '#tenants'
import { TemplateChoice } from '../schema.ts'
import {
  getTemplate,
  getTemplates,
  Preview,
  previewTemplate,
  removeTemplate,
  saveTemplate,
  Template,
  TemplateInput,
} from '../templates/templates.ts'

const tags = ['Templates']
const tenantParams = z.object({ tenantId: z.string() })
const nameParams = tenantParams.extend({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, 'must be lower-case letters, digits, _ or -'),
})
const localeParams = nameParams.extend({
  locale: z.string().regex(/^[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*$/, 'must be a locale such as es or es-CL'),
})

export function templateRoutes(app: App, context: Context): void {
  app.put(
    '/messaging/templates/:tenantId/:name/:locale',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'saveTemplate',
        tags,
        summary: 'Save one locale of a template',
        params: localeParams,
        body: TemplateInput,
        response: { 200: Template },
      },
    },
    async (request) => {
      const { tenantId, name, locale } = request.params
      const scope = await scopeFor(context, request.caller, tenantId, request.traceId)
      return saveTemplate(context, scope, name, locale, request.body)
    },
  )
  app.get(
    '/messaging/templates/:tenantId',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'listTemplates',
        tags,
        summary: 'List templates',
        params: tenantParams,
        response: { 200: z.object({ data: z.array(Template) }) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return { data: await getTemplates(context, scope) }
    },
  )
  app.get(
    '/messaging/templates/:tenantId/:name',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'getTemplate',
        tags,
        summary: 'Read every locale of a template, the default first',
        params: nameParams,
        response: { 200: z.object({ data: z.array(Template) }) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return { data: await getTemplate(context, scope, request.params.name) }
    },
  )
  app.delete(
    '/messaging/templates/:tenantId/:name/:locale',
    {
      config: { scope: 'messaging:config' },
      schema: {
        operationId: 'deleteTemplate',
        tags,
        summary: 'Delete one locale',
        params: localeParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { tenantId, name, locale } = request.params
      const scope = await scopeFor(context, request.caller, tenantId, request.traceId)
      await removeTemplate(context, scope, name, locale)
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/messaging/templates/:tenantId/:name/preview',
    {
      config: { scope: 'messaging:read' },
      schema: {
        operationId: 'previewTemplate',
        tags,
        summary: 'Render a template and name the variables that are missing',
        params: nameParams,
        body: TemplateChoice.omit({ name: true }),
        response: { 200: Preview },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return previewTemplate(context, scope, { ...request.body, name: request.params.name })
    },
  )
}
