import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RawWebhook } from '#connections'

export interface RecordedRequest extends RawWebhook {
  /** Below the origin, as received. */
  target: string
}

export interface Reply {
  status: number
  headers?: Record<string, string>
  body?: string
}

export interface Recorder {
  url: string
  requests: RecordedRequest[]
  /** Resolves with the first recorded request that fits, also one still to come; rejects after 20 seconds. */
  find(fits: (request: RecordedRequest) => boolean): Promise<RecordedRequest>
  close(): Promise<void>
}

const patienceMs = 20_000

/** For tests: a server that keeps every request byte for byte and answers what it is told to. */
export async function startRecorder(reply: (request: RecordedRequest) => Reply): Promise<Recorder> {
  const requests: RecordedRequest[] = []
  const waiting = new Set<() => void>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const target = request.url ?? '/'
      const recorded = {
        method: request.method ?? '',
        target,
        publicUrl: `http://${request.headers.host}${target}`,
        query: new URLSearchParams(target.split('?').slice(1).join('?')),
        headers: Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        ),
        body: Buffer.concat(chunks),
      }
      requests.push(recorded)
      for (const look of waiting) look()
      const { status, headers, body } = reply(recorded)
      response.writeHead(status, headers).end(body)
    })
  })
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    find(fits) {
      return new Promise((resolve, reject) => {
        const end = () => {
          clearTimeout(timer)
          waiting.delete(look)
        }
        const timer = setTimeout(() => {
          end()
          reject(new Error(`no such request in ${patienceMs} ms, among ${requests.length}`))
        }, patienceMs)
        const look = () => {
          const found = requests.find(fits)
          if (!found) return
          end()
          resolve(found)
        }
        waiting.add(look)
        look()
      })
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
