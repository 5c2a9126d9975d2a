import assert from 'node:assert/strict'
import { test } from 'node:test'
import { providerIds } from './chaos/plan.ts'
import { listViolations, writeReport } from './chaos/report.ts'
import { playScenario } from './chaos/scenario.ts'

const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e9))
const kills = 2

test(
  'no fault and no SIGKILL makes a payment be charged, refunded or told twice, or leaves it unknown',
  { timeout: 240_000 },
  async (context) => {
    const report = await playScenario(context, {
      seed,
      providers: providerIds,
      operations: 60,
      kills,
      longestMs: 30_000,
      workers: 8,
      patienceMs: 4_000,
      weatherMs: 2_000,
    })
    for (const line of writeReport(report)) context.diagnostic(line)
    assert.ok(report.killed.length > 0)
    assert.deepEqual(listViolations(report), [])
  },
)
