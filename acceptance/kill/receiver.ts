import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import type { Test } from '../harness.ts'

export interface Arrival {
  /** Milliseconds since 1970. */
  at: number
  text: string
  /** It was answered 2xx: PipeCore may forget it. */
  isTaken: boolean
}

export interface Receiver {
  url: string
  /** What came with the right signature, by event id. */
  arrivals: Map<string, Arrival[]>
  /** What came without it, and why that is so. */
  refused: string[]
  /** How often it failed an event on purpose, by kind. */
  faults: Record<Fault, number>
  /** Events at this path are signed with this secret. */
  trust(path: string, secret: string): void
}

type Fault = 'error' | 'cut' | 'slow'

const slowMs = 600
/** Only what was surely never tried before is failed: a third try would come minutes later. */
const oldestToFailMs = 4_000

/** The products' backend. It fails a few events on purpose, each once, and passes on the text of those it takes. */
export async function startReceiver(test: Test, hear?: (text: string) => void): Promise<Receiver> {
  const secrets = new Map<string, string>()
  const arrivals = new Map<string, Arrival[]>()
  const refused: string[] = []
  const faults = { error: 0, cut: 0, slow: 0 }

  const answer = (request: IncomingMessage, response: ServerResponse, text: string) => {
    const problem = findProblem(request, text, secrets.get(request.url ?? ''))
    if (problem !== undefined) {
      refused.push(problem)
      response.writeHead(401).end()
      return
    }
    const { id, occurred_at: occurredAt } = JSON.parse(text) as { id: string; occurred_at: string }
    const before = arrivals.get(id) ?? []
    const isYoung = Date.now() - Date.parse(occurredAt) < oldestToFailMs
    const fault = before.length === 0 && isYoung ? chooseFault(id) : undefined
    const isTaken = fault === undefined || fault === 'slow'
    arrivals.set(id, [...before, { at: Date.now(), text, isTaken }])
    if (isTaken) hear?.(text)
    if (fault !== undefined) faults[fault] += 1
    if (fault === 'error') response.writeHead(500).end('failed on purpose')
    else if (fault === 'cut') request.socket.resetAndDestroy()
    else if (fault === 'slow') setTimeout(() => response.writeHead(204).end(), slowMs)
    else response.writeHead(204).end()
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => answer(request, response, Buffer.concat(chunks).toString('utf8')))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    refused,
    faults,
    trust: (path, secret) => void secrets.set(path, secret),
  }
}

function findProblem(request: IncomingMessage, text: string, secret: string | undefined): string | undefined {
  const id = String(request.headers['webhook-id'])
  if (secret === undefined) return `${id} came to ${request.url}, which is nobody's`
  try {
    const body = new Webhook(secret).verify(text, request.headers as Record<string, string>) as { id: string }
    return body.id === id ? undefined : `${id} carries the event ${body.id}`
  } catch (error) {
    return `${id}: ${String(error)}`
  }
}

function chooseFault(eventId: string): Fault | undefined {
  const [byte = 255] = createHash('sha256').update(eventId).digest()
  if (byte < 10) return 'error'
  if (byte < 15) return 'cut'
  return byte < 22 ? 'slow' : undefined
}
