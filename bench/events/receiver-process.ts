/** The receiver that all sides post to. `node bench/events/receiver-process.ts <port>` */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { clockMs } from '../clock.ts'
import type { Arrivals, Plan, Progress } from './receiver.ts'

const hangMs = 30_000

const none: Plan = { secrets: [], verifyEvery: 1, delayMs: 0, slowEvery: 0, slowMs: 0 }
let plan = none
let arrivals = new Map<string, number>()
let progress = noProgress()
const hanging = new Set<ServerResponse>()

function noProgress(): Progress {
  return { posts: 0, distinct: 0, bytes: 0, verified: 0, forged: 0, hung: 0, firstAt: 0, lastAt: 0 }
}

function take(request: IncomingMessage, response: ServerResponse): void {
  const at = clockMs()
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    note(request, Buffer.concat(chunks), at)
    const isSlow = plan.slowEvery > 0 && progress.posts % plan.slowEvery === 0
    const delayMs = isSlow ? plan.slowMs : plan.delayMs
    if (delayMs === 0) response.writeHead(204).end()
    else setTimeout(() => response.writeHead(204).end(), delayMs)
  })
}

function note({ headers }: IncomingMessage, body: Buffer, at: number): void {
  const id = String(headers['webhook-id'])
  if (progress.posts === 0) progress.firstAt = at
  progress.posts += 1
  progress.bytes += body.length
  progress.lastAt = at
  if (arrivals.has(id)) return
  arrivals.set(id, at)
  progress.distinct = arrivals.size
  if (progress.distinct % plan.verifyEvery === 0) verify(headers as Record<string, string>, body)
}

function verify(headers: Record<string, string>, body: Buffer): void {
  const isGenuine = plan.secrets.some((secret) => {
    try {
      new Webhook(secret).verify(body, headers)
      return true
    } catch {
      return false
    }
  })
  if (isGenuine) progress.verified += 1
  else progress.forged += 1
}

function hang(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  hanging.add(response)
  progress.hung += 1
  setTimeout(() => response.writeHead(204).end(), hangMs).unref()
  response.once('close', () => hanging.delete(response))
}

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk)
  for (const one of hanging) one.destroy()
  plan = { ...none, ...(JSON.parse(text) as Plan) }
  arrivals = new Map()
  progress = noProgress()
  response.writeHead(204).end()
}

function tell(response: ServerResponse, answer: Progress | Arrivals): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}

const server = createServer((request, response) => {
  if (request.url === '/events') take(request, response)
  else if (request.url === '/hang') hang(request, response)
  else if (request.url === '/plan') void control(request, response)
  else if (request.url === '/arrivals') tell(response, [...arrivals])
  else tell(response, progress)
})
server.keepAliveTimeout = 60_000
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
