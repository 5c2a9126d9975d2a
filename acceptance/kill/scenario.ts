import { eventually, type Test } from '../harness.ts'
import { collectFacts } from './facts.ts'
import { type Installation, type Shape, startInstallation } from './installation.ts'
import { judgeEvents } from './judge-events.ts'
import { judgeInbound } from './judge-inbound.ts'
import { judgeMessages } from './judge-messages.ts'
import { type Kill, killUntil } from './killing.ts'
import { planInbounds, planMessages } from './plan.ts'
import { type Quiet, waitUntilQuiet } from './quiet.ts'
import { createRandom } from './random.ts'
import type { Receiver } from './receiver.ts'
import { type Accepted, sendAll, writeAll, type Written } from './traffic.ts'
import { createVerdict, forbid, type Verdict } from './verdict.ts'

export interface ScenarioOptions {
  shape: Shape
  seed: number
  messages: number
  /** For how long messages are sent. */
  seconds: number
  /** At least so many, and for as long as messages are sent. */
  fewestKills: number
  /** But no more than these. */
  mostKills: number
}

export interface Report extends ScenarioOptions {
  verdict: Verdict
  kills: Kill[]
  /** From each kill to the first delivery of a new event after it. */
  recoveriesMs: number[]
  quiet: Quiet
  totalMs: number
}

interface Traffic {
  accepted: Accepted[]
  written: Written[]
  kills: Kill[]
}

const inboundsPerMessage = 0.15
/** Longer than the longest lease, 30 s, with the work that comes after it. */
const quietDeadlineMs = 90_000
const progressDeadlineMs = 60_000
const eventsOfProgress = 10

/** Messages go out, callbacks and customers' messages come in, processes are killed; then everything is counted. */
export async function playScenario(test: Test, options: ScenarioOptions): Promise<Report> {
  const startedAt = performance.now()
  const installation = await startInstallation(test, options.shape)
  const traffic = await playTraffic(installation, options)
  const quiet = await waitUntilQuiet(installation, quietDeadlineMs)
  const verdict = await judge(installation, traffic, quiet)
  const recoveriesMs = traffic.kills.map(({ at }) => findRecovery(installation.receiver, at))
  const totalMs = Math.round(performance.now() - startedAt)
  return { ...options, verdict, kills: traffic.kills, recoveriesMs, quiet, totalMs }
}

async function playTraffic(installation: Installation, options: ScenarioOptions): Promise<Traffic> {
  const { seed, messages, seconds, fewestKills, mostKills } = options
  const random = createRandom(seed)
  const plan = planMessages(random, messages, seconds * 1_000)
  const inbounds = planInbounds(random, Math.ceil(messages * inboundsPerMessage), seconds * 1_000)
  const sending = Promise.all([
    sendAll(installation, plan, createRandom(seed + 1)),
    writeAll(installation, inbounds),
  ])
  const state = { isSent: false }
  const markSent = () => {
    state.isSent = true
  }
  sending.then(markSent, markSent)
  const kills = await killUntil({
    victims: installation.victims,
    random: createRandom(seed + 2),
    isOver: (count) => count >= mostKills || (state.isSent && count >= fewestKills),
    waitForProgress: () => waitForEvents(installation.receiver, () => state.isSent),
  })
  const [accepted, written] = await sending
  return { accepted, written, kills }
}

async function waitForEvents({ arrivals }: Receiver, isOver: () => boolean): Promise<void> {
  const before = arrivals.size
  await eventually(() => arrivals.size >= before + eventsOfProgress || isOver(), progressDeadlineMs)
}

async function judge(installation: Installation, traffic: Traffic, quiet: Quiet): Promise<Verdict> {
  const facts = await collectFacts(installation)
  const verdict = createVerdict()
  await judgeMessages(verdict, installation, traffic.accepted, facts)
  judgeEvents(verdict, facts, installation.receiver)
  judgeInbound(verdict, facts, traffic.written)
  const open = Object.entries(quiet.open).filter(([, number]) => number > 0)
  forbid(verdict, 'work left open', open, ([name, number]) => `${name} ${number}`)
  return verdict
}

function findRecovery({ arrivals }: Receiver, killedAt: number): number {
  const later = [...arrivals.values()].map(([first]) => first?.at ?? 0).filter((at) => at >= killedAt)
  return later.length === 0 ? 0 : Math.min(...later) - killedAt
}
