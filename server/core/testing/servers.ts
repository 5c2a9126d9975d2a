import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { text } from 'node:stream/consumers'
import { createCertificate } from './certificate.ts'

interface SeenRequest extends Pick<IncomingMessage, 'method' | 'url' | 'headers'> {
  body: string
}

/** A server on loopback that keeps every request it has read whole; it ends with the test. */
export async function startHttp(t: TestContext, handler: RequestListener) {
  const requests: SeenRequest[] = []
  const server = createHttpServer(keepRequests(requests, handler))
  return { ...(await listen(t, server)), requests }
}

/** Answers 200 under a certificate that only those trust who are given `cert`. */
export async function startHttps(t: TestContext, hostname: string) {
  const certificate = createCertificate(hostname)
  const requests: SeenRequest[] = []
  const askedFor: unknown[] = []
  const server = createHttpsServer(
    certificate,
    keepRequests(requests, (_request, response) => response.end()),
  )
  server.on('secureConnection', (socket) => askedFor.push(socket.servername))
  return { ...(await listen(t, server)), requests, askedFor, cert: certificate.cert }
}

/** For what no HTTP server would do; reads and forgets what `onConnection` does not read. */
export async function startTcp(t: TestContext, onConnection: (socket: Socket) => void) {
  const server = createTcpServer((socket) => {
    onConnection(socket)
    socket.resume()
  })
  return listen(t, server)
}

export async function closed(socket: Socket | undefined): Promise<void> {
  assert.ok(socket, 'no connection came')
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
}

function keepRequests(requests: SeenRequest[], handler: RequestListener): RequestListener {
  return (request, response) => {
    const { method, url, headers } = request
    text(request).then(
      (body) => {
        requests.push({ method, url, headers, body })
        handler(request, response)
      },
      () => response.destroy(),
    )
  }
}

async function listen<S extends Server>(t: TestContext, server: S) {
  const connections: Socket[] = []
  server.on('connection', (socket: Socket) => {
    connections.push(socket)
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of connections) socket.destroy()
  })
  const address = server.address()
  assert.ok(typeof address === 'object' && address)
  return { server, port: address.port, url: `http://127.0.0.1:${address.port}`, connections }
}
