import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 15

/**
 * Asks again until it gets an answer other than undefined, null and false. After the deadline it rejects with
 * what was thrown last, so an assertion may stand in `ask`; an error with `final: true` ends the wait at once.
 */
export async function eventually<Result>(
  ask: () => Result | Promise<Result>,
  deadlineMs = 30_000,
): Promise<NonNullable<Exclude<Result, false>>> {
  const deadline = performance.now() + deadlineMs
  let failure: unknown = new Error(`not within ${deadlineMs} ms: ${ask.toString()}`)
  for (;;) {
    try {
      const result = await ask()
      if (result !== undefined && result !== null && result !== false) {
        return result as NonNullable<Exclude<Result, false>>
      }
    } catch (error) {
      failure = error
      if (error instanceof Error && 'final' in error) throw error
    }
    if (performance.now() > deadline) throw failure
    await sleep(pollMs)
  }
}
