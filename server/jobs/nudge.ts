export interface Nudge {
  nudge(): void
  /** Resolves at the next nudge, at once after one that nobody was waiting for. @returns false after the time. */
  wait(timeoutMs: number): Promise<boolean>
}

export function createNudge(): Nudge {
  let pending = false
  let wakeUp: (() => void) | undefined
  return {
    nudge() {
      pending = true
      wakeUp?.()
    },
    async wait(timeoutMs) {
      let timer: NodeJS.Timeout | undefined
      if (!pending) {
        await new Promise<void>((resolve) => {
          wakeUp = resolve
          timer = setTimeout(resolve, timeoutMs)
        })
      }
      clearTimeout(timer)
      wakeUp = undefined
      const nudged = pending
      pending = false
      return nudged
    },
  }
}
