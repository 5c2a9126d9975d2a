import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writeReport } from './bridge/report.ts'
import { playScenario } from './bridge/scenario.ts'

const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e9))

test(
  'no crash, no full disk, no jump of a clock and no lying receiver loses an event or doubles it without a lost answer',
  { timeout: 240_000 },
  async (context) => {
    const report = await playScenario(context, { seed, seconds: 12, publishers: 4, patienceMs: 120_000 })
    for (const line of writeReport(report)) context.diagnostic(line)
    assert.ok(report.recoveries.length > 0)
    assert.deepEqual(report.verdict.violations, [])
  },
)
