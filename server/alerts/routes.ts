import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { pageOf } from '#core/pagination.ts'
import { scopeFor } from '#tenants'
import { getIncidents } from './incidents.ts'
import { getContacts, getRules, removeRule, saveContacts, saveRule } from './rules.ts'
import { Contacts, Incident, IncidentQuery, Rule, RuleSettings } from './schema.ts'

const tags = ['Alerts']
const params = z.object({ tenantId: z.string() })
const ruleParams = params.extend({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, 'must be lower-case letters, digits, _ or -'),
})

export function routes(app: App, context: Context): void {
  app.get(
    '/alerts/rules/:tenantId',
    {
      config: { scope: 'alerts:read' },
      schema: {
        operationId: 'listAlertRules',
        tags,
        summary: 'List what is watched for a tenant',
        params,
        response: { 200: z.object({ data: z.array(Rule) }) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return { data: await getRules(context, scope) }
    },
  )
  app.put(
    '/alerts/rules/:tenantId/:name',
    {
      config: { scope: 'alerts:write' },
      schema: {
        operationId: 'saveAlertRule',
        tags,
        summary: 'Save a rule, or change one of the defaults',
        params: ruleParams,
        body: RuleSettings,
        response: { 200: Rule },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return saveRule(context, scope, request.params.name, request.body)
    },
  )
  app.delete(
    '/alerts/rules/:tenantId/:name',
    {
      config: { scope: 'alerts:write' },
      schema: {
        operationId: 'deleteAlertRule',
        tags,
        summary: 'Delete a saved rule; a default comes back as it was',
        params: ruleParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      await removeRule(context, scope, request.params.name)
      return reply.code(204).send(null)
    },
  )
  app.put(
    '/alerts/contacts/:tenantId',
    {
      config: { scope: 'alerts:write' },
      schema: {
        operationId: 'saveAlertContacts',
        tags,
        summary: 'Say who is written to when something is wrong',
        params,
        body: Contacts,
        response: { 200: Contacts },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return saveContacts(context, scope, request.body)
    },
  )
  app.get(
    '/alerts/contacts/:tenantId',
    {
      config: { scope: 'alerts:read' },
      schema: {
        operationId: 'getAlertContacts',
        tags,
        summary: 'Who is written to when something is wrong',
        params,
        response: { 200: Contacts },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.params.tenantId, request.traceId)
      return getContacts(context, scope)
    },
  )
  app.get(
    '/alerts/incidents',
    {
      config: { scope: 'alerts:read' },
      schema: {
        operationId: 'listAlertIncidents',
        tags,
        summary: 'List incidents of a tenant, newest first, with who was told',
        querystring: IncidentQuery,
        response: { 200: pageOf(Incident) },
      },
    },
    async (request) => {
      const scope = await scopeFor(context, request.caller, request.query.tenant_id, request.traceId)
      return getIncidents(context, scope, request.query)
    },
  )
}
