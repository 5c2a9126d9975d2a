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
import { type Accepted, type Progress, sendAll, writeAll, type Written } from './traffic.ts'
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
const progressDeadlineMs = 120_000
/** However slow the machine, about so many kills of a server at work are enough to send everything. */
const mostTurns = 40

/** Messages go out, callbacks and customers' messages come in, processes are killed; then everything is counted. */
export async function playScenario(test: Test, options: ScenarioOptions): Promise<Report> {
  const startedAt = performance.now()
  const installation = await startInstallation(test, options.shape)
  const progress: Progress = { accepted: 0, isOver: false, isStopped: false }
  test.after(async () => {
    progress.isStopped = true
  })
  const traffic = await playTraffic(installation, options, progress)
  const quiet = await waitUntilQuiet(installation, quietDeadlineMs)
  const verdict = await judge(installation, traffic)
  const recoveriesMs = traffic.kills.map(({ at }) => findRecovery(installation.receiver, at))
  const totalMs = Math.round(performance.now() - startedAt)
  return { ...options, verdict, kills: traffic.kills, recoveriesMs, quiet, totalMs }
}

async function playTraffic(
  installation: Installation,
  options: ScenarioOptions,
  progress: Progress,
): Promise<Traffic> {
  const { seed, messages, seconds, fewestKills, mostKills } = options
  const random = createRandom(seed)
  const plan = planMessages(random, messages, seconds * 1_000)
  const inbounds = planInbounds(random, Math.ceil(messages * inboundsPerMessage), seconds * 1_000)
  const sending = Promise.all([
    sendAll(installation, plan, createRandom(seed + 1), progress),
    writeAll(installation, inbounds),
  ])
  const end = () => {
    progress.isOver = true
  }
  sending.then(end, end)
  const kills = await killUntil({
    victims: installation.victims,
    random: createRandom(seed + 2),
    isOver: (count) => count >= mostKills || (progress.isOver && count >= fewestKills),
    waitForProgress: () => waitForProgress(installation, progress, Math.ceil(messages / mostTurns)),
  })
  const [accepted, written] = await sending
  return { accepted, written, kills }
}

/** Some more messages were accepted and some more events delivered, or there is nothing more to send. */
async function waitForProgress(
  { receiver: { arrivals } }: Installation,
  progress: Progress,
  steps: number,
): Promise<void> {
  const events = arrivals.size + steps
  const accepted = progress.accepted + steps
  const isMade = () => arrivals.size >= events && progress.accepted >= accepted
  await eventually(() => isMade() || progress.isOver, progressDeadlineMs)
}

async function judge(installation: Installation, traffic: Traffic): Promise<Verdict> {
  const facts = await collectFacts(installation)
  const verdict = createVerdict()
  await judgeMessages(verdict, installation, traffic.accepted, facts)
  judgeEvents(verdict, facts, installation.receiver)
  judgeInbound(verdict, facts, traffic.written)
  forbid(verdict, 'work left open', facts.openWork)
  return verdict
}

function findRecovery({ arrivals }: Receiver, killedAt: number): number {
  const later = [...arrivals.values()].map(([first]) => first?.at ?? 0).filter((at) => at >= killedAt)
  return later.length === 0 ? 0 : Math.min(...later) - killedAt
}
