import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { TestContext } from 'node:test'
import { readBody, readHeaders } from './http.ts'
import { startSandbox } from './sandbox.ts'
import type { Sandbox, SandboxOptions } from './sandbox.ts'

export type Received = {
  method: string
  /** As the provider called it. */
  url: string
  headers: Record<string, string>
  body: Buffer
}

export type Receiver = {
  url: string
  received: Received[]
  /** Resolves when so many webhooks have come, or rejects with what did come after 8 seconds. */
  waitFor(count: number, matches?: (received: Received) => boolean): Promise<Received[]>
  /** How webhooks are answered from now on; null cuts the connection. */
  answerWith(answer: (received: Received) => { status: number; body?: string } | null): void
  stop(): Promise<void>
  start(): Promise<void>
}

const PATIENCE_MS = 8_000

/** Somebody's backend: collects webhooks, answers the Meta handshake for the token `verify-t1`. */
export async function startReceiver(t: TestContext): Promise<Receiver> {
  const received: Received[] = []
  const waiting = new Set<() => void>()
  let answer: Parameters<Receiver['answerWith']>[0] = () => ({ status: 200 })
  const server = createServer((request, response) => {
    void collect(request).then((call) => {
      const url = new URL(call.url)
      if (call.method === 'GET' && url.searchParams.get('hub.verify_token') === 'verify-t1') {
        return response.writeHead(200).end(url.searchParams.get('hub.challenge'))
      }
      received.push(call)
      const answered = answer(call)
      if (answered) response.writeHead(answered.status, { 'content-type': 'text/xml' }).end(answered.body)
      else request.socket.destroy()
      for (const wake of waiting) wake()
      return undefined
    })
  })
  let port = 0
  const start = () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stop = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  await start()
  const address = server.address()
  port = typeof address === 'object' && address ? address.port : 0
  const origin = `http://127.0.0.1:${port}`
  const collect = async (request: IncomingMessage): Promise<Received> => ({
    method: request.method ?? '',
    url: origin + (request.url ?? ''),
    headers: readHeaders(request),
    body: (await readBody(request)) ?? Buffer.alloc(0),
  })
  const waitFor: Receiver['waitFor'] = (count, matches = () => true) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = received.filter(matches)
        if (found.length < count) return
        finish()
        resolve(found)
      }
      const timer = setTimeout(() => {
        finish()
        const came = received.map(
          ({ method, url, body }) => `${method} ${url} ${body.toString().slice(0, 200)}`,
        )
        reject(new Error(`waited for ${count} webhooks, these came:\n${came.join('\n')}`))
      }, PATIENCE_MS)
      const finish = () => {
        clearTimeout(timer)
        waiting.delete(look)
      }
      waiting.add(look)
      look()
    })
  t.after(async () => {
    if (server.listening) await stop()
  })
  return { url: origin, received, waitFor, answerWith: (next) => void (answer = next), stop, start }
}

export type TestSandbox = Sandbox & {
  /** A control call; fails the test on anything but 2xx. */
  control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>
}

export async function startTestSandbox(
  t: TestContext,
  options: Partial<SandboxOptions> = {},
): Promise<TestSandbox> {
  const sandbox = await startSandbox({ port: 0, callbackDelayMs: 5, ...options })
  t.after(() => sandbox.close())
  return {
    ...sandbox,
    async control(method, path, body) {
      const answer = await fetch(`${sandbox.url}/sandbox${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const told = (await answer.json()) as Record<string, unknown>
      if (!answer.ok) throw new Error(`${method} ${path} → ${answer.status} ${JSON.stringify(told)}`)
      return told
    },
  }
}

/** Form parameters of a webhook. */
export function formOf({ body }: Received): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(body.toString()))
}
