import assert from 'node:assert/strict'

export interface Answer<Body = Record<string, unknown>> {
  status: number
  headers: Headers
  text: string
  /** The JSON of the text; undefined when it is empty or no JSON. */
  body: Body
}

export interface Exchange {
  method: string
  path: string
  status: number
  text: string
}

export interface Client {
  /** Any call, whatever is answered. A body that is text or bytes goes out as it is. */
  call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<Body>>
  /** A call that must be answered 2xx; gives the body. */
  ok<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Body>
  /** The same server with another key, or none. */
  as(key: string | undefined): Client
  /** Every exchange of this client and of those made from it. */
  exchanges: Exchange[]
}

/** Calls the API as a product's backend does. Without a key no authorization is sent. */
export function createClient(url: string, key: string | undefined, exchanges: Exchange[] = []): Client {
  const call: Client['call'] = async <Body>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: writeBody(body) }),
    })
    const text = await response.text()
    exchanges.push({ method, path, status: response.status, text })
    return { status: response.status, headers: response.headers, text, body: readJson(text) as Body }
  }
  return {
    call,
    ok: async (method, path, body, headers) => {
      const answer = await call(method, path, body, headers)
      assert.ok(
        answer.status >= 200 && answer.status < 300,
        `${method} ${path} → ${answer.status} ${answer.text}`,
      )
      return answer.body as never
    },
    as: (other) => createClient(url, other, exchanges),
    exchanges,
  }
}

function writeBody(body: unknown): string | Uint8Array<ArrayBuffer> {
  if (typeof body === 'string') return body
  return body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body)
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
