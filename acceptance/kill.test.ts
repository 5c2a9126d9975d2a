import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Shape } from './kill/installation.ts'
import { writeReport } from './kill/report.ts'
import { playScenario } from './kill/scenario.ts'

const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 1e9))
const seconds = 10
const timeout = 600_000

// At the same time, because each of them mostly waits for the leases of killed processes.
describe('SIGKILL at random moments loses nothing and doubles nothing', { concurrency: true }, () => {
  test('when the whole server is killed again and again', { timeout }, (context) =>
    requireNothingBroken(context, 'whole', { messages: 300, kills: 5 }),
  )

  test('when one of two workers is killed again and again', { timeout }, (context) =>
    requireNothingBroken(context, 'workers', { messages: 200, kills: 4 }),
  )
})

async function requireNothingBroken(
  context: TestContext,
  shape: Shape,
  { messages, kills }: { messages: number; kills: number },
): Promise<void> {
  const options = { shape, seed, seconds, messages, fewestKills: kills, mostKills: kills }
  const report = await playScenario(context, options)
  for (const line of writeReport(report)) context.diagnostic(line)
  assert.equal(report.kills.length, kills)
  assert.deepEqual(report.verdict.violations, [])
}
