import type { Recovery } from './recoveries.ts'
import type { Report } from './scenario.ts'

/** The report as lines of text: what was counted, how each fault was recovered from, what is broken. */
export function writeReport(report: Report): string[] {
  const { seed, seconds, verdict, settled, missing } = report
  const width = Math.max(...verdict.counts.map(([label]) => label.length))
  return [
    `the bridge under faults and load · CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds}`,
    ...verdict.counts.map(([label, number]) => `  ${label.padEnd(width)}  ${String(number).padStart(7)}`),
    ...writeRecoveries(report.recoveries),
    ...missing.map((kind) => `  not played on this machine: ${kind}`),
    `  quiet after ${writeSeconds(settled.ms)} with clocks moved by ${Math.round(settled.skippedMs / 60_000)} min; ${writeSeconds(report.totalMs)} in all`,
    ...(verdict.violations.length === 0
      ? ['  nothing lost, nothing out of order, nothing doubled without a lost answer']
      : verdict.violations.map((text) => `  BROKEN ${text}`)),
  ]
}

const columns = ['lasted', 'acceptedNothing', 'deliveredNothing', 'caughtUp'] as const
const titles = ['times', 'lasted', 'accepted nothing', 'delivered nothing', 'caught up after']

/** The longest of each kind of fault. */
function writeRecoveries(recoveries: readonly Recovery[]): string[] {
  const byKind = Map.groupBy(recoveries, ({ kind }) => kind)
  const write = (label: string, cells: readonly string[]) =>
    `  ${label.padEnd(30)}${cells.map((cell) => cell.padStart(19)).join('')}`
  return [
    write('faults, the longest of each', titles),
    ...[...byKind].map(([kind, same]) =>
      write(kind, [
        String(same.length),
        ...columns.map((column) => writeSeconds(Math.max(...same.map((one) => one[column])))),
      ]),
    ),
  ]
}

function writeSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
