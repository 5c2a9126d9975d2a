import { writeFile } from 'node:fs/promises'
import { describeMachine } from './machine.ts'
import { type Options, readOptions } from './options.ts'
import { type Report, writeFigures, writeReport } from './report.ts'

/** In the order in which they are played. */
const parts: Record<string, (options: Options) => Promise<Report>> = {
  payments: async (options) => (await import('./payments/main.ts')).benchPayments(options),
  intake: async (options) => (await import('./events/intake.ts')).benchIntake(options),
  dispatch: async (options) => (await import('./events/dispatch.ts')).benchDispatch(options),
  latency: async (options) => (await import('./events/latency.ts')).benchLatency(options),
  slow: async (options) => (await import('./events/slow.ts')).benchSlow(options),
  noisy: async (options) => (await import('./events/noisy.ts')).benchNoisy(options),
  hanging: async (options) => (await import('./events/hanging.ts')).benchHanging(options),
  'scale-out': async (options) => (await import('./events/scale-out.ts')).benchScaleOut(options),
  backup: async (options) => (await import('./events/backup.ts')).benchBackup(options),
  growth: async (options) => (await import('./events/growth.ts')).benchGrowth(options),
}
const page = new URL('../docs/reference/benchmarks.md', import.meta.url)

/** `npm run bench` plays all parts and writes the page; `npm run bench -- dispatch --rounds 1` plays one, quickly. */
async function main(): Promise<void> {
  const { names, options } = readOptions()
  const unknown = names.filter((name) => !Object.hasOwn(parts, name))
  if (unknown.length > 0) {
    throw new Error(`There is no ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}.`)
  }
  const machine = await describeMachine()
  const reports = new Map<string, Report>()
  for (const [name, play] of Object.entries(parts)) {
    if (names.length > 0 && !names.includes(name)) continue
    const report = await play(options).catch(failed)
    reports.set(name, report)
    process.stdout.write(`${writeReport(name, report)}\n`)
  }
  const figures = [...reports.values()].flatMap((report) => report.figures)
  if (reports.size > 1) process.stdout.write(`## Goals\n\n${writeFigures(figures)}\n`)
  if (names.length === 0) await writeFile(page, writePage(machine, options, reports))
  if ([...reports.values()].some((report) => report.tables.length === 0)) process.exitCode = 1
}

/** A part that breaks is named on the page; the others go on. */
function failed(error: unknown): Report {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`${message}\n`)
  return { method: [], tables: [], figures: [], missing: [String(error)] }
}

function writePage(
  machine: string,
  { rounds, seconds }: Options,
  reports: ReadonlyMap<string, Report>,
): string {
  const date = new Date().toISOString().slice(0, 10)
  const figures = [...reports.values()].flatMap((report) => report.figures)
  const missing = [...reports].flatMap(([name, report]) => report.missing.map((line) => `- ${name}: ${line}`))
  const parts = [
    '# Benchmarks',
    `Written by \`npm run bench\` on ${date}: ${rounds} rounds of about ${seconds} s. Every ratio is of two sides in one run, which take turns; what stands for a side is the median of its rounds. Signing, fairness, fences and records are on, and so is the address guard, which is told to let this machine's own addresses pass; PostgreSQL is durable, and everything (publisher, PipeCore, PostgreSQL, receiver) shares the machine.`,
    `Machine: ${machine}.`,
    '## Goals',
    writeFigures(figures),
    ...(missing.length > 0 ? ['Could not run:', missing.join('\n')] : []),
    ...[...reports].map(([name, report]) => writeReport(name, { ...report, figures: [] }).trimEnd()),
  ]
  return `${parts.join('\n\n')}\n`
}

await main()
