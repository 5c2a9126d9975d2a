export interface GroupOptions<Input, Result> {
  /** Handles all inputs at once; answers in their order. */
  flush: (inputs: readonly Input[]) => Promise<readonly Result[]>
  maxSize: number
  /** Flushes that may run at the same time. Default 1. */
  inFlight?: number
}

interface Waiting<Input, Result> {
  input: Input
  resolve(result: Result): void
  reject(error: unknown): void
}

/**
 * Turns many single calls into few calls for many: what arrives while a flush runs forms the next one. There is
 * no timer, so a call alone starts at once. When a flush of several inputs fails, each is flushed alone: one bad
 * input can't refuse its neighbours.
 */
export function createGroup<Input, Result>(
  options: GroupOptions<Input, Result>,
): (input: Input) => Promise<Result> {
  const { flush, maxSize, inFlight = 1 } = options
  const waiting: Waiting<Input, Result>[] = []
  let running = 0

  async function runNext(): Promise<void> {
    running += 1
    while (waiting.length > 0) await settle(flush, waiting.splice(0, maxSize))
    running -= 1
  }

  return (input) =>
    new Promise((resolve, reject) => {
      waiting.push({ input, resolve, reject })
      // A microtask later, so that calls of the same tick share a flush.
      if (running < inFlight) queueMicrotask(() => void (running < inFlight && runNext()))
    })
}

async function settle<Input, Result>(
  flush: GroupOptions<Input, Result>['flush'],
  batch: readonly Waiting<Input, Result>[],
): Promise<void> {
  try {
    const results = await flush(batch.map((entry) => entry.input))
    if (results.length !== batch.length) {
      throw new Error(`A flush of ${batch.length} inputs gave ${results.length} results.`)
    }
    for (const [index, result] of results.entries()) batch[index]?.resolve(result)
  } catch (error) {
    const [first] = batch
    if (batch.length === 1) first?.reject(error)
    else await Promise.all(batch.map((entry) => settle(flush, [entry])))
  }
}
