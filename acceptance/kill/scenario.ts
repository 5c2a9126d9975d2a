import { eventually, type Test } from '../harness.ts'
import { collectFacts } from './facts.ts'
import { type Shape, startInstallation } from './installation.ts'
import { judgeEvents } from './judge-events.ts'
import { judgeInbound } from './judge-inbound.ts'
import { judgeMessages } from './judge-messages.ts'
import { type Kill, killUntil } from './killing.ts'
import { planInbounds, planMessages } from './plan.ts'
import { type Quiet, waitUntilQuiet } from './quiet.ts'
import { createRandom } from './random.ts'
import type { Receiver } from './receiver.ts'
import { sendAll, writeAll } from './traffic.ts'
import { createVerdict, forbid, type Verdict } from './verdict.ts'

export interface ScenarioOptions {
  shape: Shape
  seed: number
  messages: number
  /** For how long messages are sent. */
  seconds: number
  /** Kills stop here; without it they go on for as long as messages are sent. */
  mostKills?: number
}

export interface Report extends ScenarioOptions {
  verdict: Verdict
  kills: Kill[]
  /** From each kill to the first delivery of a new event after it. */
  recoveriesMs: number[]
  quiet: Quiet
  totalMs: number
}

const fewestKills = 5
const inboundsPerMessage = 0.15
/** Longer than the longest lease, 30 s, with the work that comes after it. */
const quietDeadlineMs = 90_000
const progressDeadlineMs = 60_000

/** Messages go out, callbacks and customers' messages come in, processes are killed; then everything is counted. */
export async function playScenario(test: Test, options: ScenarioOptions): Promise<Report> {
  const startedAt = performance.now()
  const { shape, seed, messages, seconds, mostKills = Number.POSITIVE_INFINITY } = options
  const installation = await startInstallation(test, shape)
  const random = createRandom(seed)
  const durationMs = seconds * 1_000
  const plan = planMessages(random, messages, durationMs)
  const inbounds = planInbounds(random, Math.ceil(messages * inboundsPerMessage), durationMs)
  const traffic = Promise.all([
    sendAll(installation, plan, createRandom(seed + 1)),
    writeAll(installation, inbounds),
  ])
  const state = { isOver: false }
  void traffic.catch(() => {}).finally(() => (state.isOver = true))
  const killed = await killUntil({
    victims: installation.victims,
    random: createRandom(seed + 2),
    isOver: (kills) => kills >= mostKills || (state.isOver && kills >= fewestKills),
    waitForProgress: () => waitForNewEvent(installation.receiver, () => state.isOver),
  })
  const [accepted, written] = await traffic
  const quiet = await waitUntilQuiet(installation, quietDeadlineMs)
  const facts = await collectFacts(installation)
  const verdict = createVerdict()
  await judgeMessages(verdict, installation, accepted, facts)
  judgeEvents(verdict, facts, installation.receiver)
  judgeInbound(verdict, facts, written)
  const open = Object.entries(quiet.open).filter(([, count]) => count > 0)
  forbid(
    verdict,
    'work left open',
    open.map(([name, count]) => `${name} ${count}`),
  )
  const recoveriesMs = killed.map(({ at }) => findRecovery(installation.receiver, at))
  return {
    ...options,
    verdict,
    kills,
    recoveriesMs,
    quiet,
    totalMs: Math.round(performance.now() - startedAt),
  }
}

async function waitForNewEvent({ arrivals }: Receiver, isOver: () => boolean): Promise<void> {
  const before = arrivals.size
  await eventually(() => arrivals.size > before || isOver(), progressDeadlineMs)
}

function findRecovery({ arrivals }: Receiver, killedAt: number): number {
  const later = [...arrivals.values()].map(([first]) => first?.at ?? 0).filter((at) => at >= killedAt)
  return Math.min(...later) - killedAt
}
