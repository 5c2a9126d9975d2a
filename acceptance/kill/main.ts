import type { Test } from '../harness.ts'
import { writeReport } from './report.ts'
import { playScenario } from './scenario.ts'

/** The long form, of a size that the environment sets. Fails when a promise is broken. */
async function main(): Promise<void> {
  const messages = readNumber('KILL_MESSAGES', 2_000)
  const seconds = readNumber('KILL_SECONDS', 90)
  const seed = readNumber('KILL_SEED', Math.floor(Math.random() * 1e9))
  for (const shape of ['whole', 'workers'] as const) {
    const endings: Array<() => Promise<void>> = []
    const test: Test = { after: (work) => void endings.push(work) }
    try {
      const report = await playScenario(test, { shape, seed, messages, seconds })
      process.stdout.write(`${writeReport(report).join('\n')}\n`)
      if (report.verdict.violations.length > 0) process.exitCode = 1
    } finally {
      for (const end of endings.toReversed()) await end()
    }
  }
}

function readNumber(name: string, fallback: number): number {
  const number = Number(process.env[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`${name} must be a whole number above 0, not "${process.env[name]}".`)
}

await main()
