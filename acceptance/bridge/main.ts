import { readNumber } from '../chaos/environment.ts'
import type { Test } from '../harness.ts'
import { writeReport } from './report.ts'
import { playScenario } from './scenario.ts'

/** The long form: CHAOS_SECONDS of traffic, CHAOS_SEED. Fails when a promise is broken. */
async function main(): Promise<void> {
  const endings: Array<() => Promise<void>> = []
  const test: Test = { after: (work) => void endings.push(work) }
  try {
    const report = await playScenario(test, {
      seed: readNumber('CHAOS_SEED', Math.floor(Math.random() * 1e9)),
      seconds: readNumber('CHAOS_SECONDS', 180),
      publishers: 8,
      patienceMs: 180_000,
    })
    process.stdout.write(`${writeReport(report).join('\n')}\n`)
    if (report.verdict.violations.length > 0) process.exitCode = 1
  } finally {
    for (const end of endings.toReversed()) await end()
  }
}

await main()
