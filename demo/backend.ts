import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { StepFailed } from './check.ts'

/** An event as its body says it. */
export interface Event {
  id: string
  event: string
  tenant_id: string
  message_id?: string
  payment_id?: string
  subscription_id?: string
  from?: string
  text?: string | null
  reference?: string | null
  provider?: string
}

/** A product's own backend, which takes no event it can't prove. */
export interface Backend {
  url: string
  /** Takes the endpoint's secret, shown once when the endpoint is made. */
  trust(secret: string): void
  /** Every event once, in the order of arrival. */
  events: Event[]
  counts: { verified: number; refused: number }
  /** Resolves with so many events that match, as soon as they are there. */
  waitFor(what: string, matches: (event: Event) => boolean, count?: number): Promise<Event[]>
}

const toleranceSeconds = 300
const patienceMs = 15_000

export async function startBackend(): Promise<Backend> {
  const events: Event[] = []
  const counts = { verified: 0, refused: 0 }
  const waiting = new Set<() => void>()
  let secret = ''
  const take = (headers: IncomingHttpHeaders, body: string): number => {
    if (!isSigned(secret, headers, body)) {
      counts.refused += 1
      return 401
    }
    counts.verified += 1
    const event = JSON.parse(body) as Event
    if (!events.some(({ id }) => id === event.id)) events.push(event)
    for (const look of waiting) look()
    return 204
  }
  const server = createServer((request, response) => {
    void readBody(request).then((body) => response.writeHead(take(request.headers, body)).end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/webhooks/pipecore`,
    trust: (given) => void (secret = given),
    events,
    counts,
    waitFor: (what, matches, count = 1) => waitFor({ events, counts }, waiting, { what, matches, count }),
  }
}

/** Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`; several signatures while a secret rotates. */
function isSigned(secret: string, headers: IncomingHttpHeaders, body: string): boolean {
  const read = (name: string) => String(headers[`webhook-${name}`])
  const ageSeconds = Math.abs(Date.now() / 1000 - Number(read('timestamp')))
  if (secret === '' || !(ageSeconds <= toleranceSeconds)) return false
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const content = `${read('id')}.${read('timestamp')}.${body}`
  const expected = Buffer.from(`v1,${createHmac('sha256', key).update(content).digest('base64')}`)
  return read('signature')
    .split(' ')
    .map((signature) => Buffer.from(signature))
    .some((signature) => signature.length === expected.length && timingSafeEqual(signature, expected))
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

interface Wish {
  what: string
  matches: (event: Event) => boolean
  count: number
}

function waitFor(
  { events, counts }: Pick<Backend, 'events' | 'counts'>,
  waiting: Set<() => void>,
  wish: Wish,
): Promise<Event[]> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      waiting.delete(look)
    }
    const look = () => {
      const found = events.filter(wish.matches)
      if (found.length < wish.count) return
      end()
      resolve(found)
    }
    const timer = setTimeout(() => {
      end()
      const last = events.slice(-4).map(({ event, message_id: about }) => `${event} of ${about}`)
      const came = `${events.filter(wish.matches).length} in ${patienceMs / 1000} s; ${counts.refused} refused`
      const found = `${came}; the last taken: ${last.join(', ') || 'none'}`
      reject(new StepFailed(wish.what, `${wish.count} at the backend`, found))
    }, patienceMs)
    waiting.add(look)
    look()
  })
}
