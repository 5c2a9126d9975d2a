import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import type { Test } from '../harness.ts'
import { giveAnswer, takes, type Treatment } from './treatments.ts'

/** One request as the receiver remembers it. */
export interface Arrival {
  /** Milliseconds since 1970. */
  at: number
  path: string
  id: string
  /** When the API took the event. */
  recordedAt: number
  ref: string
  entity: string
  /** Of the event among those of its entity. */
  place: number
  treatment: Treatment
  /** The receiver acted on it. */
  isTaken: boolean
  /** When a whole answer had been handed over; undefined: the sender has not seen one. */
  answeredAt: number | undefined
}

export interface Place {
  path: string
  /** Decides by what was received of the same event before. */
  treat: (arrival: Pick<Arrival, 'id' | 'at'>, earlier: readonly Arrival[]) => Treatment
  /** How long an answer takes. */
  answerMs?: number
}

export interface Receiver {
  url: string
  /** By path, in the order in which they came. */
  arrivals: Map<string, Arrival[]>
  /** What came with a wrong signature, or to nobody. */
  refused: string[]
  /** Most requests at the same time, by path. */
  peaks: Map<string, number>
  open(place: Place): void
  /** Events at this path are signed with this secret. */
  trust(path: string, secret: string): void
  arrivalsOf(path: string, id: string): readonly Arrival[]
}

interface Opened extends Place {
  secret: string
  running: number
  byId: Map<string, Arrival[]>
}

interface EventBody {
  id: string
  occurred_at: string
  ref: string
  entity: string
  place: number
}

/** A backend behind several endpoints, each with manners of its own; it remembers every request. */
export async function startReceiver(test: Test): Promise<Receiver> {
  const places = new Map<string, Opened>()
  const receiver = {
    arrivals: new Map<string, Arrival[]>(),
    refused: [] as string[],
    peaks: new Map<string, number>(),
  }
  const server = createServer((request, response) => {
    const at = Date.now()
    const place = places.get(request.url ?? '')
    if (place !== undefined) countRunning(receiver.peaks, place, response)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const problem = findProblem(request, text, place?.secret)
      if (place !== undefined && problem === undefined) {
        const arrival = note(receiver.arrivals, place, JSON.parse(text) as EventBody, at)
        giveAnswer(response, arrival, place.answerMs ?? 0)
        return
      }
      receiver.refused.push(problem ?? 'came to nobody')
      response.writeHead(401).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    ...receiver,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: (place) => {
      places.set(place.path, { ...place, secret: '', running: 0, byId: new Map() })
      receiver.arrivals.set(place.path, [])
    },
    trust: (path, secret) => {
      places.get(path)!.secret = secret
    },
    arrivalsOf: (path, id) => places.get(path)?.byId.get(id) ?? [],
  }
}

function countRunning(peaks: Map<string, number>, place: Opened, response: ServerResponse): void {
  place.running += 1
  peaks.set(place.path, Math.max(peaks.get(place.path) ?? 0, place.running))
  response.once('close', () => {
    place.running -= 1
  })
}

function note(arrivals: Receiver['arrivals'], place: Opened, body: EventBody, at: number): Arrival {
  const { id, ref, entity, place: number } = body
  const earlier = place.byId.get(id) ?? []
  const treatment = place.treat({ id, at }, earlier)
  const isTaken = takes(treatment)
  const recordedAt = Date.parse(body.occurred_at)
  const arrival = { at, recordedAt, path: place.path, id, ref, entity, place: number, treatment, isTaken }
  const noted: Arrival = { ...arrival, answeredAt: undefined }
  place.byId.set(id, [...earlier, noted])
  arrivals.get(place.path)?.push(noted)
  return noted
}

/** Whatever the sender's clock says: it may be made to jump. */
function findProblem(request: IncomingMessage, text: string, secret: string | undefined): string | undefined {
  const id = String(request.headers['webhook-id'])
  if (secret === undefined || secret === '') return `${id} came to ${request.url}, which is nobody's`
  const signedAt = new Date(Number(request.headers['webhook-timestamp']) * 1_000)
  const expected = new Webhook(secret).sign(id, signedAt, text)
  return request.headers['webhook-signature'] === expected ? undefined : `${id}: wrong signature`
}
