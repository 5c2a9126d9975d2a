import { clockMs } from '../clock.ts'
import { callAtRate, medianOf, percentilesOf } from '../load.ts'
import type { Options } from '../options.ts'
import { startCluster } from '../postgres.ts'
import { endProgram, findFreePort, startProgram } from '../processes.ts'
import { atMost, type Report } from '../report.ts'
import { startPipeCore } from './pipecore.ts'
import { createPublish, type Publish } from './publish.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { sampleEvents } from './sample-events.ts'

const tenants = 10
const warmUpSeconds = 3
const goal = { p50: 3, p99: 10 }

interface Side {
  name: string
  publish: Publish
  close(): Promise<void>
}

/** Milliseconds until the receiver's handler has an event. */
interface Waits {
  sinceAccepted: number[]
  sinceSent: number[]
}

/** How long an event is under way, accepted and delivered by one process. */
export async function benchLatency(options: Options): Promise<Report> {
  const cluster = await startCluster({ counting: false })
  const receiver = await startReceiver()
  const sides: Side[] = []
  try {
    const pipecore = await startPipeCore({
      cluster,
      name: 'pipecore',
      tenants,
      receiverUrl: receiver.url,
      roles: ['all'],
    })
    sides.push(pipecore, await startRelay(receiver, pipecore.secret))
    const played = await play(sides, receiver, pipecore.secret, options)
    const rows = sides.map(({ name }) => [name, ...cellsOf(played.get(name) ?? [])])
    const ours = (share: 'p50' | 'p99') =>
      medianOf(sharesOf(played.get('PipeCore') ?? [], 'sinceAccepted', share))
    const method = `${options.rate} events a second of ${tenants} tenants, one per \`POST /events\`, to one process that takes and delivers them; from the publisher's having the 2xx, and from its sending, to the receiver's handler. The bare loop takes events over HTTP into memory and posts them on. Publisher and receiver are processes of their own; ${options.rounds} rounds of ${options.seconds} s each, alternated; medians of each round's percentiles; milliseconds. Below 0: the event was there before the 2xx.`
    const header = ['side', 'accepted → p50', 'p99', 'sent → p50', 'p99']
    const figures = [
      atMost(`latency at ${options.rate}/s: accepted → handler, p50`, ours('p50'), goal.p50, 'ms'),
      atMost(`latency at ${options.rate}/s: accepted → handler, p99`, ours('p99'), goal.p99, 'ms'),
    ]
    return { method: [method], tables: [{ header, rows }], figures, missing: [] }
  } finally {
    for (const side of sides) await side.close()
    await receiver.close()
    await cluster.close()
  }
}

async function startRelay(receiver: Receiver, secret: string): Promise<Side> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const child = await startProgram(
    ['bench/events/bare-relay.ts', String(port), receiver.url, secret],
    {},
    origin,
  )
  const { publish, close } = createPublish(origin, 'none')
  return {
    name: 'bare loop',
    publish,
    close: async () => void (await Promise.all([close(), endProgram(child)])),
  }
}

async function play(
  sides: readonly Side[],
  receiver: Receiver,
  secret: string,
  { rate, seconds, rounds }: Options,
): Promise<Map<string, Waits[]>> {
  const played = new Map<string, Waits[]>()
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of sides) {
      await receiver.follow({ secrets: [secret], verifyEvery: 20 })
      const waits = await measure(side, receiver, rate, round === 0 ? warmUpSeconds : seconds)
      if (round > 0) played.set(side.name, [...(played.get(side.name) ?? []), waits])
    }
  }
  return played
}

async function measure(side: Side, receiver: Receiver, rate: number, seconds: number): Promise<Waits> {
  const events = sampleEvents(rate * seconds, tenants)
  const published = new Map<string, { sentAt: number; acceptedAt: number }>()
  const { failed } = await callAtRate(rate, seconds, async (index) => {
    const event = events[index]
    if (event === undefined) return
    const sentAt = clockMs()
    const { id, acceptedAt } = await side.publish(event)
    published.set(id, { sentAt, acceptedAt })
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

function sharesOf(rounds: readonly Waits[], since: keyof Waits, share: 'p50' | 'p99'): number[] {
  return rounds.map((waits) => percentilesOf(waits[since], 0)[share])
}

function cellsOf(rounds: readonly Waits[]): string[] {
  const cell = (since: keyof Waits, share: 'p50' | 'p99') =>
    medianOf(sharesOf(rounds, since, share)).toFixed(1)
  return [
    cell('sinceAccepted', 'p50'),
    cell('sinceAccepted', 'p99'),
    cell('sinceSent', 'p50'),
    cell('sinceSent', 'p99'),
  ]
}
