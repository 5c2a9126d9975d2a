import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { writeReport } from './kill/report.ts'
import { playScenario } from './kill/scenario.ts'

const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 1e9))
const seconds = Number(process.env['KILL_SECONDS'] ?? 12)
const mostKills = 6
const messages = Number(process.env['KILL_MESSAGES'] ?? 500)

// At the same time: each of them mostly waits for the leases of killed processes.
describe('SIGKILL at random moments loses nothing and doubles nothing', { concurrency: true }, () => {
  test('when the whole server is killed again and again', async (context) => {
    const report = await playScenario(context, {
      shape: 'whole',
      seed,
      seconds,
      mostKills,
      messages: Math.ceil(messages * 0.6),
    })
    for (const line of writeReport(report)) context.diagnostic(line)
    assert.ok(report.kills.length >= 5, `only ${report.kills.length} kills`)
    assert.deepEqual(report.verdict.violations, [])
  })

  test('when one of two workers is killed again and again', async (context) => {
    const report = await playScenario(context, {
      shape: 'workers',
      seed,
      seconds,
      mostKills,
      messages: Math.ceil(messages * 0.4),
    })
    for (const line of writeReport(report)) context.diagnostic(line)
    assert.ok(report.kills.length >= 5, `only ${report.kills.length} kills`)
    assert.deepEqual(report.verdict.violations, [])
  })
})
