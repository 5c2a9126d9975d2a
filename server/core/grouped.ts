import { setImmediate, setTimeout as sleep } from 'node:timers/promises'

export interface GroupOptions<Input, Result> {
  /** Handles all inputs at once; answers in their order. `isAgain`: this one was refused together with others. */
  flush: (inputs: readonly Input[], isAgain: boolean) => Promise<readonly Result[]>
  maxSize: number
  /** Flushes that may run at the same time. Default 1. */
  inFlight?: number
  /** Beside a flush that runs another one begins only for so many. Default 1. */
  leastBeside?: number
  /**
   * After a flush of several, one of fewer than these begins once `quietTurns` of the event loop in a row brought no
   * more: calls that keep coming share fewer, larger flushes. Default 0.
   */
  gathers?: number
  /** Such a turn takes microseconds; callers that have just been answered need a few to come again. Default 1. */
  quietTurns?: number
  /** Flushes begin at least so far apart: what comes meanwhile shares the next. Default: none. */
  gapMs?: number
}

interface Waiting<Input, Result> {
  input: Input
  resolve(result: Result): void
  reject(error: unknown): void
}

/**
 * Turns many single calls into few calls for many: what arrives while a flush runs forms the next one. A call
 * alone starts at once. When a flush of several inputs fails, each is flushed alone: one bad
 * input can't refuse its neighbours.
 */
export function createGroup<Input, Result>(
  options: GroupOptions<Input, Result>,
): (input: Input) => Promise<Result> {
  const { flush, maxSize, inFlight = 1, leastBeside = 1, gathers = 0, quietTurns = 1, gapMs = 0 } = options
  const waiting: Waiting<Input, Result>[] = []
  let running = 0
  let flushing = 0
  let lastSize = 0
  let begunAt = -Infinity

  async function runNext(): Promise<void> {
    running += 1
    while (waiting.length > 0 && (flushing === 0 || waiting.length >= leastBeside)) {
      if (flushing === 0 && lastSize > 1 && waiting.length < gathers) await gather()
      const restMs = begunAt + gapMs - performance.now()
      if (restMs > 0) await sleep(restMs)
      begunAt = performance.now()
      const batch = waiting.splice(0, maxSize)
      lastSize = batch.length
      flushing += 1
      if (batch.length > 0) await settle(flush, batch)
      flushing -= 1
    }
    running -= 1
  }

  function mayBegin(): boolean {
    if (running === 0) return true
    return running < inFlight && flushing > 0 && waiting.length >= leastBeside
  }

  async function gather(): Promise<void> {
    let size = waiting.length
    let quiet = 0
    while (quiet < quietTurns && waiting.length < gathers) {
      await setImmediate()
      quiet = waiting.length > size ? 0 : quiet + 1
      size = waiting.length
    }
  }

  return (input) =>
    new Promise((resolve, reject) => {
      waiting.push({ input, resolve, reject })
      // A microtask later, so that calls of the same tick share a flush.
      if (mayBegin()) queueMicrotask(() => void (mayBegin() && runNext()))
    })
}

async function settle<Input, Result>(
  flush: GroupOptions<Input, Result>['flush'],
  batch: readonly Waiting<Input, Result>[],
  isAgain = false,
): Promise<void> {
  try {
    const inputs = batch.map((entry) => entry.input)
    const results = await flush(inputs, isAgain)
    if (results.length !== batch.length) {
      throw new Error(`A flush of ${batch.length} inputs gave ${results.length} results.`)
    }
    for (const [index, result] of results.entries()) batch[index]?.resolve(result)
  } catch (error) {
    const [first] = batch
    if (batch.length === 1) first?.reject(error)
    else await Promise.all(batch.map((entry) => settle(flush, [entry], true)))
  }
}
