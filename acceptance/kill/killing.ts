import { setTimeout as sleep } from 'node:timers/promises'
import type { PipeCore } from '../harness.ts'
import type { Random } from './random.ts'

export interface Kill {
  /** Which of the victims, from 1. */
  victim: number
  /** Milliseconds since 1970 at which the process was gone. */
  at: number
  /** How long it had been up; it may not have been ready yet. */
  upMs: number
  wasReady: boolean
}

const shortestUpMs = 100
const longestUpMs = 3_400

/** Kills a victim at a random moment of its life and starts it again at once, until the end is due. */
export async function killUntil(
  victims: readonly PipeCore[],
  random: Random,
  isOver: () => boolean,
): Promise<Kill[]> {
  const kills: Kill[] = []
  const lives = victims.map(() => ({
    startedAt: performance.now(),
    isReady: true,
    starting: Promise.resolve(),
  }))
  while (!isOver()) {
    const index = Math.floor(random.next() * victims.length)
    const victim = victims[index]!
    const life = lives[index]!
    await sleep(random.between(shortestUpMs, longestUpMs / victims.length))
    const { startedAt, isReady: wasReady } = life
    await victim.kill('SIGKILL')
    kills.push({
      victim: index + 1,
      at: Date.now(),
      upMs: Math.round(performance.now() - startedAt),
      wasReady,
    })
    const reborn = { startedAt: performance.now(), isReady: false, starting: Promise.resolve() }
    lives[index] = reborn
    // Not waited for: the next kill may well come before it is ready, which ends this wait with the later start.
    reborn.starting = victim.restart().then(() => {
      reborn.isReady = true
    })
  }
  await Promise.all(lives.map(({ starting }) => starting))
  return kills
}
