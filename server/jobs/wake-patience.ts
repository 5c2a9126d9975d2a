const firstPauseMs = 20
/** By then the loop looks without being told. */
const longestPauseMs = 250

/**
 * Whether a loop looks for work when another process tells of some. Each look costs the database a claim, and may find
 * nothing again and again: what is told of waits for a limit, or other workers take it. Then fewer are made.
 */
export interface WakePatience {
  /** Another process tells of work. @returns whether to look now */
  hear(): boolean
  /** The next look is made because of what was told. */
  isTold(): boolean
  noteClaim(found: number): void
}

export function createWakePatience(nowMs = () => performance.now()): WakePatience {
  let isTold = false
  let pauseMs = 0
  let restsUntil = -Infinity
  return {
    hear() {
      if (nowMs() < restsUntil) return false
      isTold = true
      return true
    },
    isTold: () => isTold,
    noteClaim(found) {
      if (found > 0) {
        pauseMs = 0
        restsUntil = -Infinity
      } else if (isTold) {
        pauseMs = Math.min(Math.max(pauseMs * 2, firstPauseMs), longestPauseMs)
        restsUntil = nowMs() + pauseMs
      }
      isTold = false
    },
  }
}
