import type { IncomingMessage, ServerResponse } from 'node:http'

export type Call = {
  method: string
  /** Below the provider's prefix, without the query. */
  path: string
  query: URLSearchParams
  /** Lower-case names. */
  headers: Record<string, string>
  body: Buffer
}

export type Reply = {
  status: number
  headers?: Record<string, string>
  body?: string | Buffer
  /** Instead of answering: say nothing until the caller gives up, or cut the connection. */
  transport?: 'hang' | 'reset'
}

const MAX_BODY_BYTES = 45 * 1024 * 1024

export function replyJson(status: number, body: unknown, headers: Record<string, string> = {}): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(body),
  }
}

/** What a proxy in front of the provider answers: never JSON. */
export function replyProxyHtml(status: number, title: string): Reply {
  const body = `<html>\r\n<head><title>${status} ${title}</title></head>\r\n<body>\r\n<center><h1>${status} ${title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`
  return { status, headers: { 'content-type': 'text/html' }, body }
}

/** The whole body, or null when it is larger than any provider takes. */
export async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BODY_BYTES) chunks.push(chunk)
  }
  return size > MAX_BODY_BYTES ? null : Buffer.concat(chunks)
}

export function readHeaders(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  )
}

export function writeReply(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  if (reply.transport === 'hang') return
  if (reply.transport === 'reset') {
    request.socket.resetAndDestroy()
    return
  }
  const length = reply.status === 204 ? {} : { 'content-length': Buffer.byteLength(reply.body ?? '') }
  response.writeHead(reply.status, { ...length, ...reply.headers })
  response.end(reply.body)
}

/** The JSON object in the body, or null when it is anything else. */
export function readJsonObject(call: Call): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(call.body.toString('utf8'))
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** Percent-decoding that leaves what is broken as it is. */
export function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** The value when it is text or a number, else the fallback. */
export function textOf(value: unknown, fallback = ''): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' ? String(value) : fallback
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The parts of a multipart body; null when it can't be read as one. */
export async function readMultipart(call: Call): Promise<FormData | null> {
  try {
    return await new Response(new Uint8Array(call.body), {
      headers: { 'content-type': call.headers['content-type'] ?? '' },
    }).formData()
  } catch {
    return null
  }
}
