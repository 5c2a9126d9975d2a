import { type Clock, createClock } from '../chaos/clock.ts'
import { type PipeCore, startPipeCore, type Test } from '../harness.ts'
import { createRandom } from '../kill/random.ts'
import { type OwnPostgres, startOwnPostgres } from './own-postgres.ts'
import { env } from './processes.ts'
import { type Proxy, startProxy } from './proxy.ts'
import { type Arrival, startReceiver } from './receiver.ts'
import { type EndpointPlan, openShop, type Shop } from './shop.ts'
import { type Disk, makeDisk } from './small-disk.ts'
import type { Treatment } from './treatments.ts'

/** Everything that takes part, and may be broken. */
export interface Stage {
  disk: Disk
  postgres: OwnPostgres
  proxy: Proxy
  shop: Shop
  api: PipeCore
  workers: Array<{ process: PipeCore; clock: Clock }>
  /** Receivers meet everybody well from now on. */
  calm(): void
}

const workers = 3
const tenants = 4
/** A receiver that hangs or drips is given up after this. */
const endpointTimeoutMs = '3000'

export const types = [
  ['order.placed', 55],
  ['order.odd', 15],
  ['order.metered', 25],
  ['order.parked', 5],
] as const

/** What a moody receiver does to an event that it meets for the first time, in equal shares with `take`. */
const moods: readonly Treatment[] = [
  'fail',
  'busy',
  'redirect',
  'cut',
  'hang',
  'cut_after',
  'short',
  'drip',
  ...Array.from({ length: 8 }, () => 'take' as const),
]
const orderedFailures = 0.03

export async function setStage(test: Test, seed: number): Promise<Stage> {
  const disk = await makeDisk(test)
  const postgres = await startOwnPostgres(test, disk.folder)
  const proxy = await startProxy(test, postgres.port)
  const receiver = await startReceiver(test)
  const database = { databaseUrl: postgres.url, databaseHost: proxy.host }
  const settings = { ...env, PIPECORE_ENDPOINT_TIMEOUT_MS: endpointTimeoutMs }
  const api = await startPipeCore(test, { ...database, env: settings, role: 'api' })
  const starts = Array.from({ length: workers }, async () => {
    const clock = await createClock(test)
    const own = { ...database, env: { ...settings, ...clock.env } }
    return { process: await startPipeCore(test, { ...own, role: 'worker', beside: api }), clock }
  })
  const mood = { isCalm: false }
  const shop = await openShop(api, receiver, {
    tenants,
    types: types.map(([type]) => type),
    endpoints: planEndpoints(seed, mood),
  })
  const calm = () => {
    mood.isCalm = true
  }
  return { disk, postgres, proxy, shop, api, workers: await Promise.all(starts), calm }
}

function planEndpoints(seed: number, mood: { isCalm: boolean }): EndpointPlan[] {
  const random = createRandom(seed + 1)
  const unlessCalm = (choose: (isNew: boolean) => Treatment): EndpointPlan['treat'] => {
    return (_arrival, earlier) => (mood.isCalm ? 'take' : choose(earlier.length === 0))
  }
  return [
    { path: '/all', events: types.map(([type]) => type), treat: () => 'take' },
    {
      path: '/ordered',
      events: ['order.placed'],
      ordered: true,
      treat: unlessCalm((isNew) => (isNew && random.next() < orderedFailures ? 'fail' : 'take')),
    },
    {
      path: '/moody',
      events: ['order.odd'],
      treat: unlessCalm((isNew) => (isNew ? random.pick(moods) : 'take')),
    },
    { path: '/hanging', events: ['order.parked'], treat: unlessCalm(() => 'hang') },
    {
      path: '/limited',
      events: ['order.metered'],
      max_in_flight: 4,
      max_per_second: 40,
      treat: () => 'take',
      answerMs: 20,
    },
  ]
}

/** What came to the receiver that gets everything and meets it well. */
export function arrivalsAtAll({ shop }: Stage): readonly Arrival[] {
  return shop.receiver.arrivals.get('/all') ?? []
}
