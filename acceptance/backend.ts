import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { eventually } from './eventually.ts'
import type { Test } from './harness.ts'

export type EventBody = Record<string, unknown> & { id: string; event: string; tenant_id: string }

export interface ReceivedEvent {
  /** Path it came to: one backend may be several endpoints. */
  path: string
  headers: IncomingHttpHeaders
  /** The exact bytes that were signed. */
  text: string
  body: EventBody
  /** Position among the backend's secrets of each one that verifies it. */
  signedBy: number[]
}

export interface Backend {
  url: string
  /** In the order of arrival; repeated deliveries too. Only what was signed with a trusted secret. */
  events: ReceivedEvent[]
  /** What came with no trusted signature, answered 401. */
  refused: ReceivedEvent[]
  secrets: readonly string[]
  /** Takes events signed with this secret; give it before the first event can come. */
  trust(secret: string): void
  /** What it answers from now on; default 204. */
  answerWith(status: number, body?: string, headers?: Record<string, string>): void
  /** Waits for an event of a type that fits. */
  waitFor(
    type: string,
    fits?: (body: EventBody, event: ReceivedEvent) => boolean,
    deadlineMs?: number,
  ): Promise<ReceivedEvent>
}

/** A product's backend: verifies Standard Webhooks signatures with the public library and keeps what came. */
export async function startBackend(test: Test): Promise<Backend> {
  const secrets: string[] = []
  const events: ReceivedEvent[] = []
  const refused: ReceivedEvent[] = []
  let answer: [status: number, headers: Record<string, string>, body: string] = [204, {}, '']
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const event = readEvent(request.url ?? '', request.headers, text, secrets)
      const isTrusted = event.signedBy.length > 0
      ;(isTrusted ? events : refused).push(event)
      const [status, headers, body] = answer
      if (isTrusted) response.writeHead(status, headers).end(body)
      else response.writeHead(401).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    events,
    refused,
    secrets,
    trust: (secret) => void secrets.push(secret),
    answerWith: (status, body = '', headers = {}) => {
      answer = [status, headers, body]
    },
    waitFor: (type, fits = () => true, deadlineMs) =>
      eventually(() => {
        const found = events.find((event) => event.body.event === type && fits(event.body, event))
        if (found !== undefined) return found
        const came = events.map(({ body }) => `${body.event} of ${body.tenant_id}`)
        throw new Error(`no ${type} fits; came: ${came.join(', ') || 'nothing'}; refused: ${refused.length}`)
      }, deadlineMs),
  }
}

function readEvent(
  path: string,
  headers: IncomingHttpHeaders,
  text: string,
  secrets: readonly string[],
): ReceivedEvent {
  const signedBy = secrets.flatMap((secret, index) => (isSigned(secret, headers, text) ? [index] : []))
  return { path, headers, text, body: JSON.parse(text) as EventBody, signedBy }
}

function isSigned(secret: string, headers: IncomingHttpHeaders, text: string): boolean {
  try {
    new Webhook(secret).verify(text, headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}
