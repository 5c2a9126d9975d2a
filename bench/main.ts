import { readOptions, type Options } from './options.ts'
import { type Report, writeReport } from './report.ts'

/** `npm run bench` plays all parts, `npm run bench -- dispatch --rounds 1` one of them, quickly. */
const parts: Record<string, (options: Options) => Promise<Report>> = {
  payments: async (options) => (await import('./payments/main.ts')).benchPayments(options),
  intake: async (options) => (await import('./events/intake.ts')).benchIntake(options),
  dispatch: async (options) => (await import('./events/dispatch.ts')).benchDispatch(options),
  latency: async (options) => (await import('./events/latency.ts')).benchLatency(options),
}

const { names, options } = readOptions()
const unknown = names.filter((name) => !Object.hasOwn(parts, name))
if (unknown.length > 0) {
  throw new Error(`There is no ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}.`)
}
for (const name of names.length > 0 ? names : Object.keys(parts)) {
  const report = await parts[name]?.(options)
  if (report !== undefined) process.stdout.write(`${writeReport(name, report)}\n`)
}
