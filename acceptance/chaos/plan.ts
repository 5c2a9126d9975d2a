import type { Random } from '../kill/random.ts'

export const providerIds = ['mercadopago', 'transbank', 'stripe'] as const
export type ProviderId = (typeof providerIds)[number]

export interface Sale {
  /** `page` and `checkout` send the customer away; the others charge at once. */
  way: 'token' | 'saved' | 'declined' | 'page' | 'checkout'
  capture: 'automatic' | 'manual'
  /** CLP. */
  amount: number
  asked: Asked
}

/** `thrice`: at once, under one key. `impatiently`: given up early and asked for again under its key. */
export type Asked = 'once' | 'thrice' | 'impatiently'

export interface Visit {
  choice: string
  /** Which browser comes back from the page. */
  comes: 'back' | 'twice' | 'never'
}

export type Step =
  | { do: 'capture'; percent: number; asked: Asked }
  | { do: 'cancel'; asked: Asked }
  /** Of what was captured; without percent it is all that is left. Several are asked for at once. */
  | { do: 'refund'; percents: Array<number | undefined>; asked: Asked }
  /** By hand, at the provider. */
  | { do: 'refund_there'; percent: number; isTold: boolean }

/** One sale and what becomes of it. */
export interface Journey {
  reference: string
  provider: ProviderId
  sale: Sale
  visit?: Visit
  steps: Step[]
  /** Between one thing and the next. */
  pauseMs: number
}

type Share<Item> = readonly [share: number, item: Item]

const kinds: ReadonlyArray<Share<'direct' | 'declined' | 'page' | 'held'>> = [
  [34, 'direct'],
  [4, 'declined'],
  [40, 'page'],
  [22, 'held'],
]
const askings: ReadonlyArray<Share<Asked>> = [
  [70, 'once'],
  [15, 'thrice'],
  [15, 'impatiently'],
]
const visits: ReadonlyArray<Share<Visit>> = [
  [56, { choice: 'approve', comes: 'back' }],
  [8, { choice: 'approve', comes: 'twice' }],
  [12, { choice: 'approve', comes: 'never' }],
  [8, { choice: 'decline', comes: 'back' }],
  [6, { choice: 'abort', comes: 'back' }],
  [4, { choice: 'time_out', comes: 'back' }],
  [6, { choice: 'close_tab', comes: 'never' }],
]

/** Journeys of one provider with at least so many operations. */
export function planJourneys(random: Random, provider: ProviderId, operations: number): Journey[] {
  const journeys: Journey[] = []
  for (let planned = 0; planned < operations; planned += countOperations(journeys.at(-1)!)) {
    journeys.push(planJourney(random, provider, `${provider}-${journeys.length + 1}`))
  }
  return journeys
}

function countOperations({ visit, steps }: Journey): number {
  const counts = steps.map((step) => (step.do === 'refund' ? step.percents.length : 1))
  return counts.reduce((sum, count) => sum + count, visit === undefined ? 1 : 2)
}

function planJourney(random: Random, provider: ProviderId, reference: string): Journey {
  const kind = choose(random, kinds)
  const amount = Math.floor(random.between(1_000, 90_000))
  const sale: Sale = {
    way: planWay(random, kind, provider),
    capture: kind === 'held' ? 'manual' : 'automatic',
    amount,
    asked: choose(random, askings),
  }
  const isPage = sale.way === 'page' || sale.way === 'checkout'
  const visit = isPage ? choose(random, visits) : undefined
  return {
    reference,
    provider,
    sale,
    ...(visit && { visit }),
    steps: sale.way === 'declined' ? [] : planSteps(random, kind === 'held'),
    pauseMs: Math.floor(random.between(0, 200)),
  }
}

/** MercadoPago's page holds no money; Transbank takes no tokens. */
function planWay(
  random: Random,
  kind: 'direct' | 'declined' | 'page' | 'held',
  provider: ProviderId,
): Sale['way'] {
  if (kind === 'declined') return 'declined'
  if (kind === 'page') return random.pick(['page', 'page', 'checkout'])
  if (kind === 'held' && provider !== 'mercadopago' && random.next() < 0.5) return 'page'
  return provider === 'transbank' ? 'saved' : random.pick(['token', 'token', 'saved'])
}

function planSteps(random: Random, isHeld: boolean): Step[] {
  const refunds = choose(random, refundings)(random)
  if (!isHeld) return refunds
  const asked = choose(random, askings)
  return choose<Step[]>(random, [
    [40, [{ do: 'capture', percent: 100, asked }, ...refunds]],
    [25, [{ do: 'capture', percent: 60, asked }, ...refunds]],
    [25, [{ do: 'cancel', asked }]],
    [10, []],
  ])
}

/** Refunds made by hand are the smallest: where a provider tells only sums, they can be told from ours. */
const byHandPercent = 3

const refundings: ReadonlyArray<Share<(random: Random) => Step[]>> = [
  [36, () => []],
  [14, (random) => [refund(random, [undefined])]],
  [12, (random) => [refund(random, [30])]],
  [12, (random) => [refund(random, [30]), refund(random, [undefined])]],
  [10, (random) => [refund(random, [60, 60])]],
  [8, (random) => [refund(random, [25, 25, 25])]],
  [4, (random) => [refundThere(random)]],
  [4, (random) => [refundThere(random), refund(random, [undefined])]],
]

function refund(random: Random, percents: Array<number | undefined>): Step {
  return { do: 'refund', percents, asked: choose(random, askings) }
}

function refundThere(random: Random): Step {
  return { do: 'refund_there', percent: byHandPercent, isTold: random.next() < 0.5 }
}

function choose<Item>(random: Random, shares: ReadonlyArray<Share<Item>>): Item {
  let left = random.next() * shares.reduce((sum, [share]) => sum + share, 0)
  return (shares.find(([share]) => (left -= share) < 0) ?? shares[0]!)[1]
}
