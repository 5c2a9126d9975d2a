import { setTimeout as sleep } from 'node:timers/promises'
import type { PipeCore } from '../harness.ts'
import type { Random } from './random.ts'

export interface Kill {
  /** Which of the victims, from 1. */
  victim: number
  /** Milliseconds since 1970 at which the process was gone. */
  at: number
  /** How long it had been up. */
  upMs: number
  /** It had not said yet that it was ready. */
  wasStarting: boolean
}

interface Life {
  startedAt: number
  starting: Promise<void>
  isReady: boolean
}

/** When in its life a process is killed, in turn: each at a random time of that part. */
const moments = ['working', 'starting', 'ready', 'working'] as const
type Moment = (typeof moments)[number]

const longestMs = { starting: 900, ready: 500, working: 2_000 }

export interface Killing {
  victims: readonly PipeCore[]
  random: Random
  isOver: (kills: number) => boolean
  /** Waits until new events were delivered, so that a slow machine gets on between kills as well. */
  waitForProgress: () => Promise<void>
}

/** Kills a victim at a random moment of its life and starts it again at once, until it is over. */
export async function killUntil(killing: Killing): Promise<Kill[]> {
  const { victims, random, isOver } = killing
  const kills: Kill[] = []
  let index = 0
  const lives = victims.map(() => beginLife(Promise.resolve()))
  while (!isOver(kills.length)) {
    const moment = moments[kills.length % moments.length]!
    // Only who was just killed is starting.
    if (moment !== 'starting') index = Math.floor(random.next() * victims.length)
    const life = lives[index]!
    await waitForMoment(killing, life, moment)
    const { startedAt, isReady } = life
    await victims[index]!.kill('SIGKILL')
    kills.push({
      victim: index + 1,
      at: Date.now(),
      upMs: Math.round(performance.now() - startedAt),
      wasStarting: !isReady,
    })
    lives[index] = beginLife(victims[index]!.restart())
  }
  await Promise.all(lives.map(({ starting }) => starting))
  return kills
}

function beginLife(starting: Promise<void>): Life {
  const life: Life = { startedAt: performance.now(), starting, isReady: false }
  // A start that is cut short by a kill resolves with the start after it.
  starting.then(
    () => {
      life.isReady = true
    },
    () => {},
  )
  return life
}

async function waitForMoment(
  { random, waitForProgress }: Killing,
  { starting }: Life,
  moment: Moment,
): Promise<void> {
  if (moment !== 'starting') await starting
  if (moment === 'working') await waitForProgress()
  await sleep(random.between(0, longestMs[moment]))
}
