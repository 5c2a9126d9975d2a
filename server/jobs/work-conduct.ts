/** How long the runs of a lane or a series took lately. */
export interface Conduct {
  /** Grows by one with a brief run, and falls by a lot with another. */
  score: number
  /** Milliseconds of the monotonic clock. */
  endedAt: number
}

const briefMs = 500
const mostScore = 32
const goodScore = 8
/** More than one run in ten that is not brief, and trust is lost. */
const costOfLong = 9
/** After which runs that were brief are taken to hang. */
const quietMs = 1_000

export function createConduct(): Conduct {
  return { score: 0, endedAt: 0 }
}

export function noteRun(conduct: Conduct, durationMs: number, now: number): void {
  const change = durationMs <= briefMs ? 1 : -costOfLong
  conduct.score = Math.min(mostScore, Math.max(0, conduct.score + change))
  conduct.endedAt = now
}

/** Whether slots that it takes are soon free again, as far as is known. */
export function isBrief({ score, endedAt }: Conduct, running: number, now: number): boolean {
  return score >= goodScore && (running === 0 || now - endedAt < quietMs)
}
