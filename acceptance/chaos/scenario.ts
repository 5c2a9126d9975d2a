import type { Test } from '../harness.ts'
import type { Kill } from '../kill/killing.ts'
import { createRandom } from '../kill/random.ts'
import { count, createVerdict, forbid, type Verdict } from '../kill/verdict.ts'
import { collectFacts } from './facts.ts'
import { type Installation, startInstallation } from './installation.ts'
import type { Played } from './journeys.ts'
import { judgeEvents } from './judge-events.ts'
import { judgeMoney } from './judge-money.ts'
import { planJourneys, type ProviderId } from './plan.ts'
import { settle, type Settled } from './settling.ts'
import { playTraffic, type Traffic, type TrafficOptions } from './traffic.ts'

export interface Report extends TrafficOptions {
  verdicts: Map<ProviderId, Verdict>
  /** What belongs to no provider. */
  rest: Verdict
  killed: Kill[]
  trafficMs: number
  settled: Settled
  /** Of a few payments about which something is broken, for the next run differs in its timing. */
  stories: string[]
  totalMs: number
}

/** What becomes impossible on the way, such as the refund of a failed payment, is not made. */
const spare = 2
/** So few payments per account that a look at its latest shows all of them. */
const operationsPerShop = 1_000
/** A usual one and an odd one. */
const fewestShops = 2

/** Payments are made, paid, captured, canceled and refunded under faults and kills; then everything is compared. */
export async function playScenario(test: Test, options: TrafficOptions): Promise<Report> {
  const startedAt = performance.now()
  const { seed, providers, operations } = options
  const shops = Math.max(fewestShops, Math.ceil(operations / operationsPerShop))
  const installation = await startInstallation(test, { seed, providers, shops })
  const journeys = providers.flatMap((provider, index) =>
    planJourneys(createRandom(seed + 10 + index), provider, spare * operations),
  )
  const trafficFrom = performance.now()
  const traffic = await playTraffic(installation, journeys, options)
  const trafficMs = Math.round(performance.now() - trafficFrom)
  const settled = await settle(installation)
  const verdicts = new Map<ProviderId, Verdict>()
  for (const provider of providers) verdicts.set(provider, await judge(installation, provider, traffic))
  const rest = await judgeRest(installation)
  const broken = [...verdicts.values()].flatMap(({ violations }) => violations)
  const stories = await tellStories(installation, broken.join(' '))
  const totalMs = Math.round(performance.now() - startedAt)
  return { ...options, verdicts, rest, killed: traffic.kills, trafficMs, settled, stories, totalMs }
}

const storiesTold = 3

/** Of the first payments that a text names. */
async function tellStories({ admin }: Installation, text: string): Promise<string[]> {
  const ids = [...new Set(text.match(/\bpay_\w+/g))].slice(0, storiesTold)
  const stories: string[] = []
  for (const id of ids) {
    const { steps } = await admin.ok<{ steps: Array<{ at: string; text: string }> }>(
      'GET',
      `/payments/${id}/story`,
    )
    stories.push(id, ...steps.map((step) => `  ${step.at} ${step.text}`))
  }
  return stories
}

async function judge(
  installation: Installation,
  provider: ProviderId,
  { played: all, faults, kills }: Traffic,
): Promise<Verdict> {
  const played = all.filter(({ journey }) => journey.provider === provider)
  const facts = await collectFacts(installation, provider)
  const verdict = createVerdict()
  const add = (pick: (one: Played) => number) => played.reduce((total, one) => total + pick(one), 0)
  count(
    verdict,
    'operations',
    add(({ operations }) => operations),
  )
  count(
    verdict,
    'calls that got no answer',
    add(({ lostCalls }) => lostCalls),
  )
  const playedFaults = [...faults[provider]].toSorted(([one], [other]) => (one < other ? -1 : 1))
  count(
    verdict,
    'faults played',
    playedFaults.reduce((total, [, number]) => total + number, 0),
  )
  for (const [fault, number] of playedFaults) count(verdict, `  ${fault}`, number)
  judgeMoney(verdict, facts, played)
  judgeEvents(verdict, facts, played, installation.receiver, kills)
  return verdict
}

async function judgeRest({ api, receiver }: Installation): Promise<Verdict> {
  const verdict = createVerdict()
  const { error, cut, slow } = receiver.faults
  count(verdict, 'deliveries failed on purpose', error + cut + slow)
  const dead = await api.query(
    'select name, ref, error from dead_work left join jobs on jobs.id = dead_work.ref',
  )
  forbid(verdict, 'deliveries with a wrong signature', receiver.refused)
  forbid(verdict, 'dead work', dead, (row) => [row['name'], row['ref'], row['error']].map(String).join(' '))
  return verdict
}
