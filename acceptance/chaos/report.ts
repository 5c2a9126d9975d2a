import type { Verdict } from '../kill/verdict.ts'
import type { Report } from './scenario.ts'

/** The report as lines of text: what was done, what was counted for each provider, what is broken. */
export function writeReport(report: Report): string[] {
  const { seed, operations, providers, verdicts, rest, settled } = report
  const only = providers.length === 1 ? `CHAOS_PROVIDER=${providers[0]} ` : ''
  const broken = listViolations(report)
  return [
    `payments under faults and kills · ${only}CHAOS_SEED=${seed} CHAOS_OPERATIONS=${operations}`,
    ...writeTable(verdicts),
    ...rest.counts.map(([label, number]) => `  ${label}: ${number}`),
    `  killed ${report.killed.length} times, up for ${report.killed.map(({ upMs }) => upMs).join(', ')} ms`,
    `  ${settled.openBefore} ends unknown when the faults ended, ${settled.openAfter} after ${settled.rounds} rounds and ${writeSeconds(settled.ms)}`,
    `  ${writeSeconds(report.trafficMs)} of traffic, ${writeSeconds(report.totalMs)} in all`,
    ...(broken.length === 0
      ? ['  nothing charged, refunded or told twice, nothing lost, nothing unknown']
      : broken.map((text) => `  BROKEN ${text}`)),
    ...report.stories.map((text) => `  ${text}`),
  ]
}

/** Every promise that was found broken. */
export function listViolations({ verdicts, rest, settled }: Report): string[] {
  return [
    ...[...verdicts].flatMap(([provider, { violations }]) =>
      violations.map((text) => `${provider}: ${text}`),
    ),
    ...rest.violations,
    ...(settled.quiet.isQuiet ? [] : [`not quiet: ${JSON.stringify(settled.quiet.open)}`]),
  ]
}

function writeTable(verdicts: ReadonlyMap<string, Verdict>): string[] {
  const labels = new Set([...verdicts.values()].flatMap(({ counts }) => counts.map(([label]) => label)))
  const columns = [...verdicts].map(([provider, { counts }]) => ({ provider, counts: new Map(counts) }))
  const width = Math.max(...[...labels].map((label) => label.length))
  const write = (label: string, cells: readonly string[]) =>
    `  ${label.padEnd(width)}${cells.map((cell) => cell.padStart(13)).join('')}`
  return [
    write(
      '',
      columns.map(({ provider }) => provider),
    ),
    ...[...labels].map((label) =>
      write(
        label,
        columns.map(({ counts }) => String(counts.get(label) ?? 0)),
      ),
    ),
  ]
}

function writeSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
