import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ReceivedEvent {
  headers: IncomingHttpHeaders
  text: string
  body: Record<string, unknown> & { id: string; event: string }
}

export interface Receiver {
  url: string
  events: ReceivedEvent[]
  /** What it answers from now on; default 204. */
  answerWith(status: number, headers?: Record<string, string>): void
  /** Waits until an event arrived that fits; rejects after the deadline with what did arrive. */
  waitFor(fits: (event: ReceivedEvent) => boolean, deadlineMs?: number): Promise<ReceivedEvent>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** A tenant's backend that keeps what it is sent. */
export async function startReceiver(test: Test): Promise<Receiver> {
  const events: ReceivedEvent[] = []
  let answer: { status: number; headers: Record<string, string> } = { status: 204, headers: {} }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      events.push({ headers: request.headers, text, body: JSON.parse(text) as ReceivedEvent['body'] })
      response.writeHead(answer.status, answer.headers).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/events`,
    events,
    answerWith: (status, headers = {}) => {
      answer = { status, headers }
    },
    waitFor: async (fits, deadlineMs = 30_000) => {
      const deadline = performance.now() + deadlineMs
      for (;;) {
        const found = events.find(fits)
        if (found !== undefined) return found
        if (performance.now() > deadline) {
          throw new Error(
            `No such event. Received: ${events.map((event) => event.body.event).join(', ') || 'none'}`,
          )
        }
        await sleep(10)
      }
    },
  }
}
