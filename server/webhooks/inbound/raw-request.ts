import type { FastifyRequest } from 'fastify'
import type { RawWebhook } from '#connections'
import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'

/** In this scope bodies stay bytes: they are what providers sign. */
export function keepRawBodies(app: App): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
}

/** A request as its sender made it; no header has a say in the URL. */
export function readRawWebhook(context: Context, request: FastifyRequest): RawWebhook {
  // A request may name its target with an origin; providers sign ours.
  const target = (request.raw.url ?? '/').replace(/^[a-z]+:\/\/[^/?]*/i, '')
  const publicUrl = context.config.publicUrl + target
  const headers = Object.entries(request.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(', ') : (value ?? ''),
  ])
  return {
    method: request.method,
    publicUrl,
    query: new URL(publicUrl).searchParams,
    headers: Object.fromEntries(headers) as Record<string, string>,
    body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
  }
}
