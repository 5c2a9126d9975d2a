import { callAtRate, medianOf, percentilesOf } from '../load.ts'
import type { Options } from '../options.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { atMost, type Report } from '../report.ts'
import { type Arena, withArena } from './arena.ts'
import { type Accepted, createPublisher, type Publisher } from './publish.ts'
import type { Receiver } from './receiver.ts'
import { sampleEvents } from './sample-events.ts'

const tenants = 10
const warmUpSeconds = 3
const goal = { p50: 3, p99: 10 }

interface Side {
  name: string
  publish: Publisher['publish']
}

/** Milliseconds until the receiver's handler has an event. */
interface Waits {
  sinceAccepted: number[]
  sinceSent: number[]
}

/** How long an event is under way, accepted and delivered by one process. */
export function benchLatency(options: Options): Promise<Report> {
  return withArena({ tenants, roles: ['all'] }, async (arena) => {
    const relay = await startRelay(arena.receiver, arena.pipecore.secret)
    try {
      return reportOf(options, await play([arena.pipecore, relay], arena, options))
    } finally {
      await relay.close()
    }
  })
}

async function startRelay(
  receiver: Receiver,
  secret: string,
): Promise<Side & { close: () => Promise<void> }> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const args = ['bench/events/bare-relay.ts', String(port), receiver.url, secret]
  const child = await startProgram(args, {}, origin)
  const publisher = createPublisher(origin, 'none')
  const close = async () => void (await Promise.all([publisher.close(), endProgram(child)]))
  return { name: 'bare loop', publish: publisher.publish, close }
}

async function play(
  sides: readonly Side[],
  { receiver, secrets }: Arena,
  { rate, seconds, rounds }: Options,
): Promise<Map<string, Waits[]>> {
  const played = new Map<string, Waits[]>()
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of sides) {
      await receiver.follow({ secrets, verifyEvery: 20 })
      const waits = await measure(side, receiver, rate, round === 0 ? warmUpSeconds : seconds)
      if (round > 0) played.set(side.name, [...(played.get(side.name) ?? []), waits])
    }
  }
  return played
}

async function measure(side: Side, receiver: Receiver, rate: number, seconds: number): Promise<Waits> {
  const events = sampleEvents(rate * seconds, tenants)
  const published = new Map<string, Accepted>()
  const { failed } = await callAtRate(rate, seconds, async (index) => {
    const event = events[index]
    if (event === undefined) return
    const accepted = await side.publish(event)
    published.set(accepted.id, accepted)
  })
  if (failed > 0) throw new Error(`${side.name} refused ${failed} events`)
  await receiver.expect(events.length, side.name)
  const waits: Waits = { sinceAccepted: [], sinceSent: [] }
  for (const [id, at] of await receiver.arrivals()) {
    const times = published.get(id)
    if (times === undefined) throw new Error(`${side.name} delivered ${id}, which was never accepted`)
    waits.sinceAccepted.push(at - times.acceptedAt)
    waits.sinceSent.push(at - times.sentAt)
  }
  return waits
}

function reportOf({ rate, rounds, seconds }: Options, played: ReadonlyMap<string, Waits[]>): Report {
  const ours = played.get('PipeCore') ?? []
  const method = `${rate} events a second of ${tenants} tenants, one per \`POST /events\`, to one process that takes and delivers them; from the publisher's having the 2xx, and from its sending, to the receiver's handler. The bare loop takes events over HTTP into memory and posts them on. Publisher and receiver are processes of their own; ${rounds} rounds of ${seconds} s each, alternated; medians of the rounds' percentiles; milliseconds. Below 0: the event was there before the 2xx.`
  const header = ['side', 'accepted → handler: p50', 'p99', 'sent → handler: p50', 'p99']
  const rows = [...played].map(([name, waits]) => [name, ...cellsOf(waits)])
  const what = `latency at ${rate}/s: accepted → handler`
  const figures = [
    atMost(`${what}, p50`, medianShare(ours, 'sinceAccepted', 'p50'), goal.p50, 'ms'),
    atMost(`${what}, p99`, medianShare(ours, 'sinceAccepted', 'p99'), goal.p99, 'ms'),
  ]
  return { method: [method], tables: [{ header, rows }], figures, missing: [] }
}

function cellsOf(rounds: readonly Waits[]): string[] {
  const shares = ['sinceAccepted', 'sinceSent'] as const
  return shares.flatMap((since) =>
    (['p50', 'p99'] as const).map((share) => medianShare(rounds, since, share).toFixed(1)),
  )
}

function medianShare(rounds: readonly Waits[], since: keyof Waits, share: 'p50' | 'p99'): number {
  return medianOf(rounds.map((waits) => percentilesOf(waits[since], 0)[share]))
}
