import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { firstHealth, type HealthStep, stepHealth } from './health.ts'
import type { HealthRow } from './queries.ts'

const start = new Date('2026-01-01T00:00:00Z')
const dayMs = 24 * 60 * 60 * 1000
const disabledAfterMs = 5 * dayMs
const endpoint = { max_in_flight: 4, max_per_second: null }

function later(ms: number): Date {
  return new Date(start.getTime() + ms)
}

function step(health: HealthRow, failed: boolean, now: Date, recordedAt = start): HealthStep {
  const seen = { failed, error: failed ? 'HTTP 500' : null, recordedAt }
  return stepHealth(endpoint, health, seen, { now, disabledAfterMs })
}

function failTimes(times: number, now: Date, from = firstHealth('end_1', start)): HealthStep {
  let last: HealthStep = { health: from, events: [] }
  for (let count = 0; count < times; count += 1) last = step(last.health, true, now)
  return last
}

describe('health of an endpoint', () => {
  test('a few failures change nothing, and a success forgets them', () => {
    const failing = failTimes(4, start)
    assert.deepEqual(
      [failing.health.state, failing.health.failures, failing.series],
      ['failing', 4, undefined],
    )
    const well = step(failing.health, false, later(1_000))
    assert.deepEqual([well.health.state, well.health.failures, well.events], ['healthy', 0, []])
  })

  test('five failures in a row pause it, and every probe that fails pauses it for longer', () => {
    const opened = failTimes(5, start)
    assert.equal(opened.health.state, 'open')
    assert.deepEqual(opened.series, { pausedUntil: later(30_000), mostRunning: 1 })
    const probed = step(opened.health, true, later(30_000))
    assert.deepEqual(probed.series?.pausedUntil, later(30_000 + 60_000))
  })

  test('what was under way when it was paused does not prolong the pause', () => {
    const opened = failTimes(5, start)
    assert.equal(step(opened.health, true, later(10)).series, undefined)
  })

  test('a probe that succeeds ends the pause and lets what waited through at a bounded rate', () => {
    const opened = failTimes(5, start)
    const recovered = step(opened.health, false, later(30_000))
    assert.equal(recovered.health.state, 'catching_up')
    assert.deepEqual(recovered.series, { pausedUntil: null, mostRunning: 4, perSecond: 50 })
    assert.deepEqual(recovered.events, [{ type: 'endpoint.recovered' }])
    const old = step(recovered.health, false, later(40_000), later(20_000))
    assert.deepEqual([old.health.state, old.series], ['catching_up', undefined])
    const fresh = step(old.health, false, later(50_000), later(31_000))
    assert.deepEqual([fresh.health.state, fresh.series], ['healthy', { mostRunning: 4, perSecond: null }])
  })

  test('its owner is told once at 50, 70 and 90 %, and at 100 % it is disabled', () => {
    let { health } = failTimes(1, start)
    const told: Array<[day: number, percent: number | undefined]> = []
    for (let hour = 1; hour <= 120; hour += 1) {
      const next = step(health, true, later(hour * 3_600_000))
      health = next.health
      for (const { type, percent } of next.events) {
        if (type === 'endpoint.failing') told.push([hour / 24, percent])
      }
      assert.equal(next.disabledReason !== undefined, hour === 120, `hour ${hour}`)
    }
    assert.deepEqual(told, [
      [2.5, 50],
      [3.5, 70],
      [4.5, 90],
      [5, 100],
    ])
  })
})
