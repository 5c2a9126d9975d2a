import fastify, { LogController } from 'fastify'
import { equalText } from '#connections'
import type { Context } from '#core/context.ts'
import { durationBuckets, instrumentsOf } from '#core/metrics/metrics.ts'
import type { App } from '#core/module.ts'
import { refuseConnection, sendProblem } from '#core/problem.ts'
import { authenticate, requireAdmin } from '#tenants'

const instruments = instrumentsOf((meter) => ({
  requests: meter.createHistogram('pipecore_http_request_duration_seconds', {
    description: 'Requests to the API by route and status, and how long their answers took.',
    unit: 's',
    advice: { explicitBucketBoundaries: durationBuckets },
  }),
}))

interface RequestLabels extends Record<string, string> {
  /** By its pattern, never by what a caller wrote; what fits no route is one. */
  route: string
  method: string
  status: string
}

export function measureRequest(context: Context, seconds: number, labels: RequestLabels): void {
  instruments(context).requests.record(seconds, labels)
}

export function measureRequests(app: App, context: Context): void {
  app.addHook('onResponse', async (request, reply) => {
    const { url: route = 'none' } = request.is404 ? {} : request.routeOptions
    const method = request.is404 ? 'none' : request.method
    measureRequest(context, reply.elapsedTime / 1000, { route, method, status: String(reply.statusCode) })
  })
}

/** `GET /metrics`, for the admin key or the token that is only for this. */
export function scrapeRoute(app: App, context: Context): void {
  app.get('/metrics', { config: { public: true }, schema: { hide: true } }, async (request, reply) => {
    await authorizeScrape(context, request.headers.authorization)
    reply.type('text/plain; version=0.0.4; charset=utf-8')
    return context.metrics.render()
  })
}

async function authorizeScrape(context: Context, authorization: string | undefined): Promise<void> {
  const { metricsToken } = context.config
  if (metricsToken !== undefined && equalText(authorization ?? '', `Bearer ${metricsToken}`)) return
  requireAdmin(await authenticate(context, authorization))
}

/** Nothing but the metrics, for a port of their own. */
export function createScrapeApp(context: Context): App {
  const app = fastify({
    loggerInstance: context.log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true,
    clientErrorHandler: refuseConnection,
  }) as unknown as App
  app.setErrorHandler(sendProblem)
  scrapeRoute(app, context)
  return app
}
