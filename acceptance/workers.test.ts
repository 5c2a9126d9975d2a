import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { collectFacts, countOpen } from './bridge/facts.ts'
import { judge } from './bridge/judge.ts'
import { publish } from './bridge/publishing.ts'
import { type Arrival, startReceiver } from './bridge/receiver.ts'
import { startProcesses } from './bridge/processes.ts'
import { type EndpointPlan, openShop, type Shop } from './bridge/shop.ts'
import { createClient, eventually, type PipeCore, type Test } from './harness.ts'

const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e9))
const wanted = 3_000
const tenants = 5
/** Leases and the ownership of an endpoint with limits last 15 s; what waited behind them needs a while more. */
const longestTakeoverMs = 30_000

const types = [
  ['order.placed', 60],
  ['order.metered', 25],
  ['order.parked', 15],
] as const

const take = () => 'take' as const
const endpoints: readonly EndpointPlan[] = [
  // So slow that each worker has some of these under way whenever it is killed.
  { path: '/all', events: types.map(([type]) => type), treat: take, answerMs: 100 },
  { path: '/ordered', events: ['order.placed'], ordered: true, treat: take, answerMs: 5 },
  {
    path: '/limited',
    events: ['order.metered'],
    max_in_flight: 4,
    max_per_second: 60,
    treat: take,
    answerMs: 30,
  },
  { path: '/hanging', events: ['order.parked'], treat: () => 'hang' },
]

test(
  'three workers share one database; one that is killed costs nothing but the end of its leases',
  { timeout: 240_000 },
  async (context) => {
    const receiver = await startReceiver(context)
    const { api, workers } = await startProcesses(context, 3)
    await eventually(async () => (await countListening(api)) === 3)
    const told = await hearNotifications(context, api)
    const shop = await openShop(api, receiver, { tenants, types: types.map(([type]) => type), endpoints })
    let killedAt = 0
    const publications = await Promise.all([
      publish(shop, {
        seed,
        publishers: 10,
        pauseMs: 10,
        types,
        isOver: (published) => published.length >= wanted,
      }),
      eventually(() => countTaken(shop, '/all') > wanted / 3, 60_000).then(async () => {
        await workers[0]!.kill('SIGKILL')
        killedAt = Date.now()
      }),
    ]).then(([published]) => published)

    assert.equal((await createClient(shop.api.url, undefined).call('GET', '/ready')).status, 200)
    const waiting = ['/all', '/ordered', '/limited']
    await eventually(async () => (await countOpen(shop, waiting)) === 0, 120_000)
    const facts = await collectFacts(shop)
    const kill = { kind: 'SIGKILL of a worker', from: killedAt, until: killedAt, killedAt }
    const disturbances = [{ ...kill, stopsDatabase: false }]
    const verdict = judge(shop, { publications, facts, disturbances })
    context.diagnostic(`CHAOS_SEED=${seed}`)
    for (const [label, number] of verdict.counts) context.diagnostic(`${label}: ${number}`)
    for (const path of waiting) {
      context.diagnostic(
        `${path}: what was there at the kill had arrived ${takeoverMs(shop, path, killedAt)} ms later`,
      )
    }

    assert.deepEqual(verdict.violations, [])
    assert.ok(facts.stored.length >= wanted)
    assert.ok(told.length > 0, 'the api process told nobody of new work')
    assert.ok(takeoverMs(shop, '/all', killedAt) > 5_000, 'the killed worker had claimed nothing')
    for (const path of waiting) assert.ok(takeoverMs(shop, path, killedAt) < longestTakeoverMs, path)
  },
)

async function countListening(api: PipeCore): Promise<number> {
  const listening = await api.query(
    `select pid from pg_stat_activity where datname = current_database() and query like 'listen %'`,
  )
  return listening.length
}

/** As a worker hears of new work. */
async function hearNotifications(context: Test, { databaseUrl }: PipeCore): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  // The database may be dropped first.
  client.on('error', () => undefined)
  await client.connect()
  context.after(() => client.end())
  const told: string[] = []
  client.on('notification', ({ payload = '' }) => told.push(payload))
  await client.query('listen pipecore_work')
  return told
}

function takenAt({ receiver }: Shop, path: string): Arrival[] {
  return (receiver.arrivals.get(path) ?? []).filter(({ isTaken }) => isTaken)
}

function countTaken(shop: Shop, path: string): number {
  return takenAt(shop, path).length
}

/** From the kill to the first arrival of the last event that had been claimed then: those behind it came sooner. */
function takeoverMs(shop: Shop, path: string, killedAt: number): number {
  return Math.max(...takenAt(shop, path).map(({ at }) => at)) - killedAt
}
