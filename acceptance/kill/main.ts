import { readNumber } from '../chaos/environment.ts'
import type { Test } from '../harness.ts'
import { shapes } from './installation.ts'
import { writeReport } from './report.ts'
import { playScenario, type ScenarioOptions } from './scenario.ts'

const kills = { fewestKills: 10, mostKills: Number.POSITIVE_INFINITY }

/**
 * The long form, of a size that the environment sets: KILL_MESSAGES, KILL_SECONDS, KILL_SEED, and KILL_SHAPE to
 * play one shape only. Fails when a promise is broken.
 */
async function main(): Promise<void> {
  const messages = readNumber('KILL_MESSAGES', 2_000)
  const seconds = readNumber('KILL_SECONDS', 90)
  const seed = readNumber('KILL_SEED', Math.floor(Math.random() * 1e9))
  const shape = process.env['KILL_SHAPE']
  const chosen = shapes.filter((one) => shape === undefined || one === shape)
  if (chosen.length === 0) throw new Error(`KILL_SHAPE must be one of ${shapes.join(', ')}, not "${shape}".`)
  for (const one of chosen) await play({ shape: one, seed, messages, seconds, ...kills })
}

async function play(options: ScenarioOptions): Promise<void> {
  const endings: Array<() => Promise<void>> = []
  const test: Test = { after: (work) => void endings.push(work) }
  try {
    const report = await playScenario(test, options)
    process.stdout.write(`${writeReport(report).join('\n')}\n`)
    if (report.verdict.violations.length > 0) process.exitCode = 1
  } finally {
    for (const end of endings.toReversed()) await end()
  }
}

await main()
