import { setTimeout as sleep } from 'node:timers/promises'
import { endProgram, findFreePort, startProgram } from '../processes.ts'

/** How the receiver answers until it is told another plan. */
export interface Plan {
  /** One of them has to fit. */
  secrets: readonly string[]
  /** The signature of every so manieth event is checked. */
  verifyEvery: number
  delayMs: number
  /** Every so manieth post is answered after `slowMs`; 0: none. */
  slowEvery: number
  slowMs: number
}

export interface Progress {
  posts: number
  distinct: number
  bytes: number
  verified: number
  forged: number
  /** Calls to where they hang. */
  hung: number
  firstAt: number
  lastAt: number
}

/** Ids of events and when they first came. */
export type Arrivals = Array<[string, number]>

export interface Receiver {
  /** Where events go. */
  url: string
  /** Where calls hang for 30 s. */
  hangingUrl: string
  /** Forgets what came, and answers like this from now on. */
  follow(plan: Partial<Plan>): Promise<void>
  progress(): Promise<Progress>
  arrivals(): Promise<Arrivals>
  /** @throws unless exactly these many events came, each once and well signed */
  expect(count: number, side: string): Promise<Progress>
  /** Resolves when so many events have come. */
  await(count: number, side: string): Promise<void>
  close(): Promise<void>
}

const pollMs = 20
/** Without anything new for so long a side has stopped. */
const patienceMs = 40_000
/** So long afterwards another arrival would be a double. */
const doublesMs = 300

export async function startReceiver(): Promise<Receiver> {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const child = await startProgram(['bench/events/receiver-process.ts', String(port)], {}, origin)
  const read = async <Answer>(path: string) => (await (await fetch(origin + path)).json()) as Answer
  const progress = () => read<Progress>('/progress')

  async function awaitCount(count: number, side: string): Promise<void> {
    let [most, since] = [-1, performance.now()]
    for (;;) {
      const { distinct } = await progress()
      if (distinct >= count) return
      if (distinct > most) [most, since] = [distinct, performance.now()]
      if (performance.now() - since > patienceMs) {
        throw new Error(`${side} stopped after ${distinct} of ${count} events`)
      }
      await sleep(pollMs)
    }
  }

  return {
    url: `${origin}/events`,
    hangingUrl: `${origin}/hang`,
    follow: async (plan) => {
      const { ok, status } = await fetch(`${origin}/plan`, { method: 'POST', body: JSON.stringify(plan) })
      if (!ok) throw new Error(`The receiver refused a plan: ${status}`)
    },
    progress,
    arrivals: () => read<Arrivals>('/arrivals'),
    await: awaitCount,
    async expect(count, side) {
      await awaitCount(count, side)
      await sleep(doublesMs)
      const told = await progress()
      const { posts, distinct, verified, forged } = told
      if (posts !== count || distinct !== count || verified === 0 || forged > 0) {
        throw new Error(`${side} did not deliver ${count} events once each: ${JSON.stringify(told)}`)
      }
      return told
    },
    close: () => endProgram(child),
  }
}
