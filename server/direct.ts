import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Context } from '#core/context.ts'
import { createId } from '#core/ids.ts'
import { parseJson } from '#core/json-body.ts'
import type { App } from '#core/module.ts'
import { describeFailure } from '#core/problem.ts'
import { traceIdFrom } from '#core/trace.ts'
import { type Caller, hasScope, recallCaller, type Scope } from '#tenants'
import { measureRequest } from './metrics.ts'

export interface DirectRequest {
  caller: Caller
  traceId: string
  body: unknown
}

/** How a route answers a request that says all in its body. */
export interface DirectAnswer {
  status: number
  run(request: DirectRequest): Promise<object>
}

interface DirectRoute extends DirectAnswer {
  path: string
  scope: Scope
  bodyLimit: number
}

interface DirectRoutes {
  before(usual: RequestListener): RequestListener
  /** Takes the routes that have a `direct` in their `config`. */
  collect(app: App): void
}

/**
 * Routes that are called so often that most of a request would be the framework's. They are answered in front of it
 * where the caller is known and the request is ordinary; everything else goes the usual way, before its body is read.
 */
export function createDirectRoutes(context: Context): DirectRoutes {
  const routes = new Map<string, DirectRoute>()
  let isOpen = true
  return {
    before: (usual) => (request, response) => {
      const route = isOpen ? routes.get(request.url ?? '') : undefined
      const caller = route && isOrdinary(request, route) ? callerOf(context, request, route) : undefined
      if (route === undefined || caller === undefined) usual(request, response)
      else answer({ context, route, caller, request, response })
    },
    collect(app) {
      app.addHook('onRoute', ({ url: path, config = {}, bodyLimit = 0 }) => {
        const { direct, scope } = config
        if (direct !== undefined && scope !== undefined)
          routes.set(path, { ...direct, path, scope, bodyLimit })
      })
      app.addHook('preClose', async () => void (isOpen = false))
    },
  }
}

const jsonType = /^application\/json(; ?charset=utf-8)?$/i

function isOrdinary({ method, headers }: IncomingMessage, { bodyLimit }: DirectRoute): boolean {
  const length = Number(headers['content-length'] ?? 0)
  return (
    method === 'POST' &&
    jsonType.test(headers['content-type'] ?? '') &&
    length > 0 &&
    length <= bodyLimit &&
    headers['idempotency-key'] === undefined
  )
}

function callerOf(context: Context, { headers }: IncomingMessage, { scope }: DirectRoute) {
  const caller = recallCaller(context, headers.authorization)
  return caller !== undefined && hasScope(caller, scope) ? caller : undefined
}

interface Exchange {
  context: Context
  route: DirectRoute
  caller: Caller
  request: IncomingMessage
  response: ServerResponse
}

/** One whose body breaks off needs no answer: nobody is there to hear it. */
function answer(exchange: Exchange): void {
  const startedAt = performance.now()
  const chunks: Buffer[] = []
  exchange.request.on('data', (chunk: Buffer) => void chunks.push(chunk))
  exchange.request.once('end', () => {
    const [only] = chunks
    const bytes = only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks)
    void run(exchange, bytes, startedAt)
  })
}

async function run(exchange: Exchange, bytes: Buffer, startedAt: number): Promise<void> {
  const { context, route, caller, request, response } = exchange
  const id = createId('req')
  const traceId = traceIdFrom(request.headers.traceparent?.toString())
  const headers = ['x-request-id', id, 'x-trace-id', traceId]
  let { status } = route
  let text: string
  try {
    const body = parseJson(bytes)
    text = JSON.stringify(await route.run({ caller, traceId, body }))
    headers.push('content-type', 'application/json; charset=utf-8')
  } catch (error) {
    const failure = describeFailure(error, id, context.log.child({ reqId: id }))
    ;({ status, text } = failure)
    headers.push(...Object.entries(failure.headers).flat())
  }
  headers.push('content-length', String(Buffer.byteLength(text)))
  response.writeHead(status, headers).end(text)
  const seconds = (performance.now() - startedAt) / 1000
  measureRequest(context, seconds, { route: route.path, method: 'POST', status: String(status) })
}
