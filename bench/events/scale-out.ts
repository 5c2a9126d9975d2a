import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { readCpu } from '../cpu.ts'
import { callAtRate, medianOf, percentilesOf } from '../load.ts'
import { type Fleet, makeEvents, startFleet, startProcesses } from './fleet.ts'
import { startNats } from './nats-process.ts'
import type { Options } from '../options.ts'
import type { Report, Table } from '../report.ts'

const backlogPerSecond = 2_500

interface Side {
  name: string
  workers: number
  settings: Record<string, string>
}

interface Run {
  perSecond: number
  postgresCpu: number
  workerCpu: number
  claims: number
  p50: number
  p99: number
  pacedPostgresCpu: number
  pacedClaims: number
}

interface Task {
  backlog: number
  paced: { perSecond: number; seconds: number }
}

let batch = 0

/** What several worker processes cost on one PostgreSQL, with and without NATS between them. */
export async function benchScaleOut({ rounds, seconds, rate }: Options): Promise<Report> {
  const ends: Array<() => Promise<unknown>> = []
  const task = { backlog: seconds * backlogPerSecond, paced: { perSecond: rate, seconds } }
  try {
    const fleet = await startFleet(ends)
    const nats = await startNats(ends)
    const queues: Array<[string, Record<string, string>]> = [['PostgreSQL', {}]]
    if (nats !== undefined) queues.push(['NATS', { PIPECORE_QUEUE: nats.url }])
    const sides = [1, 3].flatMap((workers) => queues.map(([name, settings]) => ({ name, workers, settings })))
    const runs = new Map<Side, Run[]>(sides.map((side) => [side, []]))
    for (let round = 0; round < rounds; round += 1) {
      for (const side of sides) runs.get(side)?.push(await play(fleet, side, task))
    }
    const method = `Worker processes beside one api process on one PostgreSQL. A backlog of ${task.backlog} events for 20 endpoints is delivered; then ${rate} events a second are, for ${seconds} s. ${rounds} rounds, the sides in turn; medians; processor time in µs per event.`
    const missing = nats === undefined ? ['NATS: there is no nats-server here'] : []
    return { method: [method], tables: [tableOf(runs)], figures: [], missing }
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}

async function play(fleet: Fleet, side: Side, { backlog, paced }: Task): Promise<Run> {
  const processes = await startProcesses(fleet, side.workers, side.settings)
  const workerIds = processes.workers.map((child) => child.pid ?? 0)
  try {
    await deliverBacklog(fleet, workerIds, 40 * side.workers)
    await sleep(2_000)
    await fleet.owner.query('vacuum pipecore.work')
    const drained = await deliverBacklog(fleet, workerIds, backlog)
    await sleep(1_000)
    const kept = await deliverPaced(fleet, workerIds, paced)
    const { p50, p99 } = percentilesOf(kept.waitsMs, 0)
    return {
      perSecond: drained.perSecond,
      postgresCpu: drained.postgresCpu,
      workerCpu: drained.workerCpu,
      claims: drained.claims,
      p50,
      p99,
      pacedPostgresCpu: kept.postgresCpu,
      pacedClaims: kept.claims,
    }
  } finally {
    await processes.end()
  }
}

/** The endpoints are paused while the events are stored, so that what is measured is delivering alone. */
async function deliverBacklog(fleet: Fleet, workerIds: readonly number[], count: number) {
  await pause(fleet, true)
  const events = makeEvents(`backlog-${(batch += 1)}`, count)
  for (let start = 0; start < count; start += 1_000) {
    const bodies = events.slice(start, start + 1_000).map(({ body }) => body)
    await publish(fleet, `{"events":[${bodies.join(',')}]}`)
  }
  await sleep(300)
  const meter = await startMeter(fleet, workerIds)
  const startedAt = performance.now()
  await pause(fleet, false)
  await arrivalsOf(fleet, events)
  const last = Math.max(...events.map(({ name }) => fleet.receiver.arrivals.get(name) ?? 0))
  const spent = await meter(count)
  return { ...spent, perSecond: (count / (last - startedAt)) * 1000 }
}

async function deliverPaced(fleet: Fleet, workerIds: readonly number[], paced: Task['paced']) {
  const count = paced.perSecond * paced.seconds
  const events = makeEvents(`paced-${(batch += 1)}`, count)
  const pool = new Pool(fleet.origin, { connections: 16 })
  const acceptedAt = new Map<string, number>()
  const meter = await startMeter(fleet, workerIds)
  const headers = { authorization: `Bearer ${fleet.key}`, 'content-type': 'application/json' }
  await callAtRate(paced.perSecond, paced.seconds, async (index) => {
    const event = events[index]
    if (event === undefined) return
    const answer = await pool.request({ path: '/events', method: 'POST', headers, body: event.body })
    acceptedAt.set(event.name, performance.now())
    await answer.body.dump()
  })
  await arrivalsOf(fleet, events)
  const spent = await meter(count)
  await pool.close()
  const waitsMs = events.map(({ name }) =>
    Math.max(0, (fleet.receiver.arrivals.get(name) ?? Number.NaN) - (acceptedAt.get(name) ?? Number.NaN)),
  )
  return { ...spent, waitsMs }
}

async function arrivalsOf({ receiver }: Fleet, events: ReadonlyArray<{ name: string }>): Promise<void> {
  const deadline = performance.now() + 120_000
  while (!events.every(({ name }) => receiver.arrivals.has(name))) {
    if (performance.now() > deadline) throw new Error('Events did not arrive within two minutes.')
    await sleep(20)
  }
}

async function pause({ owner }: Fleet, on: boolean): Promise<void> {
  await owner.query(
    `insert into pipecore.work_series (series, paused_until)
      select id, $1 from pipecore.endpoints
      on conflict (series) do update set paused_until = excluded.paused_until`,
    [on ? new Date(Date.now() + 3_600_000) : null],
  )
}

async function publish({ origin, key }: Fleet, body: string): Promise<void> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const answer = await fetch(`${origin}/events`, { method: 'POST', headers, body })
  if (!answer.ok) throw new Error(`/events → ${answer.status} ${await answer.text()}`)
}

/** Counts from now on, in microseconds and claims per event. */
async function startMeter({ owner, postmasterId }: Fleet, workerIds: readonly number[]) {
  const read = async () => {
    const { rows } = await owner.query<{ calls: number }>(
      `select coalesce(sum(calls), 0)::int as calls from pg_stat_user_functions where funcname = 'claim_work'`,
    )
    const worker = await Promise.all(workerIds.map(readCpu))
    return {
      claims: rows[0]?.calls ?? 0,
      postgres: await readCpu(postmasterId),
      worker: worker.reduce((sum, one) => sum + one, 0),
    }
  }
  const before = await read()
  return async (events: number) => {
    // Function counts are told with a delay of a second.
    const { postgres, worker } = await read()
    await sleep(1_500)
    const { claims } = await read()
    return {
      postgresCpu: ((postgres - before.postgres) * 1e6) / events,
      workerCpu: ((worker - before.worker) * 1e6) / events,
      claims: (claims - before.claims) / events,
    }
  }
}

function tableOf(runs: ReadonlyMap<Side, readonly Run[]>): Table {
  const median = (side: Side, field: keyof Run) => medianOf((runs.get(side) ?? []).map((run) => run[field]))
  const [first] = runs.keys()
  const rows = [...runs.keys()].map((side) => {
    const ratio = (field: keyof Run) =>
      first === undefined ? '' : (median(side, field) / median(first, field)).toFixed(2)
    const whole = (field: keyof Run) => median(side, field).toFixed(0)
    return [
      side.name,
      String(side.workers),
      whole('perSecond'),
      ratio('perSecond'),
      whole('postgresCpu'),
      ratio('postgresCpu'),
      whole('workerCpu'),
      median(side, 'claims').toFixed(3),
      `${median(side, 'p50').toFixed(1)} / ${median(side, 'p99').toFixed(1)}`,
      whole('pacedPostgresCpu'),
      median(side, 'pacedClaims').toFixed(2),
    ]
  })
  const header = [
    'queue',
    'workers',
    'backlog: events/s',
    '×',
    'PostgreSQL CPU',
    '×',
    'worker CPU',
    'claims per event',
    'paced: p50 / p99 ms',
    'PostgreSQL CPU',
    'claims per event',
  ]
  return { header, rows }
}
