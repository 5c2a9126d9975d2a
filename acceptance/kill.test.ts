import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Shape } from './kill/installation.ts'
import { writeReport } from './kill/report.ts'
import { playScenario } from './kill/scenario.ts'

const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 1e9))
const seconds = 10
const mostKills = 6
const timeout = 240_000

// At the same time, because each of them mostly waits for the leases of killed processes.
describe('SIGKILL at random moments loses nothing and doubles nothing', { concurrency: true }, () => {
  test('when the whole server is killed again and again', { timeout }, (context) =>
    requireNothingBroken(context, 'whole', 300),
  )

  test('when one of two workers is killed again and again', { timeout }, (context) =>
    requireNothingBroken(context, 'workers', 200),
  )
})

async function requireNothingBroken(context: TestContext, shape: Shape, messages: number): Promise<void> {
  const report = await playScenario(context, { shape, seed, seconds, messages, mostKills })
  for (const line of writeReport(report)) context.diagnostic(line)
  assert.ok(report.kills.length >= 5, `only ${report.kills.length} kills`)
  assert.deepEqual(report.verdict.violations, [])
}
