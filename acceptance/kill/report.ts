import type { Report } from './scenario.ts'

const titles = {
  whole: 'the whole server is killed',
  workers: 'one of two workers is killed',
} as const

/** The report as lines of text: what was done, what was counted, what is broken. */
export function writeReport(report: Report): string[] {
  const { shape, seed, messages, seconds, verdict, quiet } = report
  const { counts, violations } = verdict
  const width = Math.max(...counts.map(([label]) => label.length))
  const replay = `KILL_SHAPE=${shape} KILL_SEED=${seed} KILL_MESSAGES=${messages} KILL_SECONDS=${seconds}`
  return [
    `${titles[shape]} · ${replay}`,
    ...counts.map(([label, count]) => `  ${label.padEnd(width)}  ${String(count).padStart(6)}`),
    ...writeKills(report),
    `  quiet ${writeSeconds(quiet.afterMs)} after the last message; ${writeSeconds(report.totalMs)} in all`,
    ...(violations.length === 0
      ? ['  nothing lost, nothing doubled']
      : violations.map((text) => `  BROKEN ${text}`)),
  ]
}

function writeKills({ kills, recoveriesMs }: Report): string[] {
  const early = kills.filter(({ wasStarting }) => wasStarting).length
  const sorted = recoveriesMs.toSorted((left, right) => left - right)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  return [
    `  killed ${kills.length} times, ${early} of them while starting; up for ${kills.map(({ upMs }) => upMs).join(', ')} ms`,
    `  first new delivery after a kill: median ${writeSeconds(median)}, longest ${writeSeconds(sorted.at(-1) ?? 0)}`,
  ]
}

function writeSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
