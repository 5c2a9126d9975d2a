import { eventually, type Test } from '../harness.ts'
import { createRandom } from '../kill/random.ts'
import { count, forbid, type Verdict } from '../kill/verdict.ts'
import type { Disturbance } from './disturbances.ts'
import { collectFacts } from './facts.ts'
import { listMissing, playFaults } from './faults.ts'
import { judge } from './judge.ts'
import { type Publications, publish } from './publishing.ts'
import { findRecoveries, type Recovery } from './recoveries.ts'
import { type Settled, settle } from './settling.ts'
import { arrivalsAtAll, setStage, type Stage, types } from './stage.ts'

export interface ScenarioOptions {
  seed: number
  /** For how long events are published and faults are played; a fault that has begun is recovered from. */
  seconds: number
  publishers: number
  /** How long it may take afterwards until nothing is left to deliver. */
  patienceMs: number
}

export interface Report extends ScenarioOptions {
  verdict: Verdict
  recoveries: Recovery[]
  settled: Settled
  missing: string[]
  totalMs: number
}

const longestRecoveryMs = 90_000
const pauseMs = 100

/** Events are published while everything breaks that can; then what was accepted is compared with what arrived. */
export async function playScenario(test: Test, options: ScenarioOptions): Promise<Report> {
  const startedAt = performance.now()
  const stage = await setStage(test, options.seed)
  const { publications, faults, stuck } = await playTraffic(stage, options)
  const settled = await settle(stage, options.patienceMs)
  const facts = await collectFacts(stage.shop)
  const verdict = judge(stage.shop, { publications, facts, disturbances: faults })
  countTreatments(verdict, stage)
  forbid(verdict, 'never recovered from', stuck, ({ kind }) => kind)
  forbid(verdict, 'not delivered in the end', settled.open > 0 ? [settled.open] : [])
  const recoveries = findRecoveries(faults, publications.events, arrivalsAtAll(stage))
  const totalMs = Math.round(performance.now() - startedAt)
  return { ...options, verdict, recoveries, settled, missing: listMissing(stage), totalMs }
}

interface Traffic {
  publications: Publications
  faults: Disturbance[]
  stuck: Disturbance[]
}

async function playTraffic(stage: Stage, { seed, seconds, publishers }: ScenarioOptions): Promise<Traffic> {
  const startedAt = performance.now()
  const isOver = () => performance.now() - startedAt > seconds * 1_000
  const stuck: Disturbance[] = []
  let areFaultsOver = false
  const publishing = publish(stage.shop, {
    seed,
    publishers,
    pauseMs,
    types,
    isOver: () => areFaultsOver,
  })
  const faults = await playFaults(stage, createRandom(seed + 2), {
    isOver,
    recover: (fault) => waitForRecovery(stage, fault).catch(() => void stuck.push(fault)),
  }).finally(() => {
    areFaultsOver = true
  })
  return { publications: await publishing, faults, stuck }
}

/** An event that was taken after the fault was over has arrived. */
async function waitForRecovery(stage: Stage, { until }: Disturbance): Promise<void> {
  await eventually(() => {
    const latest = arrivalsAtAll(stage).at(-1)
    return latest !== undefined && latest.recordedAt > until
  }, longestRecoveryMs)
}

function countTreatments(verdict: Verdict, { shop }: Stage): void {
  const all = [...shop.receiver.arrivals.values()].flat()
  for (const [treatment, same] of Map.groupBy(all, (arrival) => arrival.treatment)) {
    count(verdict, `  requests met with ${treatment}`, same.length)
  }
}
