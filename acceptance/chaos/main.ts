import type { Test } from '../harness.ts'
import { readNumber } from './environment.ts'
import { providerIds } from './plan.ts'
import { listViolations, writeReport } from './report.ts'
import { playScenario } from './scenario.ts'

const operationsPerKill = 250
const fewestKills = 4

/**
 * The long form, of a size that the environment sets: CHAOS_OPERATIONS (of each provider), CHAOS_SECONDS, CHAOS_SEED,
 * and CHAOS_PROVIDER to play one provider only. Fails when a promise is broken.
 */
async function main(): Promise<void> {
  const operations = readNumber('CHAOS_OPERATIONS', 10_000)
  const seconds = readNumber('CHAOS_SECONDS', 50 * 60)
  const seed = readNumber('CHAOS_SEED', Math.floor(Math.random() * 1e9))
  const wanted = process.env['CHAOS_PROVIDER']
  const providers = providerIds.filter((one) => wanted === undefined || one === wanted)
  if (providers.length === 0) {
    throw new Error(`CHAOS_PROVIDER must be one of ${providerIds.join(', ')}, not "${wanted}".`)
  }
  const endings: Array<() => Promise<void>> = []
  const test: Test = { after: (work) => void endings.push(work) }
  try {
    const report = await playScenario(test, {
      seed,
      providers,
      operations,
      kills: Math.max(fewestKills, Math.round((operations * providers.length) / operationsPerKill)),
      longestMs: seconds * 1_000,
      workers: 16,
      patienceMs: 10_000,
      weatherMs: 5_000,
    })
    process.stdout.write(`${writeReport(report).join('\n')}\n`)
    if (listViolations(report).length > 0) process.exitCode = 1
  } finally {
    for (const end of endings.toReversed()) await end()
  }
}

await main()
