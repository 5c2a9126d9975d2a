import { createServer, type RequestListener } from 'node:http'
import swagger from '@fastify/swagger'
import scalar from '@scalar/fastify-api-reference'
import fastify, { LogController } from 'fastify'
import {
  createJsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { sql } from 'kysely'
import type { Context } from '#core/context.ts'
import { PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import { readJsonBodies } from '#core/json-body.ts'
import type { App, Module } from '#core/module.ts'
import { refuseConnection, sendProblem } from '#core/problem.ts'
import { traceIdFrom } from '#core/trace.ts'
import { authenticate, type Caller, requireScope, type Scope } from '#tenants'
import { createDirectRoutes, type DirectAnswer } from './direct.ts'
import { measureRequests, scrapeRoute } from './metrics.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on every route that is not public. */
    caller: Caller
    traceId: string
  }
  interface FastifyContextConfig {
    /** What a key must be allowed to do here. A route without it and not `public` does not start. */
    scope?: Scope
    public?: boolean
    /** Answers ordinary requests in front of the framework. */
    direct?: DirectAnswer
  }
}

const bodyLimitBytes = 1024 * 1024

/** The HTTP application of the given modules: authentication, problems, OpenAPI and their routes. */
export async function createApp(context: Context, modules: readonly Module[]): Promise<App> {
  const direct = createDirectRoutes(context)
  const app = fastify({
    serverFactory: (usual, { keepAliveTimeout, requestTimeout }) =>
      createServer(
        { keepAliveTimeout: Number(keepAliveTimeout), requestTimeout: Number(requestTimeout) },
        direct.before(usual as RequestListener),
      ),
    loggerInstance: context.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyLimitBytes,
    genReqId: () => createId('req'),
    routerOptions: { maxParamLength: 300 },
    forceCloseConnections: 'idle',
    requestTimeout: 60_000,
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    clientErrorHandler: refuseConnection,
  }).withTypeProvider<ZodTypeProvider>() as unknown as App
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      new PipeError('path_not_found', 404, `There is no ${request.method} ${request.url.split('?')[0]}.`),
      request,
      reply,
    ),
  )
  readJsonBodies(app)
  addAuthentication(app, context)
  direct.collect(app)
  measureRequests(app, context)
  await addReference(app)
  app.get('/health', { config: { public: true }, schema: { hide: true } }, async () => ({ status: 'ok' }))
  app.get('/ready', { config: { public: true }, schema: { hide: true } }, async () => checkReadiness(context))
  scrapeRoute(app, context)
  for (const module of modules) {
    await app.register(async (scope) => module.routes?.(scope as unknown as App, context, modules))
  }
  await app.ready()
  return app
}

function addAuthentication(app: App, context: Context): void {
  app.decorateRequest('traceId', '')
  app.decorateRequest('caller')
  app.addHook('onRoute', (route) => {
    if (route.url.startsWith('/reference')) route.config = { ...route.config, public: true }
    if (route.config?.public !== true && route.config?.scope === undefined) {
      throw new Error(`${String(route.method)} ${route.url} names neither a scope nor public.`)
    }
  })
  app.addHook('onRequest', async (request, reply) => {
    request.traceId = traceIdFrom(request.headers.traceparent?.toString())
    reply.header('x-request-id', request.id)
    reply.header('x-trace-id', request.traceId)
    const { config } = request.routeOptions
    if (request.is404 || config.public === true) return
    request.caller = await authenticate(context, request.headers.authorization)
    if (config.scope !== undefined) requireScope(request.caller, config.scope)
  })
}

/** Whether this process can take work now: what a load balancer asks. */
async function checkReadiness(context: Context): Promise<{ status: 'ready' }> {
  try {
    await sql`select 1`.execute(context.database.system)
    return { status: 'ready' }
  } catch (error) {
    throw new PipeError('database_unreachable', 503, 'The database does not answer.', {
      cause: error,
      retryAfterSeconds: 5,
    })
  }
}

async function addReference(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'PipeCore API',
        version: '0.1.0',
        description: 'One core behind several SaaS products: messaging, connections and events.',
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: createJsonSchemaTransform({ skipList: [] }),
  })
  app.get('/openapi.json', { config: { public: true }, schema: { hide: true } }, async () => app.swagger())
  // The page calls nobody but us: a caller pastes an API key into it.
  const configuration = {
    url: '/openapi.json',
    telemetry: false,
    withDefaultFonts: false,
    hideClientButton: true,
    showDeveloperTools: 'never' as const,
    agent: { disabled: true },
    mcp: { disabled: true },
  }
  await app.register(scalar, { routePrefix: '/reference', configuration })
}
