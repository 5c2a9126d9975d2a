import { setTimeout as sleep } from 'node:timers/promises'

const deadlineMs = 20_000
const pollMs = 20

/** Waits until it is so. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${isSo.toString()}`)
    await sleep(pollMs)
  }
}
